//! Cancels and asks over HTTP while there is no trading connection.
//!
//! It works in rounds: the cancels that are due, and when they are answered a question about each,
//! because a cancel that was acknowledged is not an order cancelled. Each round has an adapter's
//! half of its own, so that what is abandoned in one cannot disturb the next.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::pacing::Pacer;
use crate::clock::Clock;
use crate::exchange::{
    Adapter, HttpFailure, HttpRequest, HttpResponse, HttpTrading, OrderNews, Outbox, SessionEvent,
    SymbolTable,
};
use crate::net::{self, Connector};
use crate::orders::{Desk, Errands};
use crate::scope::Scope;
use crate::types::{ClientOrderId, ExchangeName, Order};

/// Orders of one round, so that its questions come soon after its cancels.
const ROUND: usize = 50;
/// Requests that may run side by side.
const AT_ONCE: usize = 8;
/// How soon is looked again for what is due.
const LOOK: Duration = Duration::from_millis(50);
/// The wait after a refusal for the rate doubles up to this many times the usual one.
const MAX_PAUSE: u32 = 8;

type Request = Pin<Box<dyn Future<Output = (u64, Result<HttpResponse, HttpFailure>)> + Send>>;

/// Everything that the fallback of one exchange needs. [`run`](Self::run) is its task.
pub(crate) struct HttpFallback {
    pub(crate) exchange: ExchangeName,
    pub(crate) desk: Arc<Desk>,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) symbols: Arc<SymbolTable>,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Cancelled when nothing more is to be sent.
    pub(crate) scope: Scope,
    /// How long there must have been no trading connection.
    pub(crate) after: Duration,
    /// The same once a shutdown has begun.
    pub(crate) hurried: Duration,
    /// How long one request may take.
    pub(crate) answer_limit: Duration,
    /// The pause after a round that failed.
    pub(crate) retry: Duration,
}

/// How the requests of one step went.
#[derive(Debug, Default, Clone, Copy)]
struct Course {
    /// Some request may have reached the exchange.
    reached: bool,
    /// Something failed or was refused for now.
    troubled: bool,
    /// The exchange limits the rate.
    limited: bool,
}

impl HttpFallback {
    /// Steps in whenever it is needed, until its scope is cancelled. Requests that are under way
    /// then are abandoned; what became of them is unknown, and so are their orders.
    pub(crate) async fn run(self) {
        tokio::select! {
            biased;
            () = self.scope.cancelled() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&self) {
        let exchange = self.exchange;
        let Some(trading) = self.adapter.http_trading(Arc::clone(&self.symbols)) else { return };
        // Over all rounds, as the exchange counts.
        let mut pacer = Pacer::new(trading.rate(), Instant::now());
        drop(trading);
        loop {
            self.desk.errands_wanted(self.after, self.hurried).await;
            let reason = self.desk.down_reason();
            warn!(%exchange, reason, "no trading connection: orders are cancelled and asked about over HTTP");
            self.stand_in(&mut pacer).await;
            let live = !self.desk.is_down();
            let why = if live { "connected again" } else { "nothing is left to do" };
            info!(%exchange, why, "no more cancels over HTTP");
        }
    }

    async fn stand_in(&self, pacer: &mut Pacer) {
        let mut pause = 1;
        while self.desk.has_errands() {
            let errands = self.desk.begin_errands(ROUND);
            if errands.is_empty() {
                sleep(LOOK).await;
                continue;
            }
            let course = self.round(errands, pacer).await;
            pause = if course.limited { (pause * 2).min(MAX_PAUSE) } else { 1 };
            if course.troubled || course.limited {
                sleep(self.retry * pause).await;
            }
        }
    }

    async fn round(&self, errands: Errands, pacer: &mut Pacer) -> Course {
        let Errands { cancels, mut queries, fills } = errands;
        let Some(mut trading) = self.adapter.http_trading(Arc::clone(&self.symbols)) else {
            return Course::default();
        };
        let asked = Instant::now();
        let mut out = Outbox::default();
        let mut course = Course::default();
        if !cancels.is_empty() {
            trading.cancel(&cancels, self.clock.now(), &mut out);
            course = self.drive(trading.as_mut(), &mut out, asked, pacer).await;
            let ids: Vec<ClientOrderId> = cancels.iter().map(Order::id).collect();
            if !course.reached {
                self.desk.cancels_not_written(&ids);
            }
            if course.limited || !self.desk.is_down() {
                return course;
            }
            queries.extend(self.desk.begin_questions(&ids));
        }
        if !queries.is_empty() {
            let asked = Instant::now();
            trading.query(&queries, self.clock.now(), &mut out);
            let questions = self.drive(trading.as_mut(), &mut out, asked, pacer).await;
            course.troubled |= questions.troubled;
            course.limited |= questions.limited;
            if course.limited || !self.desk.is_down() {
                return course;
            }
        }
        if !fills.is_empty() {
            trading.query_fills(&fills, self.clock.now(), &mut out);
            let fetched = self.drive(trading.as_mut(), &mut out, asked, pacer).await;
            course.troubled |= fetched.troubled;
            course.limited |= fetched.limited;
        }
        course
    }

    /// Makes the requests of the outbox and those that follow from their answers. What is not sent
    /// yet is dropped once the exchange limits the rate or a connection is there.
    async fn drive(
        &self,
        trading: &mut dyn HttpTrading,
        out: &mut Outbox,
        asked: Instant,
        pacer: &mut Pacer,
    ) -> Course {
        let mut course = Course::default();
        let mut waiting: VecDeque<(u64, HttpRequest)> = VecDeque::new();
        let mut running: FuturesUnordered<Request> = FuturesUnordered::new();
        loop {
            self.book(out, asked, &mut course);
            waiting.extend(out.requests.drain(..));
            if course.limited || !self.desk.is_down() {
                waiting.clear();
            }
            let now = Instant::now();
            while running.len() < AT_ONCE && pacer.wait(now).is_none() {
                let Some((tag, request)) = waiting.pop_front() else { break };
                pacer.count(now);
                running.push(self.request(tag, request));
            }
            if running.is_empty() && waiting.is_empty() {
                return course;
            }
            let held = !waiting.is_empty() && running.len() < AT_ONCE;
            tokio::select! {
                Some((tag, answer)) = running.next() => {
                    course.reached |= !matches!(answer, Err(HttpFailure::Connect { .. }));
                    course.troubled |= answer.is_err();
                    // Slow down, or be banned: both mean to wait.
                    course.limited |= matches!(&answer, Ok(response) if matches!(response.status, 418 | 429));
                    trading.answered(tag, answer, self.clock.now(), out);
                }
                () = sleep_until(pacer.wait(now).unwrap_or(now)), if held => {}
            }
        }
    }

    fn request(&self, tag: u64, request: HttpRequest) -> Request {
        let connector = Arc::clone(&self.connector);
        let limit = self.answer_limit;
        Box::pin(async move { (tag, net::request(connector.as_ref(), request, limit).await) })
    }

    fn book(&self, out: &mut Outbox, asked: Instant, course: &mut Course) {
        for event in out.events.drain(..) {
            match event {
                SessionEvent::Order(event) => {
                    course.troubled |= matches!(
                        event.news,
                        OrderNews::CancelRejected { retry: true, .. }
                            | OrderNews::QueryFailed { .. }
                            | OrderNews::FillsFailed { .. }
                    );
                    self.desk.apply_elsewhere(&event, asked);
                }
                SessionEvent::RateLimited { until } => self.desk.rate_limited(until),
                other => debug!(exchange = %self.exchange, event = ?other, "an answer over HTTP"),
            }
        }
    }
}
