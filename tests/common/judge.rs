//! Judges a gateway's report by the mock's ledger: the invariants that hold whatever went wrong.

use std::collections::{BTreeMap, BTreeSet};

use exchange_gateway::shutdown::{OrderFate, OrderReport};
use exchange_gateway::types::{Fill, Order};
use exchange_gateway::{OrderUpdates, ShutdownReport};
use mock_exchange::{ExchangeLedger, Ledger, OrderKind, OrderStatus, TimeInForce};
use rust_decimal::Decimal;

/// Whether a request places an order.
pub fn places(method: &str) -> bool {
    matches!(method, "order.place" | "add_order")
}

/// Whether a request cancels an order, or several.
pub fn cancels(method: &str) -> bool {
    matches!(method, "order.cancel" | "cancel_order" | "batch_cancel" | "private/cancel")
        || cancels_all(method)
}

/// Whether a request cancels every order of the account or of an instrument.
pub fn cancels_all(method: &str) -> bool {
    let names = ["openOrders.cancelAll", "cancel_all", "private/cancel_all"];
    names.contains(&method) || method == "private/cancel_all_by_instrument"
}

/// Every order open at an exchange is named in the report as left or kept; every order that the
/// report calls closed is closed, with the same quantity filled; no order was written twice.
pub fn judge(report: &ShutdownReport, ledger: &Ledger) {
    for exchange in &report.exchanges {
        let name = exchange.exchange;
        let witness = ledger.exchange(name.as_str());
        for open in &witness.open_orders {
            let named = exchange.orders.iter().find(|o| o.client_id.as_str() == open.client_id);
            let named =
                named.unwrap_or_else(|| panic!("{name}: open and not in the report: {open:?}"));
            let as_open = named.fate.is_left() || named.fate == OrderFate::Kept;
            assert!(as_open, "{name}: {open:?} is open and reported as {named:?}");
        }
        for order in &exchange.orders {
            judge_order(order, witness);
        }
        written_once(witness);
    }
}

fn judge_order(order: &OrderReport, witness: &ExchangeLedger) {
    let Some(seen) = witness.order(order.client_id.as_str()) else {
        let never_open =
            matches!(order.fate, OrderFate::NotSent | OrderFate::Rejected | OrderFate::Unknown);
        assert!(never_open, "the exchange never saw {order:?}");
        return;
    };
    let expected = match order.fate {
        OrderFate::Canceled => OrderStatus::Canceled,
        OrderFate::FilledDuringCancel | OrderFate::Filled => OrderStatus::Filled,
        OrderFate::Rejected => OrderStatus::Rejected,
        OrderFate::Expired => OrderStatus::Expired,
        OrderFate::NotSent => panic!("the exchange saw {order:?}: {seen:?}"),
        OrderFate::Kept | OrderFate::StillOpen | OrderFate::Unknown => {
            assert!(order.reason.is_some() || order.fate == OrderFate::Kept, "{order:?}");
            return;
        }
    };
    // What is left of an order that takes or ends is expired in the ledger, and cancelled in the
    // words of some exchanges.
    let at_once = seen.time_in_force == TimeInForce::Ioc || seen.kind == OrderKind::Market;
    let ended = at_once && seen.status == OrderStatus::Expired;
    if !(ended && order.fate == OrderFate::Canceled) {
        assert_eq!(seen.status, expected, "{order:?}");
    }
    assert_eq!(order.filled.0, seen.filled, "{order:?}");
}

/// No client id was placed twice.
pub fn written_once(witness: &ExchangeLedger) {
    let mut seen = BTreeSet::new();
    for request in witness.requests.iter().filter(|request| places(&request.method)) {
        let id = request.client_id.as_ref().expect("orders carry ids");
        assert!(seen.insert(id), "{id} was written twice");
    }
}

/// What the updates told of one order.
#[derive(Default)]
pub struct Told {
    pub last: Option<Order>,
    pub fills: Vec<Fill>,
}

/// Reads the updates of an ended gateway to their end.
pub async fn told(mut updates: OrderUpdates) -> BTreeMap<String, Told> {
    let mut all: BTreeMap<String, Told> = BTreeMap::new();
    while let Some(update) = super::within(updates.next()).await {
        let told = all.entry(update.order.client_id.to_string()).or_default();
        told.last = Some(update.order.clone());
        told.fills.extend(update.fill.clone());
    }
    all
}

/// Each fill was told at most once and is one of the exchange's; the quantity told last is the
/// exchange's for every order that both call ended.
pub fn judge_fills(told: &BTreeMap<String, Told>, witness: &ExchangeLedger) {
    for seen in &witness.orders {
        let Some(told) = told.get(&seen.client_id) else { continue };
        let ids: BTreeSet<_> = told.fills.iter().map(|fill| &fill.fill_id).collect();
        assert_eq!(ids.len(), told.fills.len(), "told twice: {:?}", told.fills);
        let mut real: Vec<_> =
            witness.fills.iter().filter(|f| f.client_id == seen.client_id).collect();
        for fill in &told.fills {
            let at =
                real.iter().position(|f| (f.quantity, f.price) == (fill.quantity.0, fill.price.0));
            let at = at.unwrap_or_else(|| panic!("{fill:?} is no fill of {seen:?}"));
            real.swap_remove(at);
        }
        let last = told.last.as_ref().expect("an order is told before its fills");
        if last.status.is_terminal() {
            assert!(!seen.status.is_open(), "{last:?} is {seen:?}");
            assert_eq!(last.filled.0, seen.filled, "{last:?} is {seen:?}");
        }
    }
}

/// Every fill of the exchange was told.
pub fn all_fills_told(told: &BTreeMap<String, Told>, witness: &ExchangeLedger) {
    for seen in &witness.orders {
        let fills = told.get(&seen.client_id).map(|told| &told.fills);
        let sum: Decimal = fills.into_iter().flatten().map(|fill| fill.quantity.0).sum();
        assert_eq!(sum, seen.filled, "{seen:?}");
    }
}
