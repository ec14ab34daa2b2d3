//! The desk for the phase that closes positions: the gate is closed, and only the holder of the
//! [`ClosingPass`] may still place orders, until it gives the pass back or the phase is over.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::{Desk, OrderError};
use crate::report::Phase;
use crate::types::{
    ClientOrderId, Instrument, InstrumentSpec, NewOrder, Order, Price, Quantity, Side,
};

/// The right to place orders that close positions. There is one for each exchange. Dropping it ends
/// the right: what was not written by then never is.
pub(crate) struct ClosingPass {
    desk: Arc<Desk>,
}

impl ClosingPass {
    /// Places an order that closes a position; see [`Desk::submit`]. It goes ahead of others, as
    /// one that is reduce-only does.
    pub(crate) fn submit(&self, request: NewOrder) -> Result<ClientOrderId, OrderError> {
        let permit = self.desk.gate.enter_closing();
        let permit = permit.map_err(|phase| OrderError::Stopping { phase })?;
        self.desk.place(request, permit).map(|(id, _)| id)
    }
}

impl Drop for ClosingPass {
    fn drop(&mut self) {
        self.desk.gate.end_closing();
        for id in self.desk.lane.take_new() {
            self.desk.not_sent(id, "the phase that closes positions was over");
        }
        self.desk.changed.notify_waiters();
    }
}

impl Desk {
    /// The pass, as soon as nobody else has it; the phase, if that is not the one to close positions
    /// in. Cancel safe.
    pub(crate) async fn closing_pass(self: &Arc<Self>) -> Result<ClosingPass, Phase> {
        loop {
            let changed = self.changed.notified();
            if self.gate.begin_closing()? {
                return Ok(ClosingPass { desk: Arc::clone(self) });
            }
            changed.await;
        }
    }

    /// Whether every order that is to be cancelled has ended, with all its fills.
    pub(crate) fn is_flat(&self) -> bool {
        self.state().book.is_flat()
    }

    /// Whether the exchange has reduce-only orders.
    pub(crate) fn reduces_only(&self) -> bool {
        self.settings.no_reduce_only.is_none()
    }

    /// The exchange's rules for an instrument.
    pub(crate) fn spec(&self, instrument: Instrument) -> Option<Arc<InstrumentSpec>> {
        self.settings.symbols.spec(instrument).cloned()
    }

    /// An order that keeps the position in an instrument from being known: open or unknown and not
    /// kept on purpose, or ended with fills that were not told yet.
    pub(crate) fn unsettled(&self, instrument: Instrument) -> Option<Order> {
        self.state().book.unsettled(instrument).cloned()
    }

    /// What the open orders of one side may still trade.
    pub(crate) fn spoken_for(&self, instrument: Instrument, side: Side) -> Decimal {
        let state = self.state();
        let is_meant =
            |order: &&Order| order.instrument() == instrument && order.request.side == side;
        state.book.unfinished().filter(is_meant).map(|order| order.remaining().0).sum()
    }

    /// Waits until [`unsettled`](Self::unsettled) finds no order. Cancel safe.
    pub(crate) async fn settled(&self, instrument: Instrument) {
        loop {
            let changed = self.changed.notified();
            if self.unsettled(instrument).is_none() {
                return;
            }
            changed.await;
        }
    }

    /// What orders that close a position have traded.
    pub(crate) fn closing_trades(&self, ids: &[ClientOrderId]) -> Vec<(Price, Quantity)> {
        let state = self.state();
        let traded = ids.iter().filter_map(|id| state.book.entry(*id)?.closing.as_ref());
        traded.flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::SystemClock;
    use crate::config::RiskConfig;
    use crate::exchange::{DeadMansSwitch, MassCancel, SymbolTable};
    use crate::orders::{
        Command, DeskSettings, IdGenerator, Journal, Next, Patience, SwitchSettings,
    };
    use crate::positions::{DayProfit, Positions};
    use crate::risk::{Mark, Market, Risk};
    use crate::state::{Database, Durability, StateDirectory};
    use crate::types::{OrderStatus, Timestamp};

    struct Bench {
        desk: Arc<Desk>,
        _database: Database,
        _directory: tempfile::TempDir,
    }

    fn unlimited() -> Arc<Risk> {
        struct Nothing;
        impl Market for Nothing {
            fn last(&self, _: Instrument) -> Option<(Mark, Timestamp)> {
                None
            }

            fn day_profit(&self, _: &str, _: Timestamp) -> DayProfit {
                DayProfit::default()
            }
        }
        let positions = Arc::new(Positions::new([]));
        Arc::new(Risk::new(RiskConfig::default(), [], positions, Arc::new(Nothing), None, None))
    }

    /// A desk whose connection takes everything.
    fn bench() -> Bench {
        let temporary = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(temporary.path()).unwrap();
        let (database, _) = Database::open(&directory, Durability::Process).unwrap();
        let (second, one) = (Duration::from_secs(1), Quantity(1.into()));
        let spec = InstrumentSpec {
            instrument: order().instrument,
            symbol: "BTC/USD".into(),
            tick_size: one.0,
            lot_size: one.0,
            min_quantity: one,
            max_quantity: None,
            min_notional: None,
            tick_size_steps: Vec::new(),
            contract_size: None,
        };
        let desk = Desk::new(DeskSettings {
            exchange: "kraken".parse().unwrap(),
            trading: true,
            patience: Patience {
                acknowledgement: second,
                query: second,
                cancel: second,
                in_flight: second,
                closed_kept: 8,
            },
            queue: 8,
            limits: None,
            reserve_percent: 25,
            no_reduce_only: Some("it has none"),
            switch: SwitchSettings { kind: DeadMansSwitch::None, timeout: None },
            mass_cancel: MassCancel::NONE,
            symbols: Arc::new(SymbolTable::new([spec])),
            ids: Arc::new(IdGenerator::new("gw", Timestamp::UNIX_EPOCH, None)),
            journal: Journal::new(8),
            risk: unlimited(),
            writer: database.writer(),
            positions: Arc::new(Positions::new([])),
            clock: Arc::new(SystemClock),
        });
        desk.session_opened();
        desk.session_ready();
        Bench { desk: Arc::new(desk), _database: database, _directory: temporary }
    }

    fn order() -> NewOrder {
        let (price, quantity) = ("5".parse().unwrap(), "1".parse().unwrap());
        let instrument = "kraken:BTC-USD".parse().unwrap();
        NewOrder::limit(instrument, Side::Sell, price, quantity).immediate_or_cancel()
    }

    fn status(desk: &Desk, id: ClientOrderId) -> OrderStatus {
        desk.get(id).unwrap().status
    }

    #[tokio::test]
    async fn only_the_pass_places_orders_and_only_in_its_phase() {
        let Bench { desk, .. } = &bench();
        assert_eq!(desk.closing_pass().await.err(), Some(Phase::Running));
        desk.close_gate(Phase::CancelPending);
        assert_eq!(desk.closing_pass().await.err(), Some(Phase::CancelPending));
        desk.close_gate(Phase::ClosePositions);
        let pass = desk.closing_pass().await.ok().unwrap();
        assert!(matches!(desk.submit(order()), Err(OrderError::Stopping { .. })));
        let id = pass.submit(order()).unwrap();
        desk.command_waiting().await;
        let Next::Write(Command::Submit(written, permit), _) = desk.next_command() else {
            panic!("it is to be written")
        };
        assert_eq!((written, status(desk, id)), (id, OrderStatus::Sent));
        // A second one has to wait for the first.
        let mut second = Box::pin(desk.closing_pass());
        assert!(futures::poll!(second.as_mut()).is_pending());
        drop(pass);
        let second = tokio::time::timeout(Duration::from_secs(20), second).await;
        assert!(second.expect("it is given back").is_ok());
        // What is being written holds up the end of the phase.
        let mut drained = Box::pin(desk.gate_drained());
        assert!(futures::poll!(drained.as_mut()).is_pending());
        drop(permit);
        drained.await;
        assert_eq!(desk.unsettled(order().instrument).map(|order| order.client_id), Some(id));
    }

    #[tokio::test]
    async fn what_is_not_written_when_the_pass_ends_never_is() {
        // The pass ends before the intent is stored, after it, or with the phase.
        for (wait, by_phase) in [(false, false), (true, false), (true, true)] {
            let Bench { desk, .. } = &bench();
            desk.close_gate(Phase::ClosePositions);
            let pass = desk.closing_pass().await.ok().unwrap();
            let id = pass.submit(order()).unwrap();
            if wait {
                desk.command_waiting().await;
            }
            if by_phase {
                desk.close_gate(Phase::SaveState);
                assert!(matches!(pass.submit(order()), Err(OrderError::Stopping { .. })));
            } else {
                drop(pass);
            }
            while status(desk, id) == OrderStatus::Pending {
                assert!(matches!(desk.next_command(), Next::Nothing));
                tokio::task::yield_now().await;
            }
            assert_eq!(status(desk, id), OrderStatus::NotSent);
            desk.gate_drained().await;
            assert!(matches!(desk.next_command(), Next::Nothing));
            let reports = desk.order_reports();
            assert_eq!((reports.len(), reports[0].client_id), (1, id), "it is in the report");
        }
    }
}
