//! Faults and timers: what goes wrong with a venue, and what is done later.

use std::time::Duration;

use tokio::time::Instant;

use super::{Timed, VenueState};
use crate::connection::{Disturbance, Outgoing};
use crate::engine::EngineEvent;
use crate::faults::{FaultAction, Occasion, Refusal, When};
use crate::protocol::{ConnectionId, ConnectionKind, Notice, SystemStatus};

impl VenueState {
    pub(in crate::venue) fn refusing(&self) -> Option<Refusal> {
        self.refusing
    }

    /// Faults that wait for a connection to open.
    pub(in crate::venue) fn strike_open(&mut self, connection: ConnectionId) {
        self.strike_connection(When::Open, connection);
    }

    /// Faults that wait for a message; false when the message must not be processed.
    pub(in crate::venue) fn strike_message(&mut self, connection: ConnectionId) -> bool {
        let actions = self.strike_connection(When::Message, connection);
        !cuts_off(&actions)
    }

    pub(super) fn strike_connection(
        &mut self,
        when: When,
        connection: ConnectionId,
    ) -> Vec<FaultAction> {
        let occasion = Occasion { connection: self.origin(Some(connection)), order: None };
        let actions = self.faults.strike(when, occasion, Instant::now());
        for action in &actions {
            self.disturb(connection, action);
        }
        actions
    }

    /// Faults whose time has come, on everything that is open.
    pub(in crate::venue) fn strike_now(&mut self) {
        let now = Instant::now();
        for action in self.faults.strike_venue(now) {
            self.venue_wide(&action);
        }
        for connection in self.connection_ids() {
            self.strike_connection(When::Now, connection);
        }
        self.faults.finish_now();
        self.rescheduled = true;
    }

    /// Does what is due; the events are to be published.
    pub(in crate::venue) fn run_due(&mut self) -> Vec<EngineEvent> {
        let now = Instant::now();
        let mut events = Vec::new();
        if self.faults.next_due().is_some_and(|due| due <= now) {
            self.strike_now();
        }
        while let Some(entry) = self.timed.first_entry()
            && entry.key().0 <= now
        {
            match entry.remove() {
                Timed::Cancel(id) => {
                    let time = self.now();
                    self.engine.cancel(id, None, time, &mut events);
                    self.dirty = true;
                }
                Timed::Status(status) => {
                    self.status = status;
                    self.notices.push(Notice::Status);
                }
                Timed::Accept => self.refusing = None,
            }
        }
        self.release_held(now);
        events
    }

    pub(super) fn release_held(&mut self, now: Instant) {
        for connected in self.connections.values_mut() {
            if let Some((_, text)) = connected.held.take_if(|(due, _)| *due <= now) {
                connected.peer.push(Outgoing::Text(text), Duration::ZERO);
            }
        }
    }

    pub(in crate::venue) fn next_due(&self) -> Option<Instant> {
        let held = self.connections.values().filter_map(|connected| connected.held.as_ref());
        let release = held.map(|(due, _)| *due).min();
        let timed = self.timed.first_key_value().map(|((due, _), _)| *due);
        let fault = self.faults.next_due().filter(|due| *due > Instant::now());
        [timed, fault, release].into_iter().flatten().min()
    }

    pub(super) fn at(&mut self, delay: Duration, timed: Timed) {
        self.timed_sequence += 1;
        self.timed.insert((Instant::now() + delay, self.timed_sequence), timed);
        self.rescheduled = true;
    }

    pub(super) fn origin(
        &self,
        from: Option<ConnectionId>,
    ) -> Option<(ConnectionId, ConnectionKind)> {
        from.and_then(|id| self.kind(id).map(|kind| (id, kind)))
    }

    pub(super) fn disturb_origin(&mut self, from: Option<ConnectionId>, actions: &[FaultAction]) {
        for action in actions {
            match from {
                Some(connection) => self.disturb(connection, action),
                None => self.venue_wide(action),
            }
        }
    }

    /// Does to a connection what a fault says.
    pub(in crate::venue) fn disturb(&mut self, connection: ConnectionId, action: &FaultAction) {
        let millis = |ms: &Option<u64>| ms.map(Duration::from_millis);
        let disturbance = match action {
            FaultAction::Drop { how } => Disturbance::Drop(*how),
            FaultAction::StopReading { for_ms } => Disturbance::StopReading(millis(for_ms)),
            FaultAction::GoSilent { for_ms } => Disturbance::GoSilent(millis(for_ms)),
            FaultAction::SendBinary => Disturbance::Binary,
            FaultAction::SendInvalidUtf8 => Disturbance::InvalidUtf8,
            FaultAction::SendOversized { bytes } => Disturbance::Oversized(*bytes),
            FaultAction::SendTruncated => Disturbance::Truncated,
            FaultAction::RefuseClose => Disturbance::RefuseClose,
            FaultAction::SendGarbage { text } => {
                let text = text.clone().unwrap_or_else(|| "\u{fffd}{garbage]".to_owned());
                return self.send(connection, text);
            }
            FaultAction::SendUnknownEvent => {
                return self.send(connection, self.unknown_event.clone());
            }
            FaultAction::Close { code, reason } => return self.close(connection, *code, reason),
            FaultAction::ServerShutdown => {
                let connection = Some(connection);
                return self.notices.push(Notice::ServerShutdown { connection });
            }
            other => return self.venue_wide(other),
        };
        if let Some(connected) = self.connections.get(&connection) {
            connected.peer.push(Outgoing::Disturb(disturbance), Duration::ZERO);
        }
    }

    pub(super) fn venue_wide(&mut self, action: &FaultAction) {
        match action {
            FaultAction::RefuseConnections { how, for_ms } => {
                self.refusing = Some(*how);
                if let Some(ms) = for_ms {
                    self.at(Duration::from_millis(*ms), Timed::Accept);
                }
            }
            FaultAction::Status { status, for_ms } => {
                self.status = *status;
                self.notices.push(Notice::Status);
                if let Some(ms) = for_ms {
                    let online = Timed::Status(SystemStatus::Online);
                    self.at(Duration::from_millis(*ms), online);
                }
            }
            _ => {}
        }
    }
}

/// Whether one of the actions ends the conversation, so that nothing more may be said.
pub(super) fn cuts_off(actions: &[FaultAction]) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, FaultAction::Drop { .. } | FaultAction::SendTruncated))
}
