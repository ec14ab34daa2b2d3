//! What a webhook and a command get: one JSON object.

use serde::Serialize;

use super::board::Job;
use crate::report::AlertKind;
use crate::types::{ExchangeName, Timestamp};

/// Which gateway alerts come from.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Origin {
    /// What its orders' ids begin with.
    pub(crate) order_tag: String,
    /// Its state directory, as an absolute path where that is known.
    pub(crate) state_dir: String,
    /// The machine's name; empty if it has none.
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// The number of its run in the state database.
    pub(crate) run: i64,
    /// When that began.
    pub(crate) started: Timestamp,
    pub(crate) version: &'static str,
}

impl Origin {
    /// This process and this machine.
    pub(crate) fn here(
        order_tag: &str,
        state_dir: &std::path::Path,
        run: i64,
        started: Timestamp,
    ) -> Self {
        let state_dir = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
        Self {
            order_tag: order_tag.to_owned(),
            state_dir: state_dir.display().to_string(),
            host: host(),
            pid: std::process::id(),
            run,
            started,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// The JSON.
#[derive(Debug, Serialize)]
pub(super) struct Payload<'a> {
    /// The same for every attempt at one alert, and for no other alert of any gateway.
    pub(super) id: &'a str,
    pub(super) kind: AlertKind,
    pub(super) at: Timestamp,
    pub(super) exchange: Option<ExchangeName>,
    pub(super) message: &'a str,
    /// The whole in words, where chat systems look for it.
    text: String,
    /// How many of the same were left out since it was last told.
    left_out: u64,
    gateway: &'a Origin,
}

/// Names one alert of all gateways.
pub(super) fn id(origin: &Origin, number: u64) -> String {
    format!("{}-{}-{}-{number}", origin.order_tag, origin.started.as_millisecond(), origin.pid)
}

impl<'a> Payload<'a> {
    pub(super) fn new(id: &'a str, job: &'a Job, origin: &'a Origin) -> Self {
        let alert = &job.alert;
        let about = alert.exchange.map_or_else(String::new, |exchange| format!(", {exchange}"));
        let Origin { order_tag, host, .. } = origin;
        let kind = alert.kind.as_str().replace('_', " ");
        let text =
            format!("exchange-gateway {order_tag} on {host}: {kind}{about}: {}", alert.message);
        Self {
            id,
            kind: alert.kind,
            at: alert.at,
            exchange: alert.exchange,
            message: &alert.message,
            text,
            left_out: job.left_out,
            gateway: origin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Alert;

    #[test]
    fn the_json_names_the_alert_and_the_gateway() {
        let at: Timestamp = "2026-01-31T12:34:56.5Z".parse().unwrap();
        let origin = Origin {
            order_tag: "gw".into(),
            state_dir: "/var/lib/gateway".into(),
            host: "box".into(),
            pid: 42,
            run: 7,
            started: "2026-01-31T00:00:00Z".parse().unwrap(),
            version: "0.1.0",
        };
        let alert = Alert {
            kind: AlertKind::OrdersLeft,
            at,
            exchange: Some("kraken".parse().unwrap()),
            message: "1 order is open: gw1".into(),
        };
        let id = id(&origin, 3);
        let job = Job { number: 3, alert, left_out: 2 };
        let json = serde_json::to_value(Payload::new(&id, &job, &origin)).unwrap();
        let expected = serde_json::json!({
            "id": "gw-1769817600000-42-3",
            "kind": "orders_left",
            "at": "2026-01-31T12:34:56.5Z",
            "exchange": "kraken",
            "message": "1 order is open: gw1",
            "text": "exchange-gateway gw on box: orders left, kraken: 1 order is open: gw1",
            "left_out": 2,
            "gateway": {
                "order_tag": "gw", "state_dir": "/var/lib/gateway", "host": "box", "pid": 42,
                "run": 7, "started": "2026-01-31T00:00:00Z", "version": "0.1.0",
            },
        });
        assert_eq!(json, expected);
        assert!(!host().is_empty());
    }
}
