//! Writes what the dead-man's switch wants, ahead of every order.

use tokio::time::Instant;

use super::{Half, Live};
use crate::connection::driver::Role;

impl Live<'_> {
    /// Queues the setting that is due now. Settings go ahead of commands, so that no new order is
    /// written when a timer has run out.
    pub(super) fn set_switch(&mut self, now: Instant) {
        let (Role::Trading { desk }, Half::Trading(session)) = (&self.driver.role, &mut self.half)
        else {
            return;
        };
        if self.ready_since.is_none() || self.close_asked {
            return;
        }
        if let Some(request) = desk.switch_request(now) {
            session.set_switch(request, self.driver.clock.now(), &mut self.out);
            self.process_outbox();
        }
    }

    /// When the next setting is due. While the system takes nothing, its own wake-up comes first.
    pub(super) fn switch_due(&self) -> Option<Instant> {
        let Role::Trading { desk } = &self.driver.role else { return None };
        let may_write = self.ready_since.is_some() && !self.close_asked;
        desk.switch_due().filter(|_| may_write && !self.socket.is_unflushed())
    }
}
