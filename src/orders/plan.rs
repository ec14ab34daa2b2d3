//! What the cancels of a shutdown would be: the same decisions as the book's, about orders that go
//! on.

use super::limiter::{CancelRequests, least_wait};
use crate::exchange::{MassCancel, OrderLimits};
use crate::report::{CancelWay, ExchangePlan, PlannedOrder};
use crate::types::{ExchangeName, OnShutdown, Order, OrderStatus};

/// What an exchange offers for cancels.
pub(crate) struct CancelMeans<'a> {
    /// The requests that may be used to cancel everything in a scope.
    pub(crate) mass: MassCancel,
    /// How many cancels a message may hold.
    pub(crate) batch: usize,
    /// The limits that are kept.
    pub(crate) limits: &'a OrderLimits,
}

/// What becomes of these orders, of those that have not ended and were written.
pub(crate) fn plan<'a>(
    exchange: ExchangeName,
    orders: impl Iterator<Item = &'a Order>,
    means: &CancelMeans<'_>,
) -> ExchangePlan {
    let mut plan = ExchangePlan {
        exchange,
        drained: false,
        cancel: Vec::new(),
        unknown: Vec::new(),
        keep: Vec::new(),
        way: CancelWay::None,
        requests: 0,
        paced_ms: 0,
        positions: Vec::new(),
        connections: 0,
    };
    for order in orders {
        let list = match (order.status, order.request.on_shutdown) {
            (OrderStatus::Pending, _) => continue,
            (status, _) if status.is_terminal() => continue,
            (_, OnShutdown::Keep) => &mut plan.keep,
            (OrderStatus::Open | OrderStatus::PartiallyFilled, _) => &mut plan.cancel,
            _ => &mut plan.unknown,
        };
        list.push(PlannedOrder::from(order));
    }
    let mut requests = CancelRequests::default();
    for order in plan.cancel.iter().chain(&plan.unknown) {
        *requests.single.entry(order.instrument).or_default() += 1;
    }
    // A request that cancels everything would cancel those as well.
    if plan.keep.is_empty() {
        gather(&mut requests, means.mass);
    }
    let single: u32 = requests.single.values().sum();
    let batch = u32::try_from(means.batch.max(1)).unwrap_or(u32::MAX);
    plan.requests = requests.mass + single.div_ceil(batch);
    plan.way = match (requests.mass, single) {
        (0, 0) => CancelWay::None,
        (0, 2..) if batch > 1 => CancelWay::Batch,
        (0, _) => CancelWay::Single,
        _ => CancelWay::Mass,
    };
    let paced = least_wait(means.limits, &requests);
    plan.paced_ms = u64::try_from(paced.as_millis()).unwrap_or(u64::MAX);
    plan
}

/// One request for each scope in which several orders are.
fn gather(requests: &mut CancelRequests, mass: MassCancel) {
    if mass.account {
        if requests.single.values().sum::<u32>() > 1 {
            requests.single.clear();
            requests.mass = 1;
        }
    } else if mass.instrument {
        let all = requests.single.len();
        requests.single.retain(|_, count| *count == 1);
        requests.mass = u32::try_from(all - requests.single.len()).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::exchange::{CancelWeight, LimitScope, OrderLimit, RateRule};
    use crate::types::{Instrument, NewOrder, Quantity, Side, Timestamp};

    fn order(id: &str, at: &str, status: OrderStatus) -> Order {
        let instrument: Instrument = at.parse().unwrap();
        let (price, quantity) = ("5".parse().unwrap(), "3".parse().unwrap());
        Order {
            client_id: id.parse().unwrap(),
            exchange_id: None,
            request: NewOrder::limit(instrument, Side::Buy, price, quantity),
            status,
            filled: "1".parse().unwrap(),
            booked: Quantity::ZERO,
            reason: None,
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        }
    }

    fn open(count: usize, at: &str) -> Vec<Order> {
        (0..count).map(|i| order(&format!("gw{i}"), at, OrderStatus::PartiallyFilled)).collect()
    }

    fn planned(orders: &[Order], mass: MassCancel, batch: usize) -> ExchangePlan {
        let exchange = ExchangeName::new("kraken").unwrap();
        let limits = vec![OrderLimit {
            name: "weight",
            rule: RateRule::Bucket { burst: 3, refill: Duration::from_millis(100) },
            scope: LimitScope::Account,
            order: 1,
            cancel: CancelWeight::Waits(1),
            question: 0,
            fills: 0,
        }];
        plan(exchange, orders.iter(), &CancelMeans { mass, batch, limits: &limits })
    }

    const A: &str = "kraken:A-USD";
    const B: &str = "kraken:B-USD";
    const ACCOUNT: MassCancel = MassCancel { account: true, instrument: false };
    const INSTRUMENT: MassCancel = MassCancel { account: false, instrument: true };

    #[test]
    fn orders_are_sorted_by_what_becomes_of_them() {
        let mut kept = order("gw1", A, OrderStatus::Open);
        kept.request.on_shutdown = OnShutdown::Keep;
        let orders = [
            kept,
            order("gw2", A, OrderStatus::PartiallyFilled),
            order("gw3", A, OrderStatus::OutcomeUnknown),
            order("gw4", A, OrderStatus::Sent),
            order("gw5", A, OrderStatus::Pending),
            order("gw6", A, OrderStatus::Filled),
        ];
        let plan = planned(&orders, ACCOUNT, 1);
        let ids = |list: &[PlannedOrder]| -> Vec<String> {
            list.iter().map(|order| order.client_id.to_string()).collect()
        };
        assert_eq!(ids(&plan.keep), ["gw1"]);
        assert_eq!(ids(&plan.cancel), ["gw2"]);
        assert_eq!(ids(&plan.unknown), ["gw3", "gw4"]);
        assert_eq!(plan.cancel[0].remaining, "2".parse().unwrap());
        assert_eq!((plan.way, plan.requests), (CancelWay::Single, 3), "one is kept");
    }

    #[test]
    fn the_way_is_the_one_with_the_fewest_messages_that_is_allowed() {
        let both: Vec<_> = open(4, A).into_iter().chain(open(1, B)).collect();
        let of = |mass, batch| {
            let plan = planned(&both, mass, batch);
            (plan.way, plan.requests, plan.paced_ms)
        };
        assert_eq!(of(ACCOUNT, 50), (CancelWay::Mass, 1, 0));
        assert_eq!(of(INSTRUMENT, 1), (CancelWay::Mass, 2, 0));
        assert_eq!(of(MassCancel::NONE, 3), (CancelWay::Batch, 2, 200));
        assert_eq!(of(MassCancel::NONE, 1), (CancelWay::Single, 5, 200));
        assert_eq!(planned(&open(1, A), ACCOUNT, 50).way, CancelWay::Single);
        assert_eq!(planned(&[], ACCOUNT, 50).way, CancelWay::None);
    }
}
