//! What is due when: probes, limits, and the hurry of a shutdown.

use std::time::Duration;

use tokio::time::Instant;

use super::{CLOSE_NORMAL, Half, Live, broken};
use crate::connection::ending::Ending;
use crate::connection::liveness::Verdict;
use crate::exchange::Probe;
use crate::report::Stage;

/// During a shutdown, the longest that login and subscriptions may take.
const HURRIED_READY: Duration = Duration::from_secs(3);

impl Live<'_> {
    /// A shutdown has begun: a connection that does not come up soon, or that does not answer, is
    /// of no use for the cancels.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
        self.ready_deadline = self.ready_deadline.min(Instant::now() + HURRIED_READY);
    }

    /// During a shutdown commands were written, or cannot be: the exchange is probed, and must show
    /// soon that it is there.
    pub(super) fn expect_answer(&mut self) -> Result<(), Ending> {
        let is_trading = matches!(self.half, Half::Trading(_));
        if !self.hurried || !is_trading || self.unanswered.is_some() {
            return Ok(());
        }
        self.unanswered = Some(Instant::now());
        self.send_probe()
    }

    pub(super) fn next_deadline(&self) -> Instant {
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
        if let Some(due) = self.switch_due() {
            next = next.min(due);
        }
        // While the system takes nothing, its own wake-up comes first.
        if let Some(at) = self.paced.filter(|_| !self.socket.is_unflushed()) {
            next = next.min(at);
        }
        next
    }

    pub(super) fn check_time(&mut self) -> Result<(), Ending> {
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

    pub(super) fn send_probe(&mut self) -> Result<(), Ending> {
        match self.probe {
            // A message that waits for the pacer will be answered as well, and would never have its
            // turn if probes went ahead of it again and again.
            Probe::PingFrame if !self.backlog.is_empty() => Ok(()),
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
