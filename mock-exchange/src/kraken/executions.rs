//! Reports of the `executions` channel.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;

use super::ids;
use super::number::Number;
use super::rest_messages::{kind_text, side_text};
use super::time::micros;
use crate::engine::{Fill, Order, TimeInForce};

/// What a report is about.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Validated, not yet live.
    PendingNew,
    /// Live.
    New,
    /// A fill, the last one too.
    Trade(Fill),
    /// Complete; the fills were reported before.
    Filled,
    /// Taken off the book, with the venue's reason.
    Canceled { reason: &'static str },
    /// Its time was over, or the rest of an immediate order.
    Expired,
    /// Price or quantity changed in place.
    Amended,
    /// An open order in the snapshot.
    Snapshot,
}

#[derive(Serialize)]
struct Fee<'a> {
    asset: &'a str,
    qty: Number,
}

/// One element of an `executions` message.
#[derive(Serialize, Default)]
#[serde(bound = "")]
pub(crate) struct Report<'a> {
    order_id: String,
    exec_type: &'static str,
    order_status: &'static str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_userref: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cl_ord_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_qty: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_price: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_price_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_in_force: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cum_qty: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cum_cost: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avg_price: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exec_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trade_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_qty: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_price: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    liquidity_ind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fees: Option<[Fee<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee_usd_equiv: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratecount: Option<Number>,
}

/// How much the reports say.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Detail {
    /// Every report names symbol, side, type, quantity, price and filled quantity. The venue's
    /// follow-up reports do not, which clients that file orders by symbol cannot use.
    pub(crate) full: bool,
    /// The rate counter, for subscriptions that asked for it.
    pub(crate) rate_count: Option<Decimal>,
}

/// Builds the report of one event.
pub(crate) fn report<'a>(
    order: &'a Order,
    event: &'a Event,
    at: Timestamp,
    detail: Detail,
) -> Report<'a> {
    let (exec_type, order_status) = match event {
        Event::PendingNew => ("pending_new", "pending_new"),
        Event::New => ("new", "new"),
        // The venue says so even for the fill that completes the order.
        Event::Trade(_) => ("trade", "partially_filled"),
        Event::Filled => ("filled", "filled"),
        Event::Canceled { .. } => ("canceled", "canceled"),
        Event::Expired => ("expired", "expired"),
        Event::Amended if order.filled.is_zero() => ("amended", "new"),
        Event::Amended => ("amended", "partially_filled"),
        Event::Snapshot if order.filled.is_zero() => ("new", "new"),
        Event::Snapshot => ("status", "partially_filled"),
    };
    let mut report = Report {
        order_id: ids::order_id(order.id),
        exec_type,
        order_status,
        timestamp: micros(at),
        order_userref: order.user_reference,
        ratecount: detail.rate_count.map(Number),
        ..Report::default()
    };
    match event {
        Event::PendingNew | Event::Snapshot => describe(&mut report, order),
        Event::New => {}
        Event::Trade(fill) => add_fill(&mut report, order, fill),
        Event::Filled => add_totals(&mut report, order),
        Event::Canceled { reason } => {
            add_totals(&mut report, order);
            report.cl_ord_id = client_id(order);
            report.reason = Some(reason);
        }
        Event::Expired => {
            add_totals(&mut report, order);
            report.cl_ord_id = client_id(order);
        }
        Event::Amended => {
            report.order_qty = Some(Number(order.quantity));
            report.limit_price = order.price.map(Number);
        }
    }
    if detail.full {
        describe(&mut report, order);
        add_totals(&mut report, order);
    }
    report
}

/// The client's id, if it gave one.
pub(crate) fn client_id(order: &Order) -> Option<&str> {
    (!order.client_id.is_empty()).then_some(&*order.client_id)
}

/// Upper case, as reports have it.
pub(crate) fn time_in_force_text(time_in_force: TimeInForce) -> &'static str {
    match time_in_force {
        TimeInForce::Gtc => "GTC",
        TimeInForce::Ioc => "IOC",
        TimeInForce::Fok => "FOK",
    }
}

fn describe<'a>(report: &mut Report<'a>, order: &'a Order) {
    report.cl_ord_id = client_id(order);
    report.symbol = Some(&order.symbol);
    report.side = Some(side_text(order.side));
    report.order_type = Some(kind_text(order.kind));
    report.order_qty = Some(Number(order.quantity));
    report.limit_price = order.price.map(Number);
    report.limit_price_type = order.price.map(|_| "static");
    report.time_in_force = Some(time_in_force_text(order.time_in_force));
    report.post_only = order.post_only.then_some(true);
    report.cum_cost = Some(Number(order.filled_quote));
    // The first report of an order has no filled quantity yet.
    if !order.filled.is_zero() {
        add_totals(report, order);
    }
}

fn add_totals(report: &mut Report<'_>, order: &Order) {
    let average = order.average_price().unwrap_or_default().round_dp(10).normalize();
    report.cum_qty = Some(Number(order.filled));
    report.cum_cost = Some(Number(order.filled_quote));
    report.avg_price = Some(Number(average));
}

fn add_fill<'a>(report: &mut Report<'a>, order: &'a Order, fill: &'a Fill) {
    add_totals(report, order);
    report.cl_ord_id = client_id(order);
    report.symbol = Some(&order.symbol);
    report.side = Some(side_text(order.side));
    report.order_type = Some(kind_text(order.kind));
    report.exec_id = Some(ids::execution_id(fill.trade_id));
    report.trade_id = Some(fill.trade_id);
    report.last_qty = Some(Number(fill.quantity));
    report.last_price = Some(Number(fill.price));
    report.cost = Some(Number((fill.quantity * fill.price).normalize()));
    report.liquidity_ind = Some(if fill.maker { "m" } else { "t" });
    report.fees = Some([Fee { asset: &fill.fee_asset, qty: Number(fill.fee) }]);
    report.fee_usd_equiv = Some(Number(fill.fee));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::engine::{OrderKind, OrderStatus, Side};
    use crate::kraken::messages::{Kind, channel_data};

    type Fields = BTreeMap<String, Value>;

    fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).expect("decimal")
    }

    fn at(microsecond: i64) -> Timestamp {
        Timestamp::from_microsecond(1_695_378_785_000_000 + microsecond).expect("time")
    }

    fn order() -> Order {
        Order {
            id: 1,
            client_id: "".into(),
            user_reference: Some(3),
            instrument: 0,
            symbol: "BTC/USD".into(),
            side: Side::Sell,
            kind: OrderKind::Limit,
            time_in_force: TimeInForce::Gtc,
            post_only: false,
            reduce_only: false,
            price: Some(decimal("26500.0")),
            quantity: decimal("0.005"),
            quote_quantity: Decimal::ZERO,
            filled: Decimal::ZERO,
            filled_quote: Decimal::ZERO,
            status: OrderStatus::New,
            locked: Decimal::ZERO,
            created: at(0),
            updated: at(0),
        }
    }

    fn fields(order: &Order, event: &Event, microsecond: i64, detail: Detail) -> Fields {
        let at = Timestamp::from_microsecond(1_695_378_785_000_000 + microsecond).expect("time");
        let message =
            channel_data("executions", Kind::Update, [report(order, event, at, detail)], Some(8));
        first_element(&message)
    }

    fn first_element(message: &str) -> Fields {
        let mut message: Value = serde_json::from_str(message).expect("json");
        serde_json::from_value(message["data"][0].take()).expect("object")
    }

    /// Every field that is ours and recorded has the recorded value.
    fn agrees_with(ours: &Fields, recording: &str, needed: &[&str]) {
        let recorded = first_element(recording);
        // Ids are the mock's own, and the recording wrote whole numbers as `0.0`; only the value counts.
        let plain = |value: &Value| value.as_f64().map_or(value.clone(), |n| json!(n));
        for (key, value) in ours.iter().filter(|(key, _)| !key.ends_with("_id")) {
            assert_eq!(recorded.get(key).map(plain), Some(plain(value)), "{key}");
        }
        for key in needed {
            assert!(ours.contains_key(*key), "{key} is missing");
        }
    }

    #[test]
    fn the_reports_of_an_order_have_the_recorded_shapes() {
        let mut order = order();
        let pending = fields(&order, &Event::PendingNew, 709_950, Detail::default());
        agrees_with(
            &pending,
            include_str!("testdata/executions_pending_new.json"),
            &["symbol", "side", "order_qty", "limit_price", "time_in_force", "cum_cost"],
        );
        let new = fields(&order, &Event::New, 709_982, Detail::default());
        agrees_with(&new, include_str!("testdata/executions_new.json"), &["order_id", "timestamp"]);
        assert!(!new.contains_key("symbol"), "follow-up reports are deltas");

        order.filled = decimal("0.005");
        order.filled_quote = decimal("132.9995");
        let fill = Event::Trade(Fill {
            trade_id: 62_887_576,
            order_id: 1,
            client_id: "".into(),
            instrument: 0,
            side: Side::Sell,
            price: decimal("26599.9"),
            quantity: decimal("0.005"),
            fee: decimal("0.3458"),
            fee_asset: "USD".into(),
            sequence: 1,
            profit: Decimal::ZERO,
            maker: false,
            time: at(709_993),
        });
        let trade = fields(&order, &fill, 709_993, Detail::default());
        agrees_with(
            &trade,
            include_str!("testdata/executions_trade_full_qty_but_partially_filled.json"),
            &[
                "exec_id",
                "trade_id",
                "last_qty",
                "last_price",
                "cost",
                "fees",
                "cum_qty",
                "avg_price",
            ],
        );
    }

    #[test]
    fn full_reports_name_the_order_in_every_report() {
        let order = order();
        let reason = "User requested";
        for event in [Event::New, Event::Filled, Event::Canceled { reason }, Event::Amended] {
            let detail = Detail { full: true, rate_count: None };
            let report = fields(&order, &event, 0, detail);
            for key in ["symbol", "side", "order_type", "order_qty", "limit_price", "cum_qty"] {
                assert!(report.contains_key(key), "{key} is missing in {event:?}");
            }
        }
    }
}
