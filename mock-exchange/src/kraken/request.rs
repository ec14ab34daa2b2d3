//! Requests of clients, read leniently.
//!
//! Clients write numbers as numbers or as strings, send parameters that the venue does not know
//! and leave `req_id` out. Values stay raw tokens until a handler asks for a type, so that no
//! decimal passes through `f64`.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::number::decimal_from_token;

/// One request of a client.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) params: Params,
    /// The request's id as it was sent; it is echoed with its value and JSON type.
    pub(crate) req_id: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Envelope {
    method: Option<Box<RawValue>>,
    params: Option<Box<RawValue>>,
    req_id: Option<Box<RawValue>>,
}

impl Request {
    /// Reads a text frame; `None` when it is no JSON object with a `method`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let envelope: Envelope = serde_json::from_str(text).ok()?;
        let method = text_from_token(envelope.method?.get())?;
        let params = match envelope.params {
            Some(params) => Params::parse(params.get())?,
            None => Params::default(),
        };
        let req_id = envelope.req_id.filter(|id| text_from_token(id.get()).is_some());
        Some(Self { method, params, req_id })
    }
}

/// The parameters of a request, or of one order in a batch.
#[derive(Debug, Default)]
pub(crate) struct Params(BTreeMap<String, Box<RawValue>>);

impl Params {
    /// Reads a JSON object; `null` counts as empty.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str::<Option<BTreeMap<String, Box<RawValue>>>>(text)
            .ok()
            .map(|params| Self(params.unwrap_or_default()))
    }

    fn token(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.get()).filter(|token| *token != "null")
    }

    /// Whether the parameter is there and not null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.token(key).is_some()
    }

    /// A string, or a number or boolean as text.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.token(key).and_then(text_from_token)
    }

    /// A decimal, written as number or string.
    pub(crate) fn decimal(&self, key: &str) -> Option<Decimal> {
        self.token(key).and_then(decimal_from_token)
    }

    /// An integer, written as number or string.
    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        let value = self.decimal(key)?;
        if value.fract().is_zero() { value.trunc().try_into().ok() } else { None }
    }

    /// A boolean, written as boolean, string or number.
    pub(crate) fn boolean(&self, key: &str) -> Option<bool> {
        match self.text(key)?.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }

    /// An array of texts; a single value counts as an array of one.
    pub(crate) fn texts(&self, key: &str) -> Option<Vec<String>> {
        let token = self.token(key)?;
        match serde_json::from_str::<Vec<Box<RawValue>>>(token) {
            Ok(values) => values.iter().map(|value| text_from_token(value.get())).collect(),
            Err(_) => text_from_token(token).map(|text| vec![text]),
        }
    }

    /// An array of objects.
    pub(crate) fn objects(&self, key: &str) -> Option<Vec<Params>> {
        let values: Vec<Box<RawValue>> = serde_json::from_str(self.token(key)?).ok()?;
        values.iter().map(|value| Self::parse(value.get())).collect()
    }

    /// Fills a parameter in that an outer object gives for all its parts.
    pub(crate) fn inherit(&mut self, outer: &Self, key: &str) {
        if let (false, Some(value)) = (self.has(key), outer.0.get(key)) {
            self.0.insert(key.to_owned(), value.clone());
        }
    }
}

fn text_from_token(token: &str) -> Option<String> {
    match token.as_bytes().first()? {
        b'"' => serde_json::from_str(token).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_order_request_keeps_its_digits_and_id() {
        let request =
            Request::parse(include_str!("testdata/add_order_request_limit_post_only.json"))
                .expect("request");
        assert_eq!(request.method, "add_order");
        assert_eq!(request.req_id.as_ref().map(|id| id.get()), Some("42"));
        assert_eq!(
            request.params.decimal("limit_price").map(|p| p.to_string()).as_deref(),
            Some("30000.0")
        );
        assert_eq!(request.params.boolean("post_only"), Some(true));
        assert_eq!(request.params.text("cl_ord_id").as_deref(), Some("O-20260505-000001"));
    }

    #[test]
    fn numbers_strings_and_single_values_are_taken_alike() {
        let params = Params::parse(
            r#"{"a":"0.010","b":0.010,"c":"12","d":"false","e":["x",7],"f":"x","g":null,"h":1.5}"#,
        )
        .expect("params");
        assert_eq!(params.decimal("a"), params.decimal("b"));
        assert_eq!(params.integer("c"), Some(12));
        assert_eq!(params.integer("h"), None);
        assert_eq!(params.boolean("d"), Some(false));
        assert_eq!(params.texts("e"), Some(vec!["x".into(), "7".into()]));
        assert_eq!(params.texts("f"), Some(vec!["x".into()]));
        assert!(!params.has("g"));
    }

    #[test]
    fn a_request_id_keeps_its_type_and_may_be_missing() {
        let id =
            |text: &str| Request::parse(text).expect(text).req_id.map(|id| id.get().to_owned());
        assert_eq!(id(r#"{"method":"ping","req_id":"7"}"#).as_deref(), Some("\"7\""));
        assert_eq!(
            id(r#"{"method":"ping","req_id":18446744073709551615}"#).as_deref(),
            Some("18446744073709551615")
        );
        assert_eq!(id(r#"{"method":"ping"}"#), None);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in
            ["", "ping", "[]", "{}", r#"{"event":"ping"}"#, r#"{"method":"ping","params":[]}"#]
        {
            assert!(Request::parse(text).is_none(), "{text}");
        }
    }
}
