//! Serves one open socket: its loop and what is read; the rest stands in files of its own.

mod closing;
mod switching;
mod time;
mod writing;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Error;
use tracing::{debug, info, warn};

use closing::Closing;

use super::driver::{Driver, Outcome, Role};
use super::ending::Ending;
use super::liveness::{Liveness, LivenessRules};
use super::log_limit::LogLimit;
use super::pacing::Pacer;
use super::socket::{Arrival, Socket};
use crate::exchange::{
    ConnectionRules, DecodeError, HttpFailure, HttpRequest, HttpResponse, MarketSession, Outbox,
    Probe, Session, SessionEvent, TradingSession,
};
use crate::net;
use crate::orders::Permit;
use crate::report::Stage;
use crate::types::Timestamp;

/// Frames handled before the other things that wait are looked at.
const BURST: usize = 128;
/// HTTP requests of one connection that may run side by side.
const MAX_REQUESTS: usize = 16;

const CLOSE_NORMAL: u16 = 1000;

/// The session of either half.
pub(super) enum Half {
    Market(Box<dyn MarketSession>),
    Trading(Box<dyn TradingSession>),
}

impl Half {
    pub(super) fn session(&mut self) -> &mut dyn Session {
        match self {
            Self::Market(session) => session.as_mut(),
            Self::Trading(session) => session.as_mut(),
        }
    }
}

type Answer = (u64, Result<HttpResponse, HttpFailure>);
type Request = Pin<Box<dyn Future<Output = Answer> + Send>>;

#[expect(clippy::struct_excessive_bools, reason = "facts that come true in any order")]
pub(super) struct Live<'a> {
    driver: &'a Driver,
    socket: Socket,
    half: Half,
    out: Outbox,
    liveness: Liveness,
    pacer: Pacer,
    probe: Probe,
    /// Messages that wait for the pacer.
    backlog: VecDeque<String>,
    requests: FuturesUnordered<Request>,
    /// Requests that wait for a free place.
    waiting_requests: VecDeque<(u64, HttpRequest)>,
    /// Rights to write new orders whose bytes are not handed to the system yet.
    permits: Vec<Permit>,
    opened: Instant,
    ready_deadline: Instant,
    ready_since: Option<Instant>,
    heard_before: Option<Timestamp>,
    heard: Option<Timestamp>,
    /// The times of the last read, which all frames of that read share.
    read_at: (Instant, Timestamp),
    /// How many reads there had been then.
    reads: u64,
    /// More frames may be waiting.
    flooded: bool,
    unsubscribing: Option<Instant>,
    /// When the unsubscriptions were written.
    unsubscribed_at: Option<Instant>,
    unsubscribed: bool,
    close_asked: bool,
    closing: Option<Closing>,
    /// A shutdown has begun.
    hurried: bool,
    /// Since when, during a shutdown, commands wait for any answer at all.
    unanswered: Option<Instant>,
    /// Until when what waits has to wait, for the sake of the exchange's limits.
    paced: Option<Instant>,
    unreadable: LogLimit,
    errors: LogLimit,
}

impl<'a> Live<'a> {
    pub(super) fn new(
        driver: &'a Driver,
        socket: Socket,
        half: Half,
        liveness: LivenessRules,
        rules: &ConnectionRules,
        heard_before: Option<Timestamp>,
    ) -> Self {
        let now = Instant::now();
        let reads = socket.reads();
        Self {
            driver,
            socket,
            half,
            out: Outbox::default(),
            liveness: Liveness::new(liveness, now),
            pacer: Pacer::new(rules.message_rate.map(Into::into), now),
            probe: rules.probe,
            backlog: VecDeque::new(),
            requests: FuturesUnordered::new(),
            waiting_requests: VecDeque::new(),
            permits: Vec::new(),
            opened: now,
            ready_deadline: now + driver.config.ready_timeout,
            ready_since: None,
            heard_before,
            heard: None,
            read_at: (now, driver.clock.now()),
            reads,
            flooded: false,
            unsubscribing: None,
            unsubscribed_at: None,
            unsubscribed: false,
            close_asked: false,
            closing: None,
            hurried: false,
            unanswered: None,
            paced: None,
            unreadable: LogLimit::default(),
            errors: LogLimit::default(),
        }
    }

    /// Serves the socket to its end.
    pub(super) async fn serve(mut self) -> Outcome {
        let driver = self.driver;
        driver.record.new_socket();
        if let Role::Trading { desk } = &driver.role {
            desk.session_opened();
        }
        self.half.session().opened(driver.clock.now(), &mut self.out);
        self.process_outbox();
        let ending = self.run().await;
        // Only the first word on how a socket ended is kept.
        driver.record.reached(Stage::Dropped, None, Some(&ending.to_string()));
        let now = Instant::now();
        let live_for = self.ready_since.map_or(Duration::ZERO, |since| now.duration_since(since));
        let heard = self.ready_since.and(self.heard);
        Outcome { ending, live_for, heard }
    }

    async fn run(&mut self) -> Ending {
        let driver = self.driver;
        let timer = sleep_until(self.next_deadline());
        tokio::pin!(timer);
        loop {
            if let Err(ending) = self.write() {
                return ending;
            }
            let due = self.next_deadline();
            if due < timer.deadline() {
                timer.as_mut().reset(due);
            }
            let is_open = self.closing.is_none();
            let step = tokio::select! {
                biased;
                () = driver.cut.cancelled() => return self.cut(),
                // Before the close, which may be asked for at the same moment: the order of stages
                // is kept, whatever was noticed first.
                () = feed_ended(&driver.role), if is_open && self.unsubscribing.is_none() => {
                    self.unsubscribe();
                    Ok(())
                }
                () = driver.scope.cancelled(), if is_open && !self.close_asked => {
                    self.close_asked = true;
                    Ok(())
                }
                () = driver.hurry.cancelled(), if !self.hurried => {
                    self.hurry();
                    Ok(())
                }
                arrival = self.socket.next() => self.burst(arrival),
                Some((tag, answer)) = self.requests.next() => {
                    let now = driver.clock.now();
                    self.half.session().answered(tag, answer, now, &mut self.out);
                    self.process_outbox();
                    Ok(())
                }
                () = command_waiting(&driver.role), if is_open && self.ready_since.is_some() => Ok(()),
                () = &mut timer => {
                    let result = self.check_time();
                    timer.as_mut().reset(self.next_deadline());
                    result
                }
            };
            if let Err(ending) = step {
                return ending;
            }
            if std::mem::take(&mut self.flooded) {
                // Those who read the ticks may live on this thread.
                tokio::task::yield_now().await;
            }
        }
    }

    // ---- reading --------------------------------------------------------------------------

    /// Handles an arrival and those that are right behind it.
    fn burst(&mut self, first: Arrival) -> Result<(), Ending> {
        self.arrived(first)?;
        for _ in 0..BURST {
            match self.socket.next_now() {
                Some(arrival) => self.arrived(arrival)?,
                None => return Ok(()),
            }
        }
        self.flooded = true;
        Ok(())
    }

    /// When the bytes that were read last came. A clock costs as much as half a tick, so it is
    /// read once a read and not once a frame.
    fn read_at(&mut self) -> (Instant, Timestamp) {
        let reads = self.socket.reads();
        if reads != self.reads {
            self.reads = reads;
            self.read_at = (Instant::now(), self.driver.clock.now());
        }
        self.read_at
    }

    fn arrived(&mut self, arrival: Arrival) -> Result<(), Ending> {
        let (now, received) = self.read_at();
        match arrival {
            Arrival::Text(text) => {
                self.note_frame(now);
                self.text(&text, now, received);
                Ok(())
            }
            Arrival::Binary { bytes } => {
                self.note_frame(now);
                self.note_unreadable(
                    now,
                    &DecodeError::new(format!("a binary frame of {bytes} bytes")),
                );
                Ok(())
            }
            Arrival::Ping => {
                // The pong that goes out by itself counts against the exchange's limit.
                self.pacer.count(now);
                self.note_frame(now);
                Ok(())
            }
            Arrival::Pong => {
                self.note_frame(now);
                self.unanswered = None;
                Ok(())
            }
            Arrival::Flushed => {
                self.flushed();
                Ok(())
            }
            Arrival::Close { code, reason } => {
                self.peer_closes(code, &reason, now);
                Ok(())
            }
            Arrival::End => Err(self.ended()),
            Arrival::Failed(error) => Err(self.failed(&error)),
        }
    }

    fn note_frame(&mut self, now: Instant) {
        self.liveness.frame(now);
        count(&self.driver.record.frames, 1);
    }

    fn note_unreadable(&mut self, now: Instant, error: &DecodeError) {
        let driver = self.driver;
        driver.record.unreadable.fetch_add(1, Ordering::Relaxed);
        if let Role::Trading { desk } = &driver.role {
            desk.unreadable();
        }
        if let Some(left_out) = self.unreadable.allow(now) {
            let (exchange, connection) = (driver.exchange, driver.role.kind());
            warn!(%exchange, %connection, %error, left_out, "a message cannot be read");
        }
    }

    fn text(&mut self, text: &str, now: Instant, received: Timestamp) {
        self.heard = Some(received);
        if let Err(error) = self.half.session().received(text, received, &mut self.out) {
            self.note_unreadable(now, &error);
        }
        // Heartbeats come also from an exchange that has stopped to read.
        if self.unanswered.is_some()
            && self.out.events.iter().any(|event| *event != SessionEvent::Heartbeat)
        {
            self.unanswered = None;
        }
        if !self.out.ticks.is_empty() {
            self.liveness.tick(now);
            count(&self.driver.record.ticks, self.out.ticks.len() as u64);
            if let Role::Market { router, .. } = &self.driver.role {
                for tick in &self.out.ticks {
                    router.publish(tick);
                }
            }
            self.out.ticks.clear();
        }
        self.process_outbox();
    }

    /// Carries out what the session put in its outbox.
    fn process_outbox(&mut self) {
        if self.out.is_silent() {
            return;
        }
        self.backlog.extend(self.out.messages.drain(..));
        self.waiting_requests.extend(self.out.requests.drain(..));
        self.start_requests();
        if self.out.events.is_empty() {
            return;
        }
        let mut events = std::mem::take(&mut self.out.events);
        for event in events.drain(..) {
            self.session_event(event);
        }
        self.out.events = events;
    }

    fn session_event(&mut self, event: SessionEvent) {
        let driver = self.driver;
        let (exchange, connection) = (driver.exchange, driver.role.kind());
        match event {
            SessionEvent::Order(event) => {
                if let Role::Trading { desk } = &driver.role {
                    desk.apply(&event);
                }
            }
            SessionEvent::Ready => self.becomes_live(),
            SessionEvent::Refused(refusal) => {
                self.begin_close(CLOSE_NORMAL, "refused", Ending::Refused(refusal));
            }
            SessionEvent::Unsubscribed => {
                self.unsubscribed = true;
                driver.record.reached(Stage::Unsubscribed, None, None);
                if let Some(written) = self.unsubscribed_at {
                    driver.record.took(self.read_at.0.saturating_duration_since(written));
                }
            }
            SessionEvent::Heartbeat | SessionEvent::Pong => {}
            SessionEvent::Acknowledged { request } => {
                debug!(%exchange, %connection, request, "acknowledged");
            }
            SessionEvent::ClosingSoon { reason } => {
                info!(%exchange, %connection, reason, "the exchange will close the connection");
                self.begin_close(CLOSE_NORMAL, "replaced", Ending::Planned { reason });
            }
            SessionEvent::Restricted(restriction) => {
                if let Role::Trading { desk } = &driver.role {
                    desk.restrict(restriction);
                }
            }
            SessionEvent::LimitsTold(limits) => {
                if let Role::Trading { desk } = &driver.role {
                    desk.set_limits(limits);
                }
            }
            SessionEvent::RateLimited { until } => {
                if let Role::Trading { desk } = &driver.role {
                    desk.rate_limited(until);
                }
            }
            SessionEvent::UpdatesLost { reason } => {
                self.begin_close(CLOSE_NORMAL, "updates lost", Ending::UpdatesLost { reason });
            }
            SessionEvent::Switch(answer) => {
                if let Role::Trading { desk } = &driver.role {
                    desk.switch_answered(answer);
                }
            }
            SessionEvent::Ignored { what } => {
                driver.record.ignored.fetch_add(1, Ordering::Relaxed);
                debug!(%exchange, %connection, what, "ignored");
            }
            SessionEvent::ExchangeError { code, reason } => {
                if let Some(left_out) = self.errors.allow(Instant::now()) {
                    warn!(%exchange, %connection, code, reason, left_out, "the exchange reports an error");
                }
            }
        }
    }

    fn becomes_live(&mut self) {
        if self.ready_since.is_some() {
            return;
        }
        self.ready_since = Some(Instant::now());
        // A login before the subscriptions makes it more than one, never less.
        self.driver.record.took(self.opened.elapsed());
        self.driver.became_live(self.heard_before);
        if let Role::Trading { desk } = &self.driver.role {
            // Before the comparison, which lets new orders in when it is done.
            desk.switch_ready();
            desk.session_ready();
        }
    }

    fn start_requests(&mut self) {
        while self.requests.len() < MAX_REQUESTS {
            let Some((tag, request)) = self.waiting_requests.pop_front() else { return };
            let connector = Arc::clone(&self.driver.connector);
            let limit = self.driver.config.connect_timeout;
            self.requests.push(Box::pin(async move {
                (tag, net::request(connector.as_ref(), request, limit).await)
            }));
        }
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        // Whatever ends a live socket, no stage may be missing without a word.
        if self.closing.is_some() {
            self.driver.record.reached(Stage::Dropped, None, Some("dropped while closing"));
        }
    }
}

/// Counts in a counter that only one task writes, which spares a locked addition at every tick.
fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

fn broken(error: &Error) -> Ending {
    Ending::Broken { reason: error.to_string() }
}

async fn feed_ended(role: &Role) {
    match role {
        Role::Market { feed, .. } => feed.cancelled().await,
        Role::Trading { .. } => std::future::pending().await,
    }
}

async fn command_waiting(role: &Role) {
    match role {
        Role::Trading { desk } => desk.command_waiting().await,
        Role::Market { .. } => std::future::pending().await,
    }
}
