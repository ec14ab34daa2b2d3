//! How a socket ends: the close handshake, the end of the stream, and what breaks it.

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Error;

use super::{CLOSE_NORMAL, Live, broken};
use crate::connection::ConnectionStatus;
use crate::connection::driver::Role;
use crate::connection::ending::Ending;
use crate::exchange::DecodeError;
use crate::report::Stage;

const CLOSE_GOING_AWAY: u16 = 1001;
const CLOSE_BAD_DATA: u16 = 1007;
const CLOSE_TOO_BIG: u16 = 1009;

/// The close handshake, once it has begun.
pub(super) struct Closing {
    /// Why: what the attempt will have ended with.
    pub(super) ending: Ending,
    pub(super) code: u16,
    pub(super) deadline: Instant,
    pub(super) frame_flushed: bool,
    pub(super) peer_answered: bool,
}

impl Live<'_> {
    pub(super) fn begin_close(&mut self, code: u16, reason: &'static str, ending: Ending) {
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

    pub(super) fn peer_closes(&mut self, code: Option<u16>, reason: &str, now: Instant) {
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
    pub(super) fn ended(&mut self) -> Ending {
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
    pub(super) fn failed(&mut self, error: &Error) -> Ending {
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
    pub(super) fn cut(&mut self) -> Ending {
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
}

/// A close that was asked for stays one even if the socket breaks under it.
fn failure_over(wanted: Ending, failure: Ending) -> Ending {
    match wanted {
        Ending::ClosedHere => wanted,
        _ => failure,
    }
}
