//! The loop of one connection. All reading, writing and timing of a WebSocket happens here; what
//! it means is the protocol's business.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::peer::{Disturbance, Outgoing, Peer};
use super::stream::{ByteStream, FaultStream};
use crate::faults::Disconnect;
use crate::ledger::ClosedBy;
use crate::protocol::ConnectionRules;
use crate::venue::VenueShared;

/// Messages written before the socket is flushed, and read before replies are written.
const BATCH: usize = 256;
/// A far end of time for timers that are off.
const FAR: Duration = Duration::from_secs(86_400 * 365);

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) by: Option<ClosedBy>,
    pub(crate) code_sent: Option<u16>,
    pub(crate) code_received: Option<u16>,
}

enum Flow {
    Go,
    /// Leave the loop; the socket is closed by FIN, and the client's FIN is awaited.
    Done,
    /// Leave the loop; the socket is closed by FIN, and nobody is expected to answer.
    Abandon,
    /// Leave the loop; the socket is reset.
    Reset,
}

/// Drives one WebSocket until it ends.
pub(crate) struct Driver<S: ByteStream> {
    socket: WebSocketStream<FaultStream<S>>,
    peer: Arc<Peer>,
    venue: Arc<VenueShared>,
    rules: ConnectionRules,
    ended: Ended,
    stop: CancellationToken,
    /// When the connection has lived long enough.
    end_of_life: Option<Instant>,
    /// Messages that are still on the (delayed) way in.
    inbound: VecDeque<(Instant, Utf8Bytes)>,
    close_deadline: Option<Instant>,
    refuse_close: bool,
    reading_from: Option<Instant>,
    silent_until: Option<Instant>,
    next_ping: Option<Instant>,
    pong_deadline: Option<Instant>,
    last_in: Instant,
    last_out: Instant,
    window_start: Instant,
    window_count: u32,
}

impl<S: ByteStream> Driver<S> {
    pub(crate) fn new(
        socket: WebSocketStream<FaultStream<S>>,
        peer: Arc<Peer>,
        venue: Arc<VenueShared>,
        rules: ConnectionRules,
    ) -> Self {
        let now = Instant::now();
        let venue_stop = venue.stop.clone();
        Self {
            socket,
            peer,
            venue,
            rules,
            ended: Ended::default(),
            stop: venue_stop,
            end_of_life: rules.lifetime.map(|limit| now + limit),
            inbound: VecDeque::new(),
            close_deadline: None,
            refuse_close: false,
            reading_from: Some(now),
            silent_until: None,
            next_ping: rules.ping_every.map(|pause| now + pause),
            pong_deadline: None,
            last_in: now,
            last_out: now,
            window_start: now,
            window_count: 0,
        }
    }

    /// Runs until the connection is gone; says how it ended.
    pub(crate) async fn run(mut self) -> Ended {
        let kill = self.peer.kill.clone();
        let flow = loop {
            let flow = tokio::select! {
                biased;
                () = kill.cancelled() => Flow::Reset,
                flow = self.turn() => flow,
            };
            if !matches!(flow, Flow::Go) {
                break flow;
            }
        };
        if kill.is_cancelled() {
            self.ended.by.get_or_insert(ClosedBy::Server);
        }
        self.hang_up(flow).await;
        self.ended
    }

    /// Writes what is due, then waits for one thing and does it.
    async fn turn(&mut self) -> Flow {
        match self.write_due().await {
            Flow::Go => {}
            other => return other,
        }
        let now = Instant::now();
        let reading = self.reading_from.is_some_and(|from| from <= now);
        let wake = self.next_wake(now);
        let flow = tokio::select! {
            biased;
            () = self.stop.cancelled(), if self.close_deadline.is_none() => {
                self.close(1001, "Going away").await
            }
            message = self.socket.next(), if reading => self.read_batch(message).await,
            () = self.peer.woken() => Flow::Go,
            () = sleep_until(wake) => Flow::Go,
        };
        match flow {
            Flow::Go => self.timers().await,
            other => other,
        }
    }

    fn next_wake(&self, now: Instant) -> Instant {
        // Timers of a closing connection are off, or one that passed would keep the loop awake.
        let living = self.close_deadline.is_none();
        let heartbeat = self
            .rules
            .heartbeat_every
            .filter(|_| self.peer.heartbeat().is_some())
            .map(|pause| self.last_out + pause);
        let idle = self.rules.idle_timeout.map(|limit| self.last_in + limit);
        let rules = [self.end_of_life, self.next_ping, self.pong_deadline, heartbeat, idle];
        [
            self.peer.next_due(),
            self.inbound.front().map(|(due, _)| *due),
            self.close_deadline,
            self.reading_from.filter(|from| *from > now),
            self.silent_until,
        ]
        .into_iter()
        .chain(rules.into_iter().filter(|_| living))
        .flatten()
        .min()
        .unwrap_or(now + FAR)
    }

    async fn timers(&mut self) -> Flow {
        let now = Instant::now();
        while self.inbound.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, text)) = self.inbound.pop_front() {
                self.venue.text(self.peer.id, &text);
            }
        }
        if self.silent_until.is_some_and(|until| until <= now) {
            self.silent_until = None;
            self.socket.get_ref().set_silent(false);
        }
        if self.close_deadline.is_some_and(|deadline| deadline <= now) {
            return Flow::Abandon;
        }
        if self.close_deadline.is_some() {
            return Flow::Go;
        }
        if self.end_of_life.is_some_and(|end| end <= now) {
            return self.close(1001, "End of life").await;
        }
        if self.pong_deadline.is_some_and(|deadline| deadline <= now) {
            return self.close(1008, "Pong timeout").await;
        }
        if self.rules.idle_timeout.is_some_and(|limit| self.last_in + limit <= now) {
            return self.close(1000, "Inactive").await;
        }
        if let (Some(due), Some(pause)) = (self.next_ping, self.rules.ping_every)
            && due <= now
        {
            self.next_ping = Some(now + pause);
            if self.pong_deadline.is_none() {
                self.pong_deadline = self.rules.pong_timeout.map(|limit| now + limit);
            }
            let payload = self.venue.now().as_millisecond().to_string();
            return self.send(Message::Ping(payload.into())).await;
        }
        if let (Some(pause), Some(text)) = (self.rules.heartbeat_every, self.peer.heartbeat())
            && self.last_out + pause <= now
        {
            return self.send(Message::Text(text)).await;
        }
        Flow::Go
    }

    async fn write_due(&mut self) -> Flow {
        let mut batch = Vec::new();
        loop {
            self.peer.take_due(Instant::now(), BATCH, &mut batch);
            if batch.is_empty() {
                return Flow::Go;
            }
            for outgoing in batch.drain(..) {
                let flow = match outgoing {
                    // After a close frame nothing may follow.
                    _ if self.close_deadline.is_some() => Flow::Go,
                    Outgoing::Text(text) => self.feed(Message::Text(text)).await,
                    Outgoing::Close { code, reason } => self.close(code, &reason).await,
                    Outgoing::Disturb(disturbance) => self.disturb(disturbance).await,
                };
                if !matches!(flow, Flow::Go) {
                    return flow;
                }
            }
            if let Err(error) = self.socket.flush().await {
                return self.failed(&error);
            }
        }
    }

    async fn feed(&mut self, message: Message) -> Flow {
        self.last_out = Instant::now();
        self.peer.frames_out.fetch_add(1, Ordering::Relaxed);
        match self.socket.feed(message).await {
            Ok(()) => Flow::Go,
            Err(error) => self.failed(&error),
        }
    }

    async fn send(&mut self, message: Message) -> Flow {
        match self.feed(message).await {
            Flow::Go => {}
            other => return other,
        }
        match self.socket.flush().await {
            Ok(()) => Flow::Go,
            Err(error) => self.failed(&error),
        }
    }

    /// Sends the close frame; reading goes on until the client's comes or the limit passes.
    async fn close(&mut self, code: u16, reason: &str) -> Flow {
        if self.close_deadline.is_some() {
            return Flow::Go;
        }
        self.close_deadline = Some(Instant::now() + self.venue.config.close_timeout);
        self.reading_from = Some(Instant::now());
        self.ended.by.get_or_insert(ClosedBy::Server);
        self.ended.code_sent = Some(code);
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        self.send(Message::Close(Some(frame))).await
    }

    async fn read_batch(&mut self, first: Option<Result<Message, tungstenite::Error>>) -> Flow {
        let mut next = first;
        for left in (0..BATCH).rev() {
            let flow = match next {
                None => self.gone(),
                Some(Err(error)) => self.failed(&error),
                Some(Ok(message)) => self.received(message).await,
            };
            // What is taken from the socket must be processed: the last of a batch looks no further.
            if !matches!(flow, Flow::Go) || self.reading_from.is_none() || left == 0 {
                return flow;
            }
            match self.socket.next().now_or_never() {
                Some(message) => next = message,
                None => break,
            }
        }
        Flow::Go
    }

    async fn received(&mut self, message: Message) -> Flow {
        self.last_in = Instant::now();
        self.peer.frames_in.fetch_add(1, Ordering::Relaxed);
        if let Message::Close(frame) = message {
            return self.close_received(frame).await;
        }
        if self.close_deadline.is_some() {
            return Flow::Go;
        }
        if self.over_the_rate() {
            return self.close(1008, "Too many requests").await;
        }
        match message {
            Message::Text(text) => {
                if self.venue.config.latency.is_zero() {
                    self.venue.text(self.peer.id, &text);
                } else {
                    self.inbound.push_back((self.last_in + self.venue.config.latency, text));
                }
                Flow::Go
            }
            Message::Binary(_) => self.close(1003, "Only text is understood").await,
            Message::Pong(_) => {
                self.pong_deadline = None;
                Flow::Go
            }
            Message::Ping(_) | Message::Frame(_) | Message::Close(_) => Flow::Go,
        }
    }

    fn over_the_rate(&mut self) -> bool {
        let Some(limit) = self.rules.messages_per_second else { return false };
        if self.last_in.duration_since(self.window_start) >= Duration::from_secs(1) {
            self.window_start = self.last_in;
            self.window_count = 0;
        }
        self.window_count += 1;
        self.window_count > limit
    }

    async fn close_received(&mut self, frame: Option<CloseFrame>) -> Flow {
        // What was still on the way in arrived before the close frame.
        while let Some((_, text)) = self.inbound.pop_front() {
            self.venue.text(self.peer.id, &text);
        }
        let code = frame.map(|frame| frame.code);
        self.ended.code_received = Some(code.map_or(1005, u16::from));
        if self.close_deadline.is_some() {
            return Flow::Done;
        }
        self.ended.by = Some(ClosedBy::Client);
        if self.refuse_close {
            // The library has queued its answer; it must not reach the wire.
            self.socket.get_ref().set_silent(true);
            self.silent_until = None;
            let _ = self.socket.flush().await;
            let mut rest = [0_u8; 1024];
            let stop = self.stop.clone();
            let client_gone =
                async { while let Ok(1..) = self.socket.get_mut().read(&mut rest).await {} };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = client_gone => {}
            }
            return Flow::Abandon;
        }
        self.ended.code_sent = code.map(u16::from);
        // The link delays the close frame on its way in, and the answer on its way out.
        let way = self.venue.config.latency * 2;
        if !way.is_zero() {
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(way) => {}
            }
        }
        match self.socket.flush().await {
            Ok(()) | Err(_) => Flow::Done,
        }
    }

    fn gone(&mut self) -> Flow {
        self.ended.by.get_or_insert(ClosedBy::Error);
        Flow::Done
    }

    fn failed(&mut self, error: &tungstenite::Error) -> Flow {
        if !matches!(error, tungstenite::Error::ConnectionClosed) {
            tracing::debug!(connection = self.peer.id, %error, "connection failed");
        }
        self.gone()
    }

    async fn disturb(&mut self, disturbance: Disturbance) -> Flow {
        let now = Instant::now();
        match disturbance {
            Disturbance::Drop(how) => {
                self.ended.by.get_or_insert(ClosedBy::Server);
                match how {
                    Disconnect::Fin => Flow::Done,
                    Disconnect::Rst => Flow::Reset,
                }
            }
            Disturbance::StopReading(time) => {
                self.reading_from = time.map(|time| now + time);
                self.pong_deadline = None;
                self.rules.pong_timeout = None;
                self.rules.idle_timeout = None;
                Flow::Go
            }
            Disturbance::GoSilent(time) => {
                self.silent_until = time.map(|time| now + time);
                self.rules.pong_timeout = None;
                let flushed = self.socket.flush().await;
                self.socket.get_ref().set_silent(true);
                flushed.map_or_else(|error| self.failed(&error), |()| Flow::Go)
            }
            Disturbance::Binary => self.send(Message::binary(vec![0, 1, 2, 0xff])).await,
            Disturbance::InvalidUtf8 => {
                let payload = vec![b'{', 0xc3, 0x28, 0xff, b'}'];
                self.send_frame(payload.into()).await
            }
            Disturbance::Oversized(bytes) => self.send_frame(vec![b'x'; bytes].into()).await,
            Disturbance::Truncated => {
                self.ended.by.get_or_insert(ClosedBy::Server);
                let _ = self.socket.flush().await;
                // A text frame that announces 1000 bytes and holds 12.
                let mut bytes = vec![0x81, 126, 0x03, 0xe8];
                bytes.extend_from_slice(b"{\"e\":\"trade\"");
                let _ = self.socket.get_mut().write_all(&bytes).await;
                Flow::Done
            }
            Disturbance::RefuseClose => {
                self.refuse_close = true;
                Flow::Go
            }
        }
    }

    async fn send_frame(&mut self, payload: bytes::Bytes) -> Flow {
        let frame = Frame::message(payload, OpCode::Data(Data::Text), true);
        self.send(Message::Frame(frame)).await
    }

    /// Ends TCP, first from this side, then waits (bounded) for the client's FIN.
    async fn hang_up(&mut self, flow: Flow) {
        let stream = self.socket.get_mut();
        if matches!(flow, Flow::Reset) {
            stream.reset_on_drop();
            return;
        }
        let limit = self.venue.config.close_timeout;
        let farewell = async {
            stream.shutdown().await?;
            let mut rest = [0_u8; 1024];
            while matches!(flow, Flow::Done) && stream.read(&mut rest).await? > 0 {}
            std::io::Result::Ok(())
        };
        if let Ok(Err(error)) = timeout(limit, farewell).await {
            tracing::trace!(connection = self.peer.id, %error, "the client was gone first");
        }
    }
}
