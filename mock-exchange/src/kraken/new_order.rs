//! What `add_order` and the elements of `batch_add` ask for.

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::request::Params;
use crate::engine::{Amount, OrderKind, Side, TimeInForce};

/// Longest free text that serves as a client's order id; UUIDs are longer and allowed.
const FREE_TEXT_ID_MAX: usize = 18;

/// A new order as asked for, checked as far as it can be without the market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewOrder {
    pub(crate) symbol: String,
    pub(crate) side: Side,
    pub(crate) kind: OrderKind,
    /// `None` for market orders.
    pub(crate) price: Option<Decimal>,
    pub(crate) amount: Amount,
    pub(crate) time_in_force: TimeInForce,
    pub(crate) post_only: bool,
    pub(crate) cl_ord_id: Option<String>,
    pub(crate) order_userref: Option<i64>,
    pub(crate) validate_only: bool,
}

impl NewOrder {
    /// Reads the parameters.
    ///
    /// # Errors
    ///
    /// The venue's error text.
    pub(crate) fn read(params: &Params, now: Timestamp) -> Result<Self, String> {
        let symbol = params.text("symbol").ok_or_else(|| invalid("symbol"))?;
        let side = match params.text("side").as_deref() {
            Some("buy") => Side::Buy,
            Some("sell") => Side::Sell,
            _ => return Err(invalid("side")),
        };
        let (kind, price) = match params.text("order_type").as_deref() {
            Some("limit") => (OrderKind::Limit, Some(limit_price(params)?)),
            Some("market") => (OrderKind::Market, None),
            _ => return Err(invalid("order_type")),
        };
        let amount = amount(params, kind, side)?;
        let post_only = params.boolean("post_only").unwrap_or(false);
        if post_only && kind == OrderKind::Market {
            return Err(invalid("post_only"));
        }
        if params.boolean("reduce_only").unwrap_or(false) {
            return Err("EOrder:Reduce only:No position exists".into());
        }
        check_deadline(params, now)?;
        let (cl_ord_id, order_userref) = client_ids(params)?;
        Ok(Self {
            symbol,
            side,
            kind,
            price,
            amount,
            time_in_force: time_in_force(params, post_only)?,
            post_only,
            cl_ord_id,
            order_userref,
            validate_only: params.boolean("validate").unwrap_or(false),
        })
    }
}

fn limit_price(params: &Params) -> Result<Decimal, String> {
    params
        .decimal("limit_price")
        .filter(|price| *price > Decimal::ZERO)
        .ok_or_else(|| invalid("price"))
}

fn amount(params: &Params, kind: OrderKind, side: Side) -> Result<Amount, String> {
    let positive = |key: &str| params.decimal(key).filter(|quantity| *quantity > Decimal::ZERO);
    if params.has("cash_order_qty") {
        if kind != OrderKind::Market || side != Side::Buy {
            return Err(invalid("cash_order_qty"));
        }
        return positive("cash_order_qty").map(Amount::Quote).ok_or_else(|| invalid("volume"));
    }
    positive("order_qty").map(Amount::Base).ok_or_else(|| invalid("volume"))
}

fn time_in_force(params: &Params, post_only: bool) -> Result<TimeInForce, String> {
    let text = params.text("time_in_force").map(|text| text.to_ascii_lowercase());
    match text.as_deref() {
        None | Some("gtc") => Ok(TimeInForce::Gtc),
        Some("ioc") if !post_only => Ok(TimeInForce::Ioc),
        _ => Err(invalid("timeinforce")),
    }
}

fn check_deadline(params: &Params, now: Timestamp) -> Result<(), String> {
    let Some(text) = params.text("deadline") else { return Ok(()) };
    let deadline: Timestamp = text.parse().map_err(|_| invalid("deadline"))?;
    if deadline <= now {
        return Err("EService:Deadline elapsed".into());
    }
    Ok(())
}

fn client_ids(params: &Params) -> Result<(Option<String>, Option<i64>), String> {
    let cl_ord_id = params.text("cl_ord_id");
    let order_userref = params.integer("order_userref");
    if params.has("order_userref") && order_userref.is_none() {
        return Err(invalid("order_userref"));
    }
    if cl_ord_id.is_some() && order_userref.is_some_and(|userref| userref != 0) {
        return Err(invalid("cl_ord_id and order_userref are mutually exclusive"));
    }
    if cl_ord_id.as_deref().is_some_and(|id| !is_client_id(id)) {
        return Err(invalid("cl_ord_id"));
    }
    Ok((cl_ord_id, order_userref))
}

/// A UUID with or without dashes, or up to 18 printable ASCII characters.
fn is_client_id(id: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match id.len() {
        0 => false,
        1..=FREE_TEXT_ID_MAX => id.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '),
        32 => is_hex(id),
        36 => {
            let groups: Vec<&str> = id.split('-').collect();
            let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
            lengths == [8, 4, 4, 4, 12] && groups.iter().all(|group| is_hex(group))
        }
        _ => false,
    }
}

fn invalid(detail: &str) -> String {
    format!("EGeneral:Invalid arguments:{detail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kraken::request::Request;

    fn now() -> Timestamp {
        Timestamp::from_second(1_777_975_200).expect("time")
    }

    fn read(changes: &str) -> Result<NewOrder, String> {
        let base = r#""order_type":"limit","side":"buy","order_qty":0.01,"symbol":"BTC/USD","limit_price":30000.0"#;
        // The last of a repeated key counts, so changes override.
        let params = Params::parse(&format!("{{{base}{changes}}}")).expect("params");
        NewOrder::read(&params, now())
    }

    #[test]
    fn the_recorded_post_only_order_is_read() {
        let request =
            Request::parse(include_str!("testdata/add_order_request_limit_post_only.json"))
                .expect("request");
        let order = NewOrder::read(&request.params, now()).expect("order");
        assert!(order.post_only);
        assert_eq!(order.time_in_force, TimeInForce::Gtc);
        assert_eq!(order.amount, Amount::Base(Decimal::new(1, 2)));
        assert_eq!(order.price, Some(Decimal::from(30000)));
    }

    #[test]
    fn both_cases_of_time_in_force_are_taken() {
        for (text, expected) in [
            ("ioc", TimeInForce::Ioc),
            ("IOC", TimeInForce::Ioc),
            ("gtc", TimeInForce::Gtc),
            ("GTC", TimeInForce::Gtc),
        ] {
            let order = read(&format!(r#","time_in_force":"{text}""#)).expect("order");
            assert_eq!(order.time_in_force, expected);
        }
    }

    #[test]
    fn what_the_venue_refuses_is_refused_with_its_text() {
        for (changes, error) in [
            (r#","order_qty":0"#, "EGeneral:Invalid arguments:volume"),
            (r#","limit_price":"x""#, "EGeneral:Invalid arguments:price"),
            (r#","side":"up""#, "EGeneral:Invalid arguments:side"),
            (r#","time_in_force":"fok""#, "EGeneral:Invalid arguments:timeinforce"),
            (
                r#","post_only":true,"time_in_force":"ioc""#,
                "EGeneral:Invalid arguments:timeinforce",
            ),
            (r#","order_type":"market","post_only":true"#, "EGeneral:Invalid arguments:post_only"),
            (r#","reduce_only":true"#, "EOrder:Reduce only:No position exists"),
            (r#","deadline":"2020-01-01T00:00:00.000Z""#, "EService:Deadline elapsed"),
            (r#","cl_ord_id":"this-id-is-far-too-long""#, "EGeneral:Invalid arguments:cl_ord_id"),
        ] {
            assert_eq!(read(changes), Err(error.to_owned()), "{changes}");
        }
    }

    #[test]
    fn client_ids_are_uuids_or_short_text() {
        for id in [
            "c-1",
            "O-20260505-000001",
            "6d1b345e-2821-40e2-ad83-4ecb18a06876",
            "6d1b345e282140e2ad834ecb18a06876",
        ] {
            assert!(is_client_id(id), "{id}");
        }
        for id in ["", "1234567890123456789", "6d1b345e-2821-40e2-ad83-4ecb18a0687x", "grün"] {
            assert!(!is_client_id(id), "{id}");
        }
    }
}
