//! Serves one open socket: reads, writes, probes, and closes it in order.

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

use super::ConnectionStatus;
use super::driver::{Driver, Outcome, Role};
use super::ending::Ending;
use super::liveness::{Liveness, LivenessRules, Verdict};
use super::log_limit::LogLimit;
use super::pacing::Pacer;
use super::socket::{Arrival, Socket};
use crate::exchange::{
    ConnectionRules, DecodeError, HttpFailure, HttpRequest, HttpResponse, MarketSession, Outbox,
    Probe, Session, SessionEvent, TradingSession,
};
use crate::net;
use crate::orders::{Command, Permit};
use crate::report::Stage;
use crate::types::{Order, Timestamp};

/// Frames handled before the other things that wait are looked at.
const BURST: usize = 128;
/// Commands written before they are flushed.
const BATCH: usize = 256;
/// HTTP requests of one connection that may run side by side.
const MAX_REQUESTS: usize = 16;
/// How long the acknowledgement of the unsubscriptions may hold up the close.
const UNSUBSCRIBE_LIMIT: Duration = Duration::from_secs(1);
/// During a shutdown, the longest that login and subscriptions of a trading connection may take.
const HURRIED_READY: Duration = Duration::from_secs(3);

const CLOSE_NORMAL: u16 = 1000;
const CLOSE_GOING_AWAY: u16 = 1001;
const CLOSE_BAD_DATA: u16 = 1007;
const CLOSE_TOO_BIG: u16 = 1009;

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

/// The close handshake, once it has begun.
struct Closing {
    /// Why: what the attempt will have ended with.
    ending: Ending,
    code: u16,
    deadline: Instant,
    frame_flushed: bool,
    peer_answered: bool,
}

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
    unsubscribed: bool,
    close_asked: bool,
    closing: Option<Closing>,
    /// A shutdown has begun.
    hurried: bool,
    /// Since when, during a shutdown, commands wait for any answer at all.
    unanswered: Option<Instant>,
    /// Commands wait for the pacer.
    paced: bool,
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
            pacer: Pacer::new(rules.message_rate),
            probe: rules.probe,
            backlog: VecDeque::new(),
            requests: FuturesUnordered::new(),
            waiting_requests: VecDeque::new(),
            permits: Vec::new(),
            ready_deadline: now + driver.config.ready_timeout,
            ready_since: None,
            heard_before,
            heard: None,
            read_at: (now, driver.clock.now()),
            reads,
            flooded: false,
            unsubscribing: None,
            unsubscribed: false,
            close_asked: false,
            closing: None,
            hurried: false,
            unanswered: None,
            paced: false,
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
            SessionEvent::UpdatesLost { reason } => {
                self.begin_close(CLOSE_NORMAL, "updates lost", Ending::UpdatesLost { reason });
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
        self.driver.became_live(self.heard_before);
        if let Role::Trading { desk } = &self.driver.role {
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

    // ---- writing --------------------------------------------------------------------------

    /// Writes what may be written now: session messages, then commands.
    fn write(&mut self) -> Result<(), Ending> {
        self.start_requests();
        if self.closing.is_some() {
            return Ok(());
        }
        if self.close_asked && (self.unsubscribed || self.unsubscribing.is_none()) {
            self.write_keeping()?;
            self.begin_close(CLOSE_NORMAL, "shutdown", Ending::ClosedHere);
            return Ok(());
        }
        if self.socket.is_unflushed() {
            return if self.ready_since.is_some() { self.expect_answer() } else { Ok(()) };
        }
        let now = Instant::now();
        while self.pacer.ready_at(now) <= now {
            let Some(text) = self.backlog.pop_front() else { break };
            self.pacer.count(now);
            self.socket.write(text).map_err(|error| broken(&error))?;
        }
        loop {
            let takes_commands =
                self.ready_since.is_some() && !self.close_asked && self.backlog.is_empty();
            let written = self.socket.written();
            let more = takes_commands && self.write_commands(now)?;
            self.paced = takes_commands && self.pacer.ready_at(now) > now;
            if self.socket.written() > written {
                self.expect_answer()?;
            }
            if self.socket.is_unflushed() {
                if !self.socket.flush_now().map_err(|error| broken(&error))? {
                    return Ok(());
                }
                self.flushed();
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// A shutdown has begun: a connection that does not come up soon, or that does not answer, is
    /// of no use for the cancels.
    fn hurry(&mut self) {
        self.hurried = true;
        self.ready_deadline = self.ready_deadline.min(Instant::now() + HURRIED_READY);
    }

    /// During a shutdown commands were written, or cannot be: the exchange is probed, and must show
    /// soon that it is there.
    fn expect_answer(&mut self) -> Result<(), Ending> {
        let is_trading = matches!(self.half, Half::Trading(_));
        if !self.hurried || !is_trading || self.unanswered.is_some() {
            return Ok(());
        }
        self.unanswered = Some(Instant::now());
        self.send_probe()
    }

    /// Orders that stay open must survive the end of the connection; the close frame follows.
    fn write_keeping(&mut self) -> Result<(), Ending> {
        let (Role::Trading { desk }, Half::Trading(session)) = (&self.driver.role, &mut self.half)
        else {
            return Ok(());
        };
        if self.ready_since.is_some() && desk.keeps_orders() {
            session.keep_orders(&mut self.out);
            for text in self.out.messages.drain(..) {
                self.socket.write(text).map_err(|error| broken(&error))?;
            }
        }
        Ok(())
    }

    /// Writes one batch of commands; tells whether more may be waiting.
    fn write_commands(&mut self, now: Instant) -> Result<bool, Ending> {
        let (Role::Trading { desk }, Half::Trading(session)) = (&self.driver.role, &mut self.half)
        else {
            return Ok(false);
        };
        let batch_limit = session.cancel_batch_limit();
        // Cancels that stand together in the queue share a message where the exchange has one for
        // several. Nothing waits for company: what is there is written with this batch.
        let mut cancels: Vec<Order> = Vec::new();
        let mut cancelled = false;
        let mut more = true;
        for _ in 0..BATCH {
            if self.pacer.ready_at(now) > now {
                more = false;
                break;
            }
            let Some((command, order)) = desk.next_command() else {
                more = false;
                break;
            };
            let wall = self.driver.clock.now();
            match command {
                Command::Submit(_, permit) => {
                    // A cancel stays ahead of the orders that were queued behind it.
                    if !cancels.is_empty() {
                        session.cancel_batch(&cancels, wall, &mut self.out);
                        cancels.clear();
                    }
                    self.permits.push(permit);
                    session.submit(&order, wall, &mut self.out);
                }
                Command::Cancel(_) => {
                    cancelled = true;
                    cancels.push(order);
                    if cancels.len() >= batch_limit {
                        session.cancel_batch(&cancels, wall, &mut self.out);
                        cancels.clear();
                    }
                }
                Command::Query(_) => session.query(&order, wall, &mut self.out),
            }
            for text in self.out.messages.drain(..) {
                self.pacer.count(now);
                self.socket.write(text).map_err(|error| broken(&error))?;
            }
        }
        if !cancels.is_empty() {
            session.cancel_batch(&cancels, self.driver.clock.now(), &mut self.out);
            for text in self.out.messages.drain(..) {
                self.pacer.count(now);
                self.socket.write(text).map_err(|error| broken(&error))?;
            }
        }
        self.waiting_requests.extend(self.out.requests.drain(..));
        if cancelled {
            desk.written();
        }
        self.process_outbox();
        Ok(more)
    }

    fn flushed(&mut self) {
        self.permits.clear();
        if let Some(closing) = &mut self.closing
            && !closing.frame_flushed
        {
            closing.frame_flushed = true;
            self.driver.record.reached(Stage::CloseFrameSent, Some(closing.code), None);
        }
    }

    fn unsubscribe(&mut self) {
        let limit = UNSUBSCRIBE_LIMIT.min(self.driver.config.close_timeout);
        self.unsubscribing = Some(Instant::now() + limit);
        self.liveness.expect_no_ticks();
        if let Half::Market(session) = &mut self.half {
            session.unsubscribe(&mut self.out);
        }
        self.process_outbox();
    }

    // ---- closing --------------------------------------------------------------------------

    fn begin_close(&mut self, code: u16, reason: &'static str, ending: Ending) {
        if self.closing.is_some() {
            return;
        }
        let deadline = Instant::now() + self.driver.config.close_timeout;
        let mut closing =
            Closing { ending, code, deadline, frame_flushed: false, peer_answered: false };
        self.driver.record.set_status(ConnectionStatus::Closing);
        if let Role::Trading { desk } = &self.driver.role {
            desk.session_closing(&closing.ending.to_string());
        }
        // What was not written so far never will be.
        self.backlog.clear();
        if let Err(error) = self.socket.close(code, reason) {
            closing.ending = failure_over(closing.ending, broken(&error));
            closing.deadline = Instant::now();
        }
        self.closing = Some(closing);
        if let Ok(true) = self.socket.flush_now() {
            self.flushed();
        }
    }

    fn peer_closes(&mut self, code: Option<u16>, reason: &str, now: Instant) {
        self.driver.record.reached(Stage::CloseFrameReceived, code, Some(reason));
        if let Some(closing) = &mut self.closing {
            closing.peer_answered = true;
            return;
        }
        // The answer to the peer's frame goes out by itself; the peer then ends the stream.
        let ending = Ending::ClosedByPeer { code, reason: reason.to_owned() };
        let deadline = now + self.driver.config.close_timeout;
        if let Role::Trading { desk } = &self.driver.role {
            desk.session_closing(&ending.to_string());
        }
        let code = code.unwrap_or(CLOSE_NORMAL);
        let (frame_flushed, peer_answered) = (false, true);
        self.closing = Some(Closing { ending, code, deadline, frame_flushed, peer_answered });
        self.socket.answers_close();
        if let Ok(true) = self.socket.flush_now() {
            self.flushed();
        }
    }

    /// The peer ended the stream.
    fn ended(&mut self) -> Ending {
        match self.closing.take() {
            Some(closing) if closing.peer_answered => {
                self.driver.record.reached(Stage::TcpClosed, None, None);
                closing.ending
            }
            Some(closing) => {
                let reason = "the exchange ended TCP without a close frame";
                self.driver.record.reached(Stage::Dropped, None, Some(reason));
                closing.ending
            }
            None => {
                let reason = "the exchange ended TCP without a close frame";
                self.driver.record.reached(Stage::Dropped, None, Some(reason));
                Ending::Broken { reason: reason.to_owned() }
            }
        }
    }

    /// The stream broke, or brought what is no WebSocket message.
    fn failed(&mut self, error: &Error) -> Ending {
        let code = match error {
            Error::Utf8(_) => Some(CLOSE_BAD_DATA),
            Error::Capacity(_) => Some(CLOSE_TOO_BIG),
            _ => None,
        };
        let now = Instant::now();
        if let Some(code) = code {
            self.note_unreadable(now, &DecodeError::new(error.to_string()));
            // The position in the stream is lost, so an answer could not be read: the frame is
            // sent as far as it goes at once and the stream dropped.
            if self.closing.is_none() && self.socket.close(code, "unreadable").is_ok() {
                let _ = self.socket.flush_now();
            }
        }
        let reason = error.to_string();
        self.driver.record.reached(Stage::Dropped, None, Some(&reason));
        match self.closing.take() {
            Some(closing) => closing.ending,
            None => Ending::Broken { reason },
        }
    }

    /// No more waiting: a close frame is sent as far as it goes at once.
    fn cut(&mut self) -> Ending {
        if self.closing.is_none()
            && self.socket.close(CLOSE_GOING_AWAY, "cut off").is_ok()
            && let Ok(true) = self.socket.flush_now()
        {
            self.driver.record.reached(Stage::CloseFrameSent, Some(CLOSE_GOING_AWAY), None);
        }
        self.driver.record.reached(
            Stage::Dropped,
            None,
            Some("cut off before the close was answered"),
        );
        Ending::ClosedHere
    }

    // ---- time -----------------------------------------------------------------------------

    fn next_deadline(&self) -> Instant {
        if let Some(closing) = &self.closing {
            return closing.deadline;
        }
        let mut next = self.liveness.next_check();
        if self.ready_since.is_none() {
            next = next.min(self.ready_deadline);
        }
        if let Some(limit) = self.unsubscribing.filter(|_| !self.unsubscribed) {
            next = next.min(limit);
        }
        if let Some(since) = self.unanswered {
            next = next.min(since + self.driver.answer_limit);
        }
        // While the system takes nothing, its own wake-up comes first.
        if (self.paced || !self.backlog.is_empty()) && !self.socket.is_unflushed() {
            next = next.min(self.pacer.ready_at(Instant::now()));
        }
        next
    }

    fn check_time(&mut self) -> Result<(), Ending> {
        let now = Instant::now();
        if let Some(closing) = self.closing.take_if(|closing| now >= closing.deadline) {
            let reason = match (closing.frame_flushed, closing.peer_answered) {
                (true, true) => "the exchange did not end TCP in time",
                (true, false) => "the exchange did not answer the close frame in time",
                (false, _) => "the close frame could not be written in time",
            };
            self.driver.record.reached(Stage::Dropped, None, Some(reason));
            return Err(closing.ending);
        }
        if self.closing.is_some() {
            return Ok(());
        }
        if self.ready_since.is_none() && now >= self.ready_deadline {
            let limit_ms = self.driver.config.ready_timeout.as_millis();
            let ending = Ending::TimedOut { what: "logging in and subscribing", limit_ms };
            self.begin_close(CLOSE_NORMAL, "not ready in time", ending);
            return Ok(());
        }
        if self.unsubscribing.is_some_and(|limit| now >= limit) && !self.unsubscribed {
            // Without the acknowledgement the close goes ahead; the missing stage tells.
            self.unsubscribed = true;
            self.driver.record.not_unsubscribed();
        }
        if let Some(since) =
            self.unanswered.filter(|&since| now >= since + self.driver.answer_limit)
        {
            let waited_ms = now.duration_since(since).as_millis();
            return Err(Ending::Unanswered { waited_ms });
        }
        match self.liveness.check(now) {
            None => Ok(()),
            Some(Verdict::Probe) => self.send_probe(),
            Some(Verdict::Dead { silent_for }) => {
                Err(Ending::Silent { silent_ms: silent_for.as_millis() })
            }
            Some(Verdict::FeedSilent { silent_for }) => {
                let reason = format!("no tick for {} ms", silent_for.as_millis());
                let ending = Ending::Broken { reason };
                self.begin_close(CLOSE_NORMAL, "silent feed", ending);
                Ok(())
            }
            Some(Verdict::TooOld) => {
                let reason = "it nears the exchange's limit on a connection's life".to_owned();
                self.begin_close(CLOSE_NORMAL, "replaced", Ending::Planned { reason });
                Ok(())
            }
        }
    }

    fn send_probe(&mut self) -> Result<(), Ending> {
        match self.probe {
            Probe::PingFrame => {
                self.pacer.count(Instant::now());
                self.socket.ping().map_err(|error| broken(&error))
            }
            Probe::Message => {
                let now = self.driver.clock.now();
                self.half.session().ping(now, &mut self.out);
                self.process_outbox();
                Ok(())
            }
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

/// A close that was asked for stays one even if the socket breaks under it.
fn failure_over(wanted: Ending, failure: Ending) -> Ending {
    match wanted {
        Ending::ClosedHere => wanted,
        _ => failure,
    }
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
