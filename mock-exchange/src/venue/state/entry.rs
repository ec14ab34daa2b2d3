//! Orders and cancels on their way to the engine, as the faults have it.

use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::time::Instant;

use super::trouble::cuts_off;
use super::{Ack, CancelAnswer, CancelResult, Placed, Timed, VenueState, bounded_push};
use crate::engine::{EngineEvent, NewOrder, Order, OrderId, Reject};
use crate::faults::{FaultAction, Occasion, When};
use crate::ledger::{CancelOutcome, CancelRecord, RequestRecord};
use crate::protocol::ConnectionId;

impl VenueState {
    /// Notes an order-entry request before it is processed.
    pub(crate) fn log_request(
        &mut self,
        connection: Option<ConnectionId>,
        method: &str,
        client_id: Option<&str>,
    ) {
        let record = RequestRecord {
            time: self.now(),
            method: method.to_owned(),
            client_id: client_id.map(str::to_owned),
            connection,
        };
        bounded_push(&mut self.requests, record);
        self.dirty = true;
    }

    /// Sets a dead man's switch, as the faults have it: how to answer, or the text of a refusal.
    pub(crate) fn set_switch(&mut self, from: Option<ConnectionId>) -> Result<Ack, String> {
        let occasion = Occasion { connection: self.origin(from), order: None };
        let (mut ack, mut after) = (Ack::Send, Vec::new());
        for action in self.faults.strike(When::Switch, occasion, Instant::now()) {
            match action {
                FaultAction::RefuseSwitch { text } => return Err(text),
                FaultAction::LoseSwitchAck => ack = Ack::Lose,
                other => after.push(other),
            }
        }
        self.disturb_origin(from, &after);
        Ok(ack)
    }

    /// Places an order, as the faults have it. Answer first, then publish the events.
    pub(crate) fn place(&mut self, from: Option<ConnectionId>, order: NewOrder) -> Placed {
        self.placed += 1;
        self.dirty = true;
        let symbol = self.instruments[order.instrument].symbol.clone();
        let client_id = order.client_id.clone();
        let occasion = Occasion {
            connection: self.origin(from),
            order: Some((&client_id, &symbol, self.placed)),
        };
        let mut ack = Ack::Send;
        let mut refused = None;
        let mut after = Vec::new();
        for action in self.faults.strike(When::Place, occasion, Instant::now()) {
            match action {
                FaultAction::DelayAck { ms } => ack = Ack::Delay(Duration::from_millis(ms)),
                FaultAction::LoseAck => ack = Ack::Lose,
                FaultAction::Reject { code, text } => refused = Some(Reject::Fault { code, text }),
                other => after.push(other),
            }
        }
        let mut events = Vec::new();
        let now = self.now();
        let outcome = match refused {
            Some(reject) => Err(reject),
            None => self.engine.place(order, now, &mut events),
        };
        let outcome =
            outcome.and_then(|id| self.engine.order(id).cloned().ok_or(Reject::DuplicateClientId));
        self.disturb_origin(from, &after);
        if ack == Ack::Send && cuts_off(&after) {
            ack = Ack::Lose;
        }
        Placed { outcome, ack, events }
    }

    /// Cancels an order, as the faults have it. `named` is what the request called it, for the
    /// log; `cancel_id` the client's own id of the cancel. Answer first, then publish the events.
    pub(crate) fn cancel(
        &mut self,
        from: Option<ConnectionId>,
        id: Option<OrderId>,
        named: &str,
        cancel_id: Option<Arc<str>>,
    ) -> CancelResult {
        self.dirty = true;
        let now = self.now();
        let known = id.and_then(|id| self.engine.order(id)).cloned();
        let occasion = Occasion {
            connection: self.origin(from),
            order: known.as_ref().map(|order| (&*order.client_id, &*order.symbol, order.id)),
        };
        let name = known.as_ref().map_or(named, |order| &order.client_id).to_owned();
        let mut ack = Ack::Send;
        let mut events = Vec::new();
        let mut ignored = None;
        let mut refused = None;
        let mut after = Vec::new();
        let open = known.as_ref().is_some_and(|order| order.status.is_open());
        for action in self.faults.strike(When::Cancel, occasion, Instant::now()) {
            match action {
                FaultAction::LoseCancelAck => ack = Ack::Lose,
                FaultAction::DelayCancelAck { ms } => ack = Ack::Delay(Duration::from_millis(ms)),
                FaultAction::FillDuringCancel { quantity } => {
                    if let Some(order) = &known {
                        self.engine.fill(order.id, quantity, now, &mut events);
                    }
                }
                FaultAction::IgnoreCancel { ack: answered, for_ms } => {
                    ignored = Some(for_ms);
                    if !answered {
                        ack = Ack::Lose;
                    }
                }
                FaultAction::RejectCancel { code, text } => {
                    refused = Some(CancelAnswer::Refused { code, text });
                }
                other => after.push(other),
            }
        }
        let (answer, outcome) = if let Some(refusal) = refused {
            (refusal, CancelOutcome::Refused)
        } else if let (Some(for_ms), Some(order), true) = (ignored, known.clone(), open) {
            if let Some(ms) = for_ms {
                self.at(Duration::from_millis(ms), Timed::Cancel(order.id));
            }
            let shown = Order { status: crate::engine::OrderStatus::Canceled, ..order };
            (CancelAnswer::Canceled(shown), CancelOutcome::Ignored)
        } else if let Some(order) =
            known.filter(|order| self.engine.cancel(order.id, cancel_id, now, &mut events))
        {
            let after = self.engine.order(order.id).cloned().unwrap_or(order);
            (CancelAnswer::Canceled(after), CancelOutcome::Canceled)
        } else {
            (CancelAnswer::NotOpen, CancelOutcome::NotOpen)
        };
        bounded_push(&mut self.cancels, CancelRecord { order: name, when: now, outcome });
        self.disturb_origin(from, &after);
        if ack == Ack::Send && cuts_off(&after) {
            ack = Ack::Lose;
        }
        CancelResult { outcome: answer, ack, events }
    }

    /// Changes an open order in place; false when it is not open. Publish the events after the
    /// answer.
    pub(crate) fn amend(
        &mut self,
        id: OrderId,
        quantity: Decimal,
        price: Decimal,
        events: &mut Vec<EngineEvent>,
    ) -> Result<bool, Reject> {
        self.dirty = true;
        let now = self.now();
        self.engine.amend(id, quantity, price, now, events)
    }

    pub(in crate::venue) fn cancels(&self) -> Vec<CancelRecord> {
        self.cancels.iter().cloned().collect()
    }

    pub(in crate::venue) fn requests(&self) -> Vec<RequestRecord> {
        self.requests.iter().cloned().collect()
    }
}
