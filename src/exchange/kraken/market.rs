//! The market session: `ticker` on every change of the best bid and ask, and `trade`. One request
//! covers all symbols, and each symbol is acknowledged by itself.

use std::collections::HashSet;
use std::sync::Arc;

use crate::exchange::{
    DecodeError, MarketSession, Outbox, Refusal, Session, SessionEvent, SymbolTable,
};
use crate::types::{Instrument, Timestamp};

use super::messages::{
    Envelope, Outcome, Subscription, is_permanent, shorten, trading_restriction,
};
use super::ticks::{Channel, Sink, read_message};

impl Channel {
    /// The parameter that an unsubscription must repeat, and the one that a subscription adds.
    fn parameters(self, subscribe: bool) -> &'static str {
        match (self, subscribe) {
            // The default trigger, `trades`, lets bid and ask go stale between trades.
            (Self::Ticker, _) => r#""event_trigger":"bbo","#,
            (Self::Trade, true) => r#""snapshot":false,"#,
            (Self::Trade, false) => "",
        }
    }

    /// Each session makes these four requests at most, so their numbers are fixed.
    fn request(self, subscribe: bool) -> u64 {
        match (self, subscribe) {
            (Self::Ticker, true) => 1,
            (Self::Trade, true) => 2,
            (Self::Ticker, false) => 3,
            (Self::Trade, false) => 4,
        }
    }
}

/// The acknowledgements that are awaited, one a channel and symbol.
type Awaited = HashSet<(Channel, Instrument)>;

/// One connection attempt of the market half.
#[derive(Debug)]
pub(super) struct KrakenMarket {
    symbols: Arc<SymbolTable>,
    /// `None` before [`Session::opened`] and once all are in.
    subscribing: Option<Awaited>,
    /// `None` before [`MarketSession::unsubscribe`] and once all are in.
    unsubscribing: Option<Awaited>,
}

impl KrakenMarket {
    pub(super) fn new(symbols: Arc<SymbolTable>) -> Self {
        Self { symbols, subscribing: None, unsubscribing: None }
    }

    fn request_all(&self, subscribe: bool, out: &mut Outbox) -> Awaited {
        let method = if subscribe { "subscribe" } else { "unsubscribe" };
        let symbols: Vec<&str> = self.symbols.specs().map(|spec| spec.symbol.as_str()).collect();
        let symbols = serde_json::to_string(&symbols).unwrap_or_default();
        let mut awaited = Awaited::new();
        if self.symbols.instruments().is_empty() {
            return awaited;
        }
        for channel in Channel::ALL {
            out.messages.push(format!(
                r#"{{"method":"{method}","params":{{"channel":"{}",{}"symbol":{symbols}}},"req_id":{}}}"#,
                channel.as_str(),
                channel.parameters(subscribe),
                channel.request(subscribe),
            ));
            awaited.extend(self.symbols.instruments().iter().map(|one| (channel, *one)));
        }
        awaited
    }

    fn response(&mut self, envelope: &Envelope<'_>, out: &mut Outbox) -> Result<(), DecodeError> {
        let method = envelope.method.as_deref().unwrap_or_default();
        if method == "pong" {
            out.event(SessionEvent::Pong);
            return Ok(());
        }
        if envelope.is_client_request() {
            out.event(SessionEvent::Ignored { what: envelope.describe() });
            return Ok(());
        }
        let outcome = envelope.outcome()?;
        // A refused unsubscription calls itself `subscribe`: only the request number tells.
        let number = envelope.request_number();
        let unsubscription =
            Channel::ALL.into_iter().find(|one| number == Some(one.request(false)));
        match outcome {
            Outcome::Done(result) if matches!(method, "subscribe" | "unsubscribe") => {
                let subscription = Subscription::read(result)?;
                out.event(SessionEvent::Acknowledged { request: subscription.describe(method) });
                let channel = subscription.channel.as_deref().and_then(Channel::from_name);
                let instrument = self.find(subscription.symbol.as_deref());
                if let (Some(channel), Some(instrument)) = (channel, instrument) {
                    self.acknowledged(method == "subscribe", channel, Some(instrument), out);
                }
            }
            Outcome::Failed(error) if unsubscription.is_some() => {
                let symbol = envelope.symbol.as_deref();
                let request = request_name("unsubscribe", unsubscription, symbol);
                let reason = shorten(&format!("{request}: {error}"));
                out.event(SessionEvent::ExchangeError { code: None, reason });
                if let Some(channel) = unsubscription {
                    self.acknowledged(false, channel, self.find(symbol), out);
                }
            }
            Outcome::Failed(error) if method == "subscribe" => {
                let channel =
                    Channel::ALL.into_iter().find(|one| number == Some(one.request(true)));
                out.event(SessionEvent::Refused(Refusal {
                    request: request_name("subscribe", channel, envelope.symbol.as_deref()),
                    code: None,
                    reason: shorten(error),
                    permanent: is_permanent(error),
                }));
            }
            Outcome::Failed(error) if !matches!(method, "add_order" | "cancel_order") => {
                out.event(SessionEvent::ExchangeError { code: None, reason: shorten(error) });
            }
            _ => out.event(SessionEvent::Ignored { what: envelope.describe() }),
        }
        Ok(())
    }

    fn find(&self, symbol: Option<&str>) -> Option<Instrument> {
        symbol.and_then(|symbol| self.symbols.instrument(symbol))
    }

    /// Strikes one acknowledgement off, or a whole channel where no instrument is named.
    fn acknowledged(
        &mut self,
        subscribe: bool,
        channel: Channel,
        instrument: Option<Instrument>,
        out: &mut Outbox,
    ) {
        let list = if subscribe { &mut self.subscribing } else { &mut self.unsubscribing };
        let Some(awaited) = list else { return };
        match instrument {
            Some(instrument) => {
                awaited.remove(&(channel, instrument));
            }
            None => awaited.retain(|(one, _)| *one != channel),
        }
        if awaited.is_empty() {
            *list = None;
            out.event(if subscribe { SessionEvent::Ready } else { SessionEvent::Unsubscribed });
        }
    }
}

/// A message of a channel that carried no ticks.
fn data(envelope: &Envelope<'_>, out: &mut Outbox) -> Result<(), DecodeError> {
    match (envelope.channel.as_deref(), envelope.data) {
        (Some("heartbeat"), _) => out.event(SessionEvent::Heartbeat),
        (Some("status"), Some(data)) => out.event(match trading_restriction(data)? {
            Some(restriction) => SessionEvent::Restricted(restriction),
            None => SessionEvent::Ignored { what: "unknown system status".into() },
        }),
        (Some(channel @ ("status" | "ticker" | "trade")), None) => {
            return Err(DecodeError::new(format!("`data` of {channel}: missing")));
        }
        _ => out.event(SessionEvent::Ignored { what: envelope.describe() }),
    }
    Ok(())
}

fn request_name(method: &str, channel: Option<Channel>, symbol: Option<&str>) -> String {
    let channel = channel.map_or("", Channel::as_str);
    let name = format!("{method} {channel} {}", symbol.unwrap_or_default());
    shorten(name.trim_end())
}

impl Session for KrakenMarket {
    fn opened(&mut self, _now: Timestamp, out: &mut Outbox) {
        let awaited = self.request_all(true, out);
        if awaited.is_empty() {
            out.event(SessionEvent::Ready);
        } else {
            self.subscribing = Some(awaited);
        }
    }

    fn received(
        &mut self,
        text: &str,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<(), DecodeError> {
        let (ticks, events) = (out.ticks.len(), out.events.len());
        let sink = Sink { symbols: &self.symbols, received: now, out: &mut *out };
        let message = read_message(text, sink).inspect_err(|_| {
            out.ticks.truncate(ticks);
            out.events.truncate(events);
        })?;
        let envelope = message.envelope;
        if message.ticks_read {
            // A snapshot of trades tells of the past; none is asked for.
            if envelope.channel.as_deref() == Some("trade")
                && envelope.kind.as_deref() == Some("snapshot")
            {
                out.ticks.truncate(ticks);
                out.event(SessionEvent::Ignored { what: "snapshot of trades".into() });
            }
            return Ok(());
        }
        if let Some(reason) = envelope.fault.as_deref() {
            let reason = shorten(reason);
            out.event(SessionEvent::ExchangeError { code: None, reason });
            return Ok(());
        }
        if envelope.channel.is_some() {
            return data(&envelope, out);
        }
        if envelope.method.is_some() || envelope.error.is_some() {
            return self.response(&envelope, out);
        }
        out.event(SessionEvent::Ignored { what: envelope.describe() });
        Ok(())
    }

    fn ping(&mut self, _now: Timestamp, out: &mut Outbox) {
        out.messages.push(super::PING.to_owned());
    }
}

impl MarketSession for KrakenMarket {
    fn unsubscribe(&mut self, out: &mut Outbox) {
        let awaited = self.request_all(false, out);
        if awaited.is_empty() {
            out.event(SessionEvent::Unsubscribed);
        } else {
            self.unsubscribing = Some(awaited);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, symbols};
    use super::*;
    use crate::exchange::TradingRestriction;
    use crate::types::TickData;

    fn opened() -> (KrakenMarket, Outbox) {
        let (mut session, mut out) = (KrakenMarket::new(symbols()), Outbox::default());
        session.opened(NOW, &mut out);
        (session, out)
    }

    fn told(session: &mut KrakenMarket, text: &str) -> Vec<SessionEvent> {
        let mut out = Outbox::default();
        session.received(text, NOW, &mut out).unwrap();
        out.events
    }

    fn ack(method: &str, channel: &str, symbol: &str) -> String {
        format!(
            r#"{{"method":"{method}","result":{{"channel":"{channel}","symbol":"{symbol}"}},"success":true,"req_id":1}}"#
        )
    }

    const SUBSCRIPTIONS: [(&str, &str); 4] = [
        ("trade", "BTC/USD"),
        ("ticker", "ALGO/USD"),
        ("ticker", "BTC/USD"),
        ("trade", "ALGO/USD"),
    ];

    #[test]
    fn opening_subscribes_quotes_on_every_change_and_trades_without_the_past() {
        let (_, out) = opened();
        assert_eq!(
            out.messages,
            [
                r#"{"method":"subscribe","params":{"channel":"ticker","event_trigger":"bbo","symbol":["BTC/USD","ALGO/USD"]},"req_id":1}"#,
                r#"{"method":"subscribe","params":{"channel":"trade","snapshot":false,"symbol":["BTC/USD","ALGO/USD"]},"req_id":2}"#,
            ]
        );
        assert_eq!(out.events, []);
    }

    #[test]
    fn ready_comes_with_the_last_acknowledgement_and_once() {
        let (mut session, _) = opened();
        // A repeated acknowledgement stands for no other.
        for (channel, symbol) in [&SUBSCRIPTIONS[..3], &SUBSCRIPTIONS[..3]].concat() {
            let events = told(&mut session, &ack("subscribe", channel, symbol));
            let request = format!("subscribe {channel} {symbol}");
            assert_eq!(events, [SessionEvent::Acknowledged { request }]);
        }
        let events = told(&mut session, &ack("subscribe", "trade", "ALGO/USD"));
        assert_eq!(events[1..], [SessionEvent::Ready]);
        let events = told(&mut session, &ack("subscribe", "trade", "ALGO/USD"));
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn a_refused_subscription_names_itself_and_whether_it_is_for_good() {
        let refused = |error: &str| {
            let text = format!(
                r#"{{"error":"{error}","method":"subscribe","req_id":2,"success":false,"symbol":"BTC/USD"}}"#
            );
            told(&mut opened().0, &text)
        };
        let expected = |reason: &str, permanent| {
            SessionEvent::Refused(Refusal {
                request: "subscribe trade BTC/USD".into(),
                code: None,
                reason: reason.into(),
                permanent,
            })
        };
        let unknown = "Currency pair not supported BTC/USD";
        assert_eq!(refused(unknown), [expected(unknown, true)]);
        let busy = "EService:Unavailable";
        assert_eq!(refused(busy), [expected(busy, false)]);
    }

    #[test]
    fn unsubscribing_ends_when_all_are_acknowledged_or_were_not_there() {
        let (mut session, mut out) = opened();
        out.clear();
        session.unsubscribe(&mut out);
        assert_eq!(
            out.messages,
            [
                r#"{"method":"unsubscribe","params":{"channel":"ticker","event_trigger":"bbo","symbol":["BTC/USD","ALGO/USD"]},"req_id":3}"#,
                r#"{"method":"unsubscribe","params":{"channel":"trade","symbol":["BTC/USD","ALGO/USD"]},"req_id":4}"#,
            ]
        );
        for (channel, symbol) in &SUBSCRIPTIONS[..3] {
            assert_eq!(told(&mut session, &ack("unsubscribe", channel, symbol)).len(), 1);
        }
        // The refusal of an unsubscription calls itself a subscription.
        let absent = r#"{"error":"Subscription Not Found","method":"subscribe","req_id":4,"success":false,"symbol":"ALGO/USD"}"#;
        let reason = "unsubscribe trade ALGO/USD: Subscription Not Found".into();
        assert_eq!(
            told(&mut session, absent),
            [SessionEvent::ExchangeError { code: None, reason }, SessionEvent::Unsubscribed]
        );
    }

    #[test]
    fn without_instruments_nothing_is_asked_and_all_is_ready() {
        let mut session = KrakenMarket::new(Arc::default());
        let mut out = Outbox::default();
        session.opened(NOW, &mut out);
        session.unsubscribe(&mut out);
        assert_eq!(out.messages, [""; 0]);
        assert_eq!(out.events, [SessionEvent::Ready, SessionEvent::Unsubscribed]);
    }

    #[test]
    fn signs_of_life_restrictions_and_faults_are_told() {
        let status = |system: &str| {
            format!(
                r#"{{"channel":"status","type":"update","data":[{{"system":"{system}","connection_id":13834774380200032777}}]}}"#
            )
        };
        let restricted = SessionEvent::Restricted;
        let too_fast = "Exceeded msg rate".to_owned();
        let cases = [
            (r#"{"channel":"heartbeat"}"#.to_owned(), SessionEvent::Heartbeat),
            (r#"{"method":"pong"}"#.to_owned(), SessionEvent::Pong),
            (status("post_only"), restricted(TradingRestriction::PostOnly)),
            (status("cancel_only"), restricted(TradingRestriction::CancelOnly)),
            (status("maintenance"), restricted(TradingRestriction::Maintenance)),
            (status("new"), SessionEvent::Ignored { what: "unknown system status".into() }),
            (
                r#"{"Error":"Exceeded msg rate"}"#.to_owned(),
                SessionEvent::ExchangeError { code: None, reason: too_fast },
            ),
            (
                r#"{"channel":"news","data":1e999}"#.to_owned(),
                SessionEvent::Ignored { what: "channel news".into() },
            ),
            (
                "{}".to_owned(),
                SessionEvent::Ignored { what: "message without channel and method".into() },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(told(&mut opened().0, &text), [expected], "{text}");
        }
        let mut out = Outbox::default();
        opened().0.ping(NOW, &mut out);
        assert_eq!(out.messages, [r#"{"method":"ping"}"#]);
    }

    const TRADE: &str =
        r#"{"symbol":"BTC/USD","side":"buy","price":1234567890.123456789,"qty":500,"trade_id":1}"#;

    #[test]
    fn keys_may_come_in_any_order_and_escaped() {
        let (mut session, mut out) = opened();
        let escaped = TRADE.replace("BTC/USD", "BTC\\/USD");
        let text =
            format!(r#"{{"data":[{escaped},{TRADE}],"type":"update","channel":"tr\u0061de"}}"#);
        out.clear();
        session.received(&text, NOW, &mut out).unwrap();
        let TickData::Trade(trade) = out.ticks[0].data else { panic!("{out:?}") };
        assert_eq!(trade.price.to_string(), "1234567890.123456789");
        assert_eq!(trade.quantity, "500.0".parse().unwrap());
        assert_eq!(out.ticks.len(), 2);
    }

    #[test]
    fn trades_of_the_past_and_unknown_symbols_are_no_ticks() {
        let (mut session, mut out) = opened();
        out.clear();
        let past = format!(r#"{{"channel":"trade","data":[{TRADE}],"type":"snapshot"}}"#);
        session.received(&past, NOW, &mut out).unwrap();
        let foreign = TRADE.replace("BTC", "ETH");
        let foreign = format!(r#"{{"channel":"trade","type":"update","data":[{foreign}]}}"#);
        session.received(&foreign, NOW, &mut out).unwrap();
        assert_eq!(out.ticks, []);
        let ignored = |what: &str| SessionEvent::Ignored { what: what.into() };
        let expected = [ignored("snapshot of trades"), ignored("trade of unknown symbol ETH/USD")];
        assert_eq!(out.events, expected);
    }

    #[test]
    fn a_broken_element_spoils_its_message_and_names_its_key() {
        let cases = [
            (TRADE.replace("1234567890.123456789", "\"5\""), "`price`"),
            (TRADE.replace("500", "0.12345678901234567890123456789"), "`qty`"),
            (TRADE.replace("buy", "hold"), "`side`: `hold`"),
            (TRADE.replace("\"trade_id\":1", "\"trade_id\":-1"), "-1"),
            (TRADE.replace("\"qty\":500,", ""), "qty"),
            (TRADE.replace('}', ",\"timestamp\":\"noon\"}"), "`timestamp`: `noon`"),
        ];
        for (element, expected) in cases {
            let (mut session, mut out) = opened();
            out.clear();
            let text =
                format!(r#"{{"channel":"trade","type":"update","data":[{TRADE},{element}]}}"#);
            let error = session.received(&text, NOW, &mut out).unwrap_err();
            assert!(error.reason.contains(expected), "{error}");
            assert_eq!((out.ticks, out.events), (vec![], vec![]), "{text}");
        }
        for text in [r#"{"channel":"ticker"}"#, r#"{"channel":"ticker","data":null}"#, "[]", ""] {
            assert!(opened().0.received(text, NOW, &mut Outbox::default()).is_err(), "{text}");
        }
    }
}
