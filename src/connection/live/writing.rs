//! What is written, in which order, and that it was.

use std::time::Duration;

use tokio::time::Instant;

use super::{CLOSE_NORMAL, Half, Live, broken};
use crate::connection::driver::Role;
use crate::connection::ending::Ending;
use crate::orders::{Command, Next};
use crate::report::Stage;
use crate::types::Order;

/// Commands written before they are flushed.
const BATCH: usize = 256;
/// How long the acknowledgement of the unsubscriptions may hold up the close.
const UNSUBSCRIBE_LIMIT: Duration = Duration::from_secs(1);

impl Live<'_> {
    /// Writes what may be written now: session messages, then commands.
    pub(super) fn write(&mut self) -> Result<(), Ending> {
        self.start_requests();
        if self.closing.is_some() {
            return Ok(());
        }
        if self.close_asked && (self.unsubscribed || self.unsubscribing.is_none()) {
            self.begin_close(CLOSE_NORMAL, "shutdown", Ending::ClosedHere);
            return Ok(());
        }
        if self.socket.is_unflushed() {
            return if self.ready_since.is_some() { self.expect_answer() } else { Ok(()) };
        }
        let now = Instant::now();
        self.set_switch(now);
        self.paced = None;
        while !self.backlog.is_empty() {
            self.paced = self.pacer.wait(now);
            if self.paced.is_some() {
                break;
            }
            let Some(text) = self.backlog.pop_front() else { break };
            self.pacer.count(now);
            self.socket.write(text).map_err(|error| broken(&error))?;
        }
        loop {
            let takes_commands =
                self.ready_since.is_some() && !self.close_asked && self.backlog.is_empty();
            let written = self.socket.written();
            let more = takes_commands && self.write_commands(now)?;
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

    /// Writes one batch of commands; tells whether more may be waiting.
    pub(super) fn write_commands(&mut self, now: Instant) -> Result<bool, Ending> {
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
            let next = match self.pacer.wait(now) {
                Some(at) => Next::WaitUntil(at),
                None => desk.next_command(),
            };
            let (command, order) = match next {
                Next::Write(command, order) => (command, order),
                Next::CancelAll(instrument) => {
                    cancelled = true;
                    session.cancel_all(instrument, self.driver.clock.now(), &mut self.out);
                    for text in self.out.messages.drain(..) {
                        self.pacer.count(now);
                        self.socket.write(text).map_err(|error| broken(&error))?;
                    }
                    continue;
                }
                Next::WaitUntil(at) => {
                    self.paced = Some(at);
                    more = false;
                    break;
                }
                Next::Nothing => {
                    more = false;
                    break;
                }
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
                // It comes as `Next::CancelAll`, without an order.
                Command::CancelAll(_) => {}
                Command::Query(_) => session.query(&order, wall, &mut self.out),
                Command::Fills(_) => session.query_fills(&order, wall, &mut self.out),
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

    pub(super) fn flushed(&mut self) {
        self.permits.clear();
        if let Some(closing) = &mut self.closing
            && !closing.frame_flushed
        {
            closing.frame_flushed = true;
            self.driver.record.reached(Stage::CloseFrameSent, Some(closing.code), None);
        }
    }

    pub(super) fn unsubscribe(&mut self) {
        let limit = UNSUBSCRIBE_LIMIT.min(self.driver.config.close_timeout);
        let now = Instant::now();
        self.unsubscribing = Some(now + limit);
        self.unsubscribed_at = Some(now);
        self.liveness.expect_no_ticks();
        if let Half::Market(session) = &mut self.half {
            session.unsubscribe(&mut self.out);
        }
        self.process_outbox();
    }
}
