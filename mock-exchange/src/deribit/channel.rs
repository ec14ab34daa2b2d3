//! Names of channels.

use rust_decimal::Decimal;

use crate::instrument::{Instrument, InstrumentId};
use std::time::Duration;

/// How often a channel speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interval {
    /// At every event.
    Raw,
    /// What happened within 100 ms.
    Fast,
    /// What happened within a second.
    Aggregated,
}

impl Interval {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "raw" => Some(Self::Raw),
            "100ms" => Some(Self::Fast),
            "agg2" => Some(Self::Aggregated),
            _ => None,
        }
    }

    pub(crate) fn pause(self) -> Duration {
        match self {
            Self::Raw => Duration::ZERO,
            Self::Fast => Duration::from_millis(100),
            Self::Aggregated => Duration::from_secs(1),
        }
    }
}

/// Which instruments a channel is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    One(InstrumentId),
    /// Every future that is settled in this currency, or in any.
    Futures(Option<String>),
    /// A kind that the venue lists nothing of.
    Nothing,
}

impl Selection {
    pub(crate) fn holds(&self, id: InstrumentId, instrument: &Instrument) -> bool {
        match self {
            Self::One(own) => *own == id,
            Self::Nothing => false,
            Self::Futures(currency) => currency.as_ref().is_none_or(|currency| {
                instrument.contract.as_ref().is_some_and(|c| *c.settlement == **currency)
            }),
        }
    }
}

/// What a channel tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Quote(InstrumentId),
    Ticker(InstrumentId, Interval),
    Trades(Selection, Interval),
    Book(InstrumentId, Interval),
    /// The best `depth` levels, whole in every message.
    Top(InstrumentId, usize, Interval),
    UserOrders(Selection, Interval),
    UserTrades(Selection, Interval),
    UserChanges(Selection, Interval),
    /// One currency, or all of them.
    Portfolio(Option<String>),
    PlatformState,
    PublicMethods,
}

impl Topic {
    /// Reads a name; `None` for what the venue does not have.
    pub(crate) fn parse(name: &str, instruments: &[Instrument]) -> Option<Self> {
        let listed = |symbol: &str| instruments.iter().position(|i| *i.symbol == *symbol);
        let parts: Vec<&str> = name.split('.').collect();
        match parts.as_slice() {
            ["quote", symbol] => listed(symbol).map(Self::Quote),
            ["ticker", symbol, pause] => {
                Some(Self::Ticker(listed(symbol)?, Interval::parse(pause)?))
            }
            ["trades", middle @ .., pause] => {
                Some(Self::Trades(selection(middle, instruments)?, Interval::parse(pause)?))
            }
            ["book", symbol, pause] => Some(Self::Book(listed(symbol)?, Interval::parse(pause)?)),
            ["book", symbol, group, depth, pause] => {
                let group = *group == "none" || group.parse::<Decimal>().is_ok();
                let depth = depth.parse().ok().filter(|depth| group && [1, 10, 20].contains(depth));
                Some(Self::Top(listed(symbol)?, depth?, Interval::parse(pause)?))
            }
            ["user", "orders", middle @ .., pause] => {
                Some(Self::UserOrders(selection(middle, instruments)?, Interval::parse(pause)?))
            }
            ["user", "trades", middle @ .., pause] => {
                Some(Self::UserTrades(selection(middle, instruments)?, Interval::parse(pause)?))
            }
            ["user", "changes", middle @ .., pause] => {
                Some(Self::UserChanges(selection(middle, instruments)?, Interval::parse(pause)?))
            }
            ["user", "portfolio", currency] => Some(Self::Portfolio(one_currency(currency))),
            ["platform_state"] => Some(Self::PlatformState),
            ["platform_state", "public_methods_state"] => Some(Self::PublicMethods),
            _ => None,
        }
    }

    /// Whether only a login may see it.
    pub(crate) fn is_private(&self) -> bool {
        matches!(
            self,
            Self::UserOrders(..)
                | Self::UserTrades(..)
                | Self::UserChanges(..)
                | Self::Portfolio(_)
        )
    }

    /// Whether it is market data at every event, which needs a login too.
    pub(crate) fn is_raw_market(&self) -> bool {
        match self {
            Self::Ticker(_, pause)
            | Self::Trades(_, pause)
            | Self::Book(_, pause)
            | Self::Top(_, _, pause) => *pause == Interval::Raw,
            _ => false,
        }
    }
}

/// `BTC-PERPETUAL`, or a kind and a currency.
fn selection(parts: &[&str], instruments: &[Instrument]) -> Option<Selection> {
    match parts {
        [symbol] => instruments.iter().position(|i| *i.symbol == **symbol).map(Selection::One),
        ["any" | "future", currency] => Some(Selection::Futures(one_currency(currency))),
        ["option" | "spot" | "future_combo" | "option_combo" | "combo", _] => {
            Some(Selection::Nothing)
        }
        _ => None,
    }
}

fn one_currency(text: &str) -> Option<String> {
    (!text.eq_ignore_ascii_case("any")).then(|| text.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VenueConfig;

    #[test]
    fn the_names_that_clients_use_are_read_and_others_are_not() {
        let instruments = super::super::spec(&VenueConfig::default()).instruments;
        let parse = |name: &str| Topic::parse(name, &instruments);
        let any = Selection::Futures(None);
        for (name, topic) in [
            ("quote.BTC-PERPETUAL", Topic::Quote(0)),
            ("ticker.ETH-PERPETUAL.100ms", Topic::Ticker(1, Interval::Fast)),
            ("trades.BTC-PERPETUAL.raw", Topic::Trades(Selection::One(0), Interval::Raw)),
            ("book.BTC_USDC-PERPETUAL.agg2", Topic::Book(2, Interval::Aggregated)),
            ("book.BTC-PERPETUAL.none.10.100ms", Topic::Top(0, 10, Interval::Fast)),
            ("user.orders.any.any.raw", Topic::UserOrders(any.clone(), Interval::Raw)),
            (
                "user.trades.future.BTC.100ms",
                Topic::UserTrades(Selection::Futures(Some("BTC".into())), Interval::Fast),
            ),
            ("user.portfolio.btc", Topic::Portfolio(Some("BTC".into()))),
            ("user.portfolio.any", Topic::Portfolio(None)),
        ] {
            assert_eq!(parse(name), Some(topic), "{name}");
        }
        for name in [
            "quote.DOGE-PERPETUAL",
            "quote.BTC-PERPETUAL.raw",
            "ticker.BTC-PERPETUAL",
            "ticker.BTC-PERPETUAL.50ms",
            "book.BTC-PERPETUAL.none.7.100ms",
            "user.orders.raw",
            "",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
        assert!(any.holds(3, &instruments[3]));
        assert!(!Selection::Futures(Some("BTC".into())).holds(3, &instruments[3]));
    }
}
