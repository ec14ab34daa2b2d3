//! The market session: heartbeats, one subscription for everything, then quotes and trades.
//!
//! Sources: <https://docs.deribit.com/subscriptions/market-data/quoteinstrument_name>,
//! <https://docs.deribit.com/subscriptions/market-data/tradesinstrument_nameinterval>.

use std::collections::HashSet;
use std::sync::Arc;

use super::errors::RpcError;
use super::messages::{ResultObject, Shape, channels, named, shorten};
use super::requests::Requests;
use super::ticks::{self, Message, Sink};
use crate::exchange::{
    DecodeError, MarketSession, Outbox, Refusal, Session, SessionEvent, SymbolTable,
};
use crate::types::Timestamp;

/// Channels of one request; with the longest names they stay below the 32 kB that a message may
/// have.
const CHANNELS_PER_REQUEST: usize = 400;

/// Seconds between the exchange's signs of life.
const HEARTBEAT_INTERVAL: &str = r#"{"interval":30}"#;

/// What a request was about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Heartbeat,
    Subscribe(Vec<String>),
    Unsubscribe(usize),
    Test,
}

impl Asked {
    fn describe(&self) -> String {
        match self {
            Self::Heartbeat => "public/set_heartbeat".into(),
            Self::Subscribe(channels) => format!("public/subscribe {} channels", channels.len()),
            Self::Unsubscribe(count) => format!("public/unsubscribe {count} channels"),
            Self::Test => "public/test".into(),
        }
    }
}

/// Market data of one connection attempt.
#[derive(Debug)]
pub(super) struct DeribitMarket {
    symbols: Arc<SymbolTable>,
    requests: Requests<Asked>,
    ready: bool,
    unsubscribing: bool,
}

impl DeribitMarket {
    pub(super) fn new(symbols: Arc<SymbolTable>) -> Self {
        Self { symbols, requests: Requests::default(), ready: false, unsubscribing: false }
    }

    /// All channels, in requests of a size that the exchange takes. Trades come in steps of 100 ms
    /// because each at once is for logged-in connections only.
    fn channels(&self) -> Vec<Vec<String>> {
        let all: Vec<String> = self
            .symbols
            .specs()
            .flat_map(|spec| {
                let symbol = &spec.symbol;
                [format!("quote.{symbol}"), format!("trades.{symbol}.100ms")]
            })
            .collect();
        all.chunks(CHANNELS_PER_REQUEST).map(<[String]>::to_vec).collect()
    }

    fn write(&mut self, method: &str, params: &str, asked: Asked, out: &mut Outbox) {
        out.messages.push(self.requests.write(method, params, asked));
    }

    fn test(&mut self, out: &mut Outbox) {
        self.write("public/test", "{}", Asked::Test, out);
    }

    fn answer(&mut self, message: &Message<'_>, out: &mut Outbox) -> Result<(), DecodeError> {
        let Some(asked) = self.requests.take(message.id.request_number()) else {
            out.event(acknowledged(message)?);
            return Ok(());
        };
        match &asked {
            Asked::Test => out.event(SessionEvent::Pong),
            Asked::Heartbeat | Asked::Unsubscribe(_) => {
                out.event(SessionEvent::Acknowledged { request: asked.describe() });
            }
            Asked::Subscribe(wanted) => {
                let listed = channels(message.result)?;
                let listed: HashSet<&str> = listed.iter().map(AsRef::as_ref).collect();
                // A channel that the exchange does not like is left out without a word.
                let missing: Vec<&str> = wanted
                    .iter()
                    .map(String::as_str)
                    .filter(|channel| !listed.contains(channel))
                    .collect();
                if !missing.is_empty() {
                    out.event(SessionEvent::Refused(Refusal {
                        request: "public/subscribe".into(),
                        code: None,
                        reason: shorten(&format!("not subscribed: {}", missing.join(", "))),
                        permanent: true,
                    }));
                    return Ok(());
                }
                out.event(SessionEvent::Acknowledged { request: asked.describe() });
            }
        }
        let waits = |asked: &Asked| matches!(asked, Asked::Heartbeat | Asked::Subscribe(_));
        if !self.ready && !self.requests.any(waits) {
            self.ready = true;
            out.event(SessionEvent::Ready);
        }
        let waits = |asked: &Asked| matches!(asked, Asked::Unsubscribe(_));
        if self.unsubscribing && !self.requests.any(waits) {
            self.unsubscribing = false;
            out.event(SessionEvent::Unsubscribed);
        }
        Ok(())
    }

    fn failure(&mut self, message: &Message<'_>, out: &mut Outbox) {
        let error = RpcError::read(message.error);
        let permanent = error.is_permanent();
        let RpcError { code, reason } = error;
        match self.requests.take(message.id.request_number()) {
            Some(asked @ (Asked::Heartbeat | Asked::Subscribe(_))) => {
                let request = asked.describe();
                out.event(SessionEvent::Refused(Refusal { request, code, reason, permanent }));
            }
            _ => out.event(SessionEvent::ExchangeError { code, reason }),
        }
    }
}

/// What an answer to a request that is not this session's acknowledges.
fn acknowledged(message: &Message<'_>) -> Result<SessionEvent, DecodeError> {
    match Shape::of(message.result) {
        Shape::ListOfTexts => {
            let request = format!("subscribe {} channels", channels(message.result)?.len());
            return Ok(SessionEvent::Acknowledged { request });
        }
        Shape::Object => {
            let result: ResultObject<'_> = message.result.read("result")?;
            if result.version.is_present() {
                return Ok(SessionEvent::Pong);
            }
        }
        Shape::ListOfObjects | Shape::Other => {}
    }
    Ok(SessionEvent::Acknowledged { request: named(message.id) })
}

impl Session for DeribitMarket {
    fn opened(&mut self, _: Timestamp, out: &mut Outbox) {
        let requests = self.channels();
        if requests.is_empty() {
            self.ready = true;
            out.event(SessionEvent::Ready);
            return;
        }
        self.write("public/set_heartbeat", HEARTBEAT_INTERVAL, Asked::Heartbeat, out);
        for channels in requests {
            let params = params(&channels);
            self.write("public/subscribe", &params, Asked::Subscribe(channels), out);
        }
    }

    fn received(
        &mut self,
        text: &str,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let mut sink = Sink { symbols: &self.symbols, received: now, out: &mut *out };
        let message = ticks::read(text, &mut sink)?;
        if message.channel.is_present() {
            return Ok(());
        }
        if message.method.is_present() {
            match &*message.method.text("method")? {
                "heartbeat" => {
                    out.event(SessionEvent::Heartbeat);
                    if message.kind.optional_text().as_deref() == Some("test_request") {
                        self.test(out);
                    }
                }
                "subscription" => {
                    return Err(DecodeError::new("`channel` of a subscription is missing"));
                }
                other => {
                    let what = format!("client request {}", shorten(other));
                    out.event(SessionEvent::Ignored { what });
                }
            }
        } else if message.error.is_present() {
            self.failure(&message, out);
        } else if message.result.is_present() {
            return self.answer(&message, out);
        } else {
            out.event(SessionEvent::Ignored { what: "message of unknown shape".into() });
        }
        Ok(())
    }

    fn ping(&mut self, _: Timestamp, out: &mut Outbox) {
        self.test(out);
    }
}

impl MarketSession for DeribitMarket {
    fn unsubscribe(&mut self, out: &mut Outbox) {
        let requests = self.channels();
        if requests.is_empty() {
            out.event(SessionEvent::Unsubscribed);
            return;
        }
        self.unsubscribing = true;
        for channels in requests {
            let params = params(&channels);
            let asked = Asked::Unsubscribe(channels.len());
            self.write("public/unsubscribe", &params, asked, out);
        }
    }
}

fn params(channels: &[String]) -> String {
    serde_json::json!({ "channels": channels }).to_string()
}
