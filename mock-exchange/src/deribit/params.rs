//! Requests of clients.
//!
//! Over the socket values are JSON, over HTTP they are text; a handler reads both alike. Numbers
//! stay raw tokens, so that no decimal passes through `f64`.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::number::decimal_from_text;
use super::rpc::RpcError;

/// One JSON-RPC request.
#[derive(Debug)]
pub(crate) struct Request {
    /// As it was sent; it is echoed with its value and JSON type.
    pub(crate) id: Option<Box<RawValue>>,
    pub(crate) method: String,
    pub(crate) params: Result<Params, RpcError>,
}

#[derive(Deserialize)]
struct Envelope {
    jsonrpc: Option<String>,
    id: Option<Box<RawValue>>,
    method: Option<String>,
    params: Option<Box<RawValue>>,
}

impl Request {
    /// Reads a request; one without an id is read too.
    pub(crate) fn parse(text: &str) -> Result<Self, RpcError> {
        let envelope: Envelope = serde_json::from_str(text).map_err(|error| {
            if error.is_data() { invalid_request() } else { RpcError::new(-32700, "Parse error") }
        })?;
        let id = envelope.id.filter(|id| is_id(id.get()));
        let method = envelope.method.filter(|_| envelope.jsonrpc.as_deref() == Some("2.0"));
        let method = method.ok_or_else(invalid_request)?;
        let params = match envelope.params {
            Some(params) => Params::from_json(params.get()),
            None => Ok(Params::default()),
        };
        Ok(Self { id, method, params })
    }
}

fn is_id(token: &str) -> bool {
    token.starts_with('"') || token.parse::<i64>().is_ok()
}

pub(crate) fn invalid_request() -> RpcError {
    RpcError::new(-32600, "Invalid Request")
}

#[derive(Clone, Debug)]
enum Value {
    Json(Box<RawValue>),
    Text(String),
}

/// Named parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(BTreeMap<String, Value>);

impl Params {
    fn from_json(text: &str) -> Result<Self, RpcError> {
        let values: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text)
            .map_err(|_| RpcError::param("params", "must be an object of named parameters"))?;
        if let Some((name, _)) = values.iter().find(|(_, value)| value.get() == "null") {
            return Err(RpcError::param(name, "must not be null; leave it out"));
        }
        Ok(Self(values.into_iter().map(|(name, value)| (name, Value::Json(value))).collect()))
    }

    /// Parameters of a query string.
    pub(crate) fn from_query(query: &str) -> Self {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        Self(pairs.map(|(name, value)| (name.into(), Value::Text(value.into()))).collect())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A text, or the token of a number or a flag.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::Text(text) => Some(text.clone()),
            Value::Json(value) if value.get().starts_with('"') => {
                serde_json::from_str(value.get()).ok()
            }
            Value::Json(value) => Some(value.get().to_owned()),
        }
    }

    /// A text that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<String, RpcError> {
        self.text(name).ok_or_else(|| RpcError::param(name, "must be given"))
    }

    /// A number. Text is taken only where all is text, over HTTP.
    pub(crate) fn decimal(&self, name: &str) -> Result<Option<Decimal>, RpcError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let text = match value {
            Value::Text(text) => text.as_str(),
            Value::Json(value) => value.get(),
        };
        let number = decimal_from_text(text);
        number.map(Some).ok_or_else(|| RpcError::param(name, "must be a number"))
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, RpcError> {
        let Some(value) = self.decimal(name)? else { return Ok(None) };
        let whole = value.is_integer().then(|| i64::try_from(value).ok()).flatten();
        whole.map(Some).ok_or_else(|| RpcError::param(name, "must be an integer"))
    }

    /// A flag; false when it is not there.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, RpcError> {
        match self.text(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(RpcError::param(name, "must be a boolean")),
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, RpcError> {
        let list = self.0.get(name).and_then(|value| {
            serde_json::from_str(match value {
                Value::Text(text) => text,
                Value::Json(value) => value.get(),
            })
            .ok()
        });
        list.ok_or_else(|| RpcError::param(name, "must be a list of texts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_requests_are_read() {
        let text = include_str!("testdata/auth_client_credentials_request.json");
        let request = Request::parse(text).expect("a request");
        assert_eq!(request.method, "public/auth");
        assert_eq!(request.id.expect("an id").get(), "9929");
        let params = request.params.expect("parameters");
        assert_eq!(params.text("client_id").as_deref(), Some("fo7WAPRm4P"));
    }

    #[test]
    fn ids_keep_their_type_and_what_is_no_request_is_refused() {
        let text = r#"{"jsonrpc":"2.0","id":"a-1","method":"public/test","params":{}}"#;
        assert_eq!(Request::parse(text).expect("a request").id.expect("an id").get(), "\"a-1\"");
        for (text, code) in [("{", -32700), ("[]", -32600), (r#"{"id":1,"method":"x"}"#, -32600)] {
            assert_eq!(Request::parse(text).expect_err(text).code, code, "{text}");
        }
    }

    #[test]
    fn a_null_is_refused_and_a_quoted_number_is_text() {
        let error = Params::from_json(r#"{"label":null}"#).expect_err("null");
        assert_eq!(error.code, -32602);
        let params = Params::from_json(r#"{"amount":"10","price":1e-3}"#).expect("parameters");
        assert!(params.decimal("amount").is_err());
        assert_eq!(params.decimal("price").expect("a number"), Some(Decimal::new(1, 3)));
        let params = Params::from_query("amount=10&post_only=true");
        assert_eq!(params.decimal("amount").expect("a number"), Some(Decimal::TEN));
        assert!(params.flag("post_only").expect("a flag"));
    }
}
