//! Parameters of a request, and the errors that they can cause.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

/// An error answer: HTTP-like status, Binance code and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) code: i64,
    pub(super) message: String,
    /// JSON of `data`, where the error has details.
    pub(super) data: Option<String>,
}

impl ApiError {
    /// Status 400.
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into(), data: None }
    }

    pub(super) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(super) fn missing(name: &str) -> Self {
        let text = "was not sent, was empty/null, or malformed.";
        Self::new(-1102, format!("Mandatory parameter '{name}' {text}"))
    }

    pub(super) fn illegal(name: &str, range: &str) -> Self {
        let text = "Illegal characters found in parameter";
        Self::new(-1100, format!("{text} '{name}'; legal range is '{range}'."))
    }

    /// `{"code":..,"msg":".."}`, with `data` if there is any.
    pub(super) fn json(&self) -> String {
        let message = serde_json::Value::from(self.message.as_str());
        let data = self.data.as_ref().map(|data| format!(r#","data":{data}"#)).unwrap_or_default();
        format!(r#"{{"code":{},"msg":{message}{data}}}"#, self.code)
    }
}

/// Request parameters as text, in the order in which they are signed.
#[derive(Clone, Debug, Default)]
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    pub(super) fn from_form(form: BTreeMap<String, String>) -> Self {
        Self(form)
    }

    /// Strings are unquoted, everything else keeps the text that was sent, because that is what
    /// was signed.
    pub(super) fn from_json(params: BTreeMap<String, &RawValue>) -> Self {
        let text = |raw: &RawValue| {
            serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned())
        };
        Self(params.into_iter().map(|(name, raw)| (name, text(raw))).collect())
    }

    /// All parameters but the signature, as they are signed on the API socket.
    pub(super) fn payload(&self) -> String {
        let mut payload = String::with_capacity(256);
        for (name, value) in self.0.iter().filter(|(name, _)| *name != "signature") {
            if !payload.is_empty() {
                payload.push('&');
            }
            payload.push_str(name);
            payload.push('=');
            payload.push_str(value);
        }
        payload
    }

    /// These parameters under other names: (from, to).
    pub(super) fn renamed(&self, names: &[(&str, &str)]) -> Self {
        let value = |from: &str| self.0.get(from).cloned();
        let pairs = names.iter().filter_map(|(from, to)| Some(((*to).to_owned(), value(from)?)));
        Self(pairs.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty() && *value != "null")
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::missing(name))
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name) {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        }
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| ApiError::illegal(name, "^[0-9]{1,20}$"))
    }

    /// A positive number with at most eight decimals.
    pub(super) fn decimal(&self, name: &str) -> Result<Option<Decimal>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let value = digits.then(|| Decimal::from_str_exact(text).ok()).flatten();
        let Some(value) = value else {
            return Err(ApiError::illegal(name, r"^([0-9]{1,20})(\.[0-9]{1,20})?$"));
        };
        if value.normalize().scale() > 8 {
            let text = format!("Parameter '{name}' has too much precision.");
            return Err(ApiError::new(-1111, text));
        }
        Ok(Some(value))
    }

    /// At most `max`, `default` when absent.
    pub(super) fn limit(&self, default: usize, max: usize) -> Result<usize, ApiError> {
        let limit = self.integer("limit")?.and_then(|limit| usize::try_from(limit).ok());
        Ok(limit.unwrap_or(default).clamp(1, max))
    }
}
