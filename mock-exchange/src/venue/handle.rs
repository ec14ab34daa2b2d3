//! The handle that tests hold of a venue.

use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;

use super::VenueShared;
use super::state::VenueState;
use crate::config::Credentials;
use crate::connection::{Disturbance, Outgoing};
use crate::engine::{Amount, EngineEvent, NewOrder, OrderKind, Quote, Side, TimeInForce};
use crate::faults::Disconnect;
use crate::instrument::{Instrument, InstrumentId};
use crate::ledger::ExchangeLedger;

/// What a venue cannot do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VenueError {
    /// The symbol is not listed.
    #[error("{venue} does not list {symbol:?}; it lists {listed}")]
    UnknownSymbol {
        /// The venue.
        venue: &'static str,
        /// The symbol asked for.
        symbol: String,
        /// The listed ones, comma separated.
        listed: String,
    },
    /// A price or quantity is zero or negative.
    #[error("{what} is {value}; it must be above zero")]
    NotPositive {
        /// Which value.
        what: &'static str,
        /// The value.
        value: Decimal,
    },
    /// The engine refused an order.
    #[error("{venue} refused the order {client_id:?}: {reason}")]
    Refused {
        /// The venue.
        venue: &'static str,
        /// The order.
        client_id: String,
        /// The engine's reason.
        reason: String,
    },
}

/// A running venue: its addresses, and levers on its market. Cheap to clone.
#[derive(Clone)]
pub struct Venue {
    pub(crate) shared: Arc<VenueShared>,
}

impl std::fmt::Debug for Venue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Venue")
            .field("name", &self.shared.name)
            .field("address", &self.shared.address)
            .finish_non_exhaustive()
    }
}

impl Venue {
    /// `binance`, `kraken` or `deribit`.
    pub fn name(&self) -> &'static str {
        self.shared.name
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.shared.address
    }

    /// `http://HOST:PORT`, without a path.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// `ws://HOST:PORT`, without a path.
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.shared.address)
    }

    /// The test account's key.
    pub fn credentials(&self) -> Credentials {
        self.shared.credentials.clone()
    }

    /// What it lists.
    pub fn instruments(&self) -> Vec<Instrument> {
        self.shared.with(|inner| inner.state.instruments.to_vec())
    }

    /// This venue's part of the ledger, now.
    pub fn ledger(&self) -> ExchangeLedger {
        self.shared.ledger()
    }

    /// Another participant trades: `side` is the taker's. Makers with better prices step back,
    /// own orders up to `price` fill, and the tape shows the whole quantity.
    pub fn trade(
        &self,
        symbol: &str,
        side: Side,
        price: Decimal,
        quantity: Decimal,
    ) -> Result<(), VenueError> {
        positive("price", price)?;
        positive("quantity", quantity)?;
        self.market(symbol, |state, instrument, events| {
            let now = state.now();
            state.engine.trade(instrument, side, price, quantity, now, events);
        })
    }

    /// Replaces the other participants' quotes by one level a side. A quote that meets an own
    /// order trades with it.
    pub fn set_quote(
        &self,
        symbol: &str,
        bid: Decimal,
        bid_quantity: Decimal,
        ask: Decimal,
        ask_quantity: Decimal,
    ) -> Result<(), VenueError> {
        self.set_book(symbol, &[(bid, bid_quantity)], &[(ask, ask_quantity)])
    }

    /// Replaces the other participants' quotes by these levels (price, quantity), best first.
    /// Empty sides are possible.
    pub fn set_book(
        &self,
        symbol: &str,
        bids: &[(Decimal, Decimal)],
        asks: &[(Decimal, Decimal)],
    ) -> Result<(), VenueError> {
        for (price, quantity) in bids.iter().chain(asks) {
            positive("price", *price)?;
            positive("quantity", *quantity)?;
        }
        self.market(symbol, |state, instrument, events| {
            let now = state.now();
            state.engine.set_market(instrument, bids, asks, now, events);
        })
    }

    /// The best bid and ask, zero where there is none.
    pub fn best(&self, symbol: &str) -> Result<(Decimal, Decimal), VenueError> {
        self.market(symbol, |state, instrument, _| {
            let Quote { bid, ask, .. } = state.engine.book(instrument).quote();
            (bid, ask)
        })
    }

    /// Places a resting limit order of the same account behind the API's back, as a person would
    /// by hand. Returns the exchange's id.
    pub fn place_by_hand(
        &self,
        symbol: &str,
        client_id: &str,
        side: Side,
        price: Decimal,
        quantity: Decimal,
    ) -> Result<String, VenueError> {
        positive("price", price)?;
        positive("quantity", quantity)?;
        let placed = self.market(symbol, |state, instrument, events| {
            let now = state.now();
            let order = NewOrder {
                instrument,
                side,
                kind: OrderKind::Limit,
                time_in_force: TimeInForce::Gtc,
                post_only: false,
                reduce_only: false,
                price: Some(price),
                amount: Amount::Base(quantity),
                client_id: client_id.into(),
                user_reference: None,
            };
            state.engine.place(order, now, events)
        })?;
        match placed {
            Ok(id) => Ok(self.shared.with(|inner| inner.protocol.order_id(id))),
            Err(reject) => Err(VenueError::Refused {
                venue: self.shared.name,
                client_id: client_id.to_owned(),
                reason: format!("{reject:?}"),
            }),
        }
    }

    /// Ends every WebSocket's TCP connection without a close frame.
    pub fn drop_connections(&self, how: Disconnect) {
        for peer in self.shared.with(|inner| inner.state.peers()) {
            peer.push(Outgoing::Disturb(Disturbance::Drop(how)), Duration::ZERO);
        }
    }

    /// Closes every WebSocket with a close frame.
    pub fn close_connections(&self, code: u16, reason: &str) {
        for peer in self.shared.with(|inner| inner.state.peers()) {
            let close = Outgoing::Close { code, reason: reason.to_owned() };
            peer.push(close, Duration::ZERO);
        }
    }

    fn market<R>(
        &self,
        symbol: &str,
        act: impl FnOnce(&mut VenueState, InstrumentId, &mut Vec<EngineEvent>) -> R,
    ) -> Result<R, VenueError> {
        self.shared.command(|state, events| {
            let found = state.instruments.iter().position(|listed| {
                *listed.symbol == *symbol
                    || symbol.split_once('/').is_some_and(|(base, quote)| {
                        *listed.base == *base && *listed.quote == *quote
                    })
            });
            match found {
                Some(instrument) => Ok(act(state, instrument, events)),
                None => Err(VenueError::UnknownSymbol {
                    venue: self.shared.name,
                    symbol: symbol.to_owned(),
                    listed: state
                        .instruments
                        .iter()
                        .map(|listed| &*listed.symbol)
                        .collect::<Vec<_>>()
                        .join(", "),
                }),
            }
        })
    }
}

fn positive(what: &'static str, value: Decimal) -> Result<(), VenueError> {
    if value > Decimal::ZERO { Ok(()) } else { Err(VenueError::NotPositive { what, value }) }
}
