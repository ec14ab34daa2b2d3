//! The commands: place, cancel, trade by another participant, quote.

mod settle;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::account::{Account, FeeAsset};
use super::book::{Book, Match, Owner, PriceLevel};
use super::order::{
    Amount, EngineEvent, Fill, Order, OrderChange, OrderId, OrderKind, OrderStatus, Side,
    TimeInForce,
};
use super::position::Position;
use super::stats::Stats;
use crate::instrument::{Instrument, InstrumentId};

/// An order to place. The venue has already checked ticks, steps and minima.
#[derive(Clone, Debug)]
pub(crate) struct NewOrder {
    pub(crate) instrument: InstrumentId,
    pub(crate) side: Side,
    pub(crate) kind: OrderKind,
    pub(crate) time_in_force: TimeInForce,
    pub(crate) post_only: bool,
    pub(crate) reduce_only: bool,
    pub(crate) price: Option<Decimal>,
    pub(crate) amount: Amount,
    pub(crate) client_id: Arc<str>,
    pub(crate) user_reference: Option<i64>,
}

/// Why the engine refused an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    InsufficientBalance,
    /// A post-only order that would trade.
    WouldTake,
    /// An open order has the same client id.
    DuplicateClientId,
    /// A scripted fault refused it.
    Fault {
        code: Option<i64>,
        text: String,
    },
}

/// Books, orders and balances of one venue.
#[derive(Debug)]
pub(crate) struct Engine {
    instruments: Arc<[Instrument]>,
    books: Vec<Book>,
    stats: Vec<Stats>,
    account: Account,
    positions: Vec<Position>,
    sequences: Vec<u64>,
    shared_client_ids: bool,
    orders: BTreeMap<OrderId, Order>,
    open: BTreeSet<OrderId>,
    closed: VecDeque<OrderId>,
    client_ids: HashMap<Arc<str>, OrderId>,
    fills: VecDeque<Fill>,
    next_order_id: OrderId,
    next_trade_id: u64,
    fee_asset: FeeAsset,
    maker_fee: Decimal,
    taker_fee: Decimal,
    history: usize,
}

impl Engine {
    pub(crate) fn new(
        instruments: Arc<[Instrument]>,
        fee_asset: FeeAsset,
        (maker_fee, taker_fee): (Decimal, Decimal),
        history: usize,
    ) -> Self {
        let books = instruments.iter().map(|_| Book::default()).collect();
        let positions = vec![Position::default(); instruments.len()];
        let sequences = vec![0; instruments.len()];
        let stats = instruments.iter().map(|i| Stats::starting_at(i.reference)).collect();
        Self {
            instruments,
            books,
            stats,
            account: Account::default(),
            positions,
            sequences,
            shared_client_ids: false,
            orders: BTreeMap::new(),
            open: BTreeSet::new(),
            closed: VecDeque::new(),
            client_ids: HashMap::new(),
            fills: VecDeque::new(),
            next_order_id: 1,
            next_trade_id: 1,
            fee_asset,
            maker_fee,
            taker_fee,
            history: history.max(1),
        }
    }

    /// Lets several open orders have the same client id.
    pub(crate) fn share_client_ids(&mut self) {
        self.shared_client_ids = true;
    }

    pub(crate) fn instruments(&self) -> &Arc<[Instrument]> {
        &self.instruments
    }

    pub(crate) fn book(&self, instrument: InstrumentId) -> &Book {
        &self.books[instrument]
    }

    pub(crate) fn stats(&self, instrument: InstrumentId) -> &Stats {
        &self.stats[instrument]
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    pub(crate) fn position(&self, instrument: InstrumentId) -> &Position {
        &self.positions[instrument]
    }

    /// Symbols and sizes of the positions that are not closed.
    pub(crate) fn open_positions(&self) -> impl Iterator<Item = (String, Decimal)> {
        let held = self.instruments.iter().zip(&self.positions);
        held.filter(|(_, position)| !position.size.is_zero())
            .map(|(instrument, position)| (instrument.symbol.to_string(), position.size))
    }

    pub(crate) fn fees(&self) -> (Decimal, Decimal) {
        (self.maker_fee, self.taker_fee)
    }

    /// Adds money, without an event.
    pub(crate) fn deposit(&mut self, asset: &Arc<str>, amount: Decimal) {
        self.account.credit(asset, amount);
        self.account.drain_touched();
    }

    pub(crate) fn order(&self, id: OrderId) -> Option<&Order> {
        self.orders.get(&id)
    }

    /// The latest order with this client id, open or not.
    pub(crate) fn order_by_client_id(&self, client_id: &str) -> Option<&Order> {
        self.client_ids.get(client_id).and_then(|id| self.orders.get(id))
    }

    /// All kept orders, oldest first.
    pub(crate) fn orders(&self) -> impl DoubleEndedIterator<Item = &Order> {
        self.orders.values()
    }

    /// Orders in the book, oldest first.
    pub(crate) fn open_orders(&self) -> impl DoubleEndedIterator<Item = &Order> {
        self.open.iter().filter_map(|id| self.orders.get(id))
    }

    /// All kept fills, oldest first.
    pub(crate) fn fills(&self) -> impl DoubleEndedIterator<Item = &Fill> {
        self.fills.iter()
    }

    /// Takes a trade number, for a trade that only shows on the tape.
    pub(crate) fn next_trade_id(&mut self) -> u64 {
        let id = self.next_trade_id;
        self.next_trade_id += 1;
        id
    }

    /// Takes a trade's number within its instrument.
    pub(crate) fn next_sequence(&mut self, instrument: InstrumentId) -> u64 {
        self.sequences[instrument] += 1;
        self.sequences[instrument]
    }

    /// Places an order and reports its id with what followed from it.
    pub(crate) fn place(
        &mut self,
        new: NewOrder,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) -> Result<OrderId, Reject> {
        let quantity = self.check(&new)?;
        let id = self.next_order_id;
        self.next_order_id += 1;
        let quote_quantity = match new.amount {
            Amount::Quote(quote) => quote,
            Amount::Base(_) => Decimal::ZERO,
        };
        let mut order = Order {
            id,
            client_id: new.client_id.clone(),
            user_reference: new.user_reference,
            instrument: new.instrument,
            symbol: self.instruments[new.instrument].symbol.clone(),
            side: new.side,
            kind: new.kind,
            time_in_force: new.time_in_force,
            post_only: new.post_only,
            reduce_only: new.reduce_only,
            price: new.price,
            quantity,
            quote_quantity,
            filled: Decimal::ZERO,
            filled_quote: Decimal::ZERO,
            status: OrderStatus::New,
            locked: Decimal::ZERO,
            created: now,
            updated: now,
        };
        order.locked = self.lock_needed(&order);
        let spent = self.spent_asset(&order);
        self.account.lock(&spent, order.locked);
        events.push(EngineEvent::Order { order: order.clone(), change: OrderChange::New });
        if !new.client_id.is_empty() {
            self.client_ids.insert(new.client_id, id);
        }
        self.open.insert(id);
        self.orders.insert(id, order);

        let book = &mut self.books[new.instrument];
        let fillable = book.available(new.side, new.price, quantity).0;
        let rest = if new.time_in_force == TimeInForce::Fok && fillable < quantity {
            quantity
        } else {
            let matches = book.take(new.side, new.price, quantity);
            let traded: Decimal = matches.iter().map(|m| m.quantity).sum();
            self.settle(new.instrument, new.side, new.kind, Some(id), &matches, now, events);
            quantity - traded
        };
        if !rest.is_zero() {
            match (new.price, new.time_in_force) {
                (Some(price), TimeInForce::Gtc) if new.kind == OrderKind::Limit => {
                    self.books[new.instrument].rest(new.side, price, Owner::Account(id), rest);
                }
                _ => self.close(id, OrderStatus::Expired, OrderChange::Expired, now, events),
            }
        } else if quantity.is_zero() {
            self.close(id, OrderStatus::Expired, OrderChange::Expired, now, events);
        }
        self.finish(new.instrument, now, events);
        Ok(id)
    }

    /// Takes an open order out; false when it is not open.
    pub(crate) fn cancel(
        &mut self,
        id: OrderId,
        cancel_id: Option<Arc<str>>,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) -> bool {
        if !self.open.contains(&id) {
            return false;
        }
        let Some(order) = self.orders.get(&id) else { return false };
        let (instrument, side, price) = (order.instrument, order.side, order.price);
        if let Some(price) = price {
            self.books[instrument].remove(side, price, id);
        }
        self.close(id, OrderStatus::Canceled, OrderChange::Canceled { cancel_id }, now, events);
        self.finish(instrument, now, events);
        true
    }

    /// Changes price and total quantity of an open limit order in place; it loses its priority.
    /// False when it is not open.
    pub(crate) fn amend(
        &mut self,
        id: OrderId,
        quantity: Decimal,
        price: Decimal,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) -> Result<bool, Reject> {
        let Some(old) = self.open.get(&id).and_then(|id| self.orders.get(id)) else {
            return Ok(false);
        };
        let Some(old_price) = old.price else { return Ok(false) };
        let quantity = if old.reduce_only {
            let most = self.positions[old.instrument].reducible(old.side);
            quantity.min(old.filled + most)
        } else {
            quantity
        };
        let mut order = Order { quantity, price: Some(price), updated: now, ..old.clone() };
        let (instrument, side) = (order.instrument, order.side);
        if order.remaining() <= Decimal::ZERO {
            return Ok(false);
        }
        if order.post_only && self.books[instrument].crosses(side, price) {
            return Err(Reject::WouldTake);
        }
        let spent = self.spent_asset(&order);
        let locked = self.lock_needed(&order);
        if locked - order.locked > self.available(&spent) {
            return Err(Reject::InsufficientBalance);
        }
        self.account.lock(&spent, locked - order.locked);
        order.locked = locked;
        let remaining = order.remaining();
        self.books[instrument].remove(side, old_price, id);
        events.push(EngineEvent::Order { order: order.clone(), change: OrderChange::Amended });
        self.orders.insert(id, order);
        let matches = self.books[instrument].take(side, Some(price), remaining);
        let traded: Decimal = matches.iter().map(|m| m.quantity).sum();
        self.settle(instrument, side, OrderKind::Limit, Some(id), &matches, now, events);
        self.books[instrument].rest(side, price, Owner::Account(id), remaining - traded);
        self.finish(instrument, now, events);
        Ok(true)
    }

    /// Fills an open order whole, or up to `quantity`, against another participant at its price.
    pub(crate) fn fill(
        &mut self,
        id: OrderId,
        quantity: Option<Decimal>,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        let Some(order) = self.open.get(&id).and_then(|id| self.orders.get(id)) else { return };
        let Some(price) = order.price else { return };
        let (instrument, side) = (order.instrument, order.side);
        let quantity = quantity.unwrap_or(order.remaining()).min(order.remaining());
        let rest = order.remaining() - quantity;
        self.books[instrument].remove(side, price, id);
        let filled = [Match { maker: Owner::Account(id), price, quantity }];
        self.settle(instrument, side.opposite(), OrderKind::Market, None, &filled, now, events);
        self.books[instrument].rest(side, price, Owner::Account(id), rest);
        self.finish(instrument, now, events);
    }

    /// Another participant trades `quantity` at `price`: makers with better prices step back, own
    /// orders up to the price are filled, and what finds nobody trades with a hidden order, so
    /// that the tape always shows the whole quantity.
    pub(crate) fn trade(
        &mut self,
        instrument: InstrumentId,
        taker: Side,
        price: Decimal,
        quantity: Decimal,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        let maker = taker.opposite();
        let book = &mut self.books[instrument];
        book.clear_market(|side, level| match (side == maker, maker) {
            (false, _) => true,
            (true, Side::Buy) => level <= price,
            (true, Side::Sell) => level >= price,
        });
        let mut matches = book.take(taker, Some(price), quantity);
        let rest = quantity - matches.iter().map(|m| m.quantity).sum::<Decimal>();
        if !rest.is_zero() {
            matches.push(Match { maker: Owner::Market, price, quantity: rest });
        }
        self.settle(instrument, taker, OrderKind::Limit, None, &matches, now, events);
        self.finish(instrument, now, events);
    }

    /// Replaces the other participants' levels. A level that meets an own order trades with it.
    pub(crate) fn set_market(
        &mut self,
        instrument: InstrumentId,
        bids: &[PriceLevel],
        asks: &[PriceLevel],
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        self.books[instrument].clear_market(|_, _| false);
        for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
            for (price, quantity) in levels {
                let book = &mut self.books[instrument];
                let matches = if book.crosses(side, *price) {
                    book.take(side, Some(*price), *quantity)
                } else {
                    Vec::new()
                };
                let rest = *quantity - matches.iter().map(|m| m.quantity).sum::<Decimal>();
                book.rest(side, *price, Owner::Market, rest);
                self.settle(instrument, side, OrderKind::Limit, None, &matches, now, events);
            }
        }
        self.finish(instrument, now, events);
    }

    fn check(&self, new: &NewOrder) -> Result<Decimal, Reject> {
        let same = self.order_by_client_id(&new.client_id);
        if !self.shared_client_ids && same.is_some_and(|order| order.status.is_open()) {
            return Err(Reject::DuplicateClientId);
        }
        let instrument = &self.instruments[new.instrument];
        let book = &self.books[new.instrument];
        let quantity = match new.amount {
            Amount::Base(quantity) => quantity,
            Amount::Quote(quote) => book.quantity_for(new.side, quote, instrument.step),
        };
        if let (true, Some(price)) = (new.post_only, new.price)
            && book.crosses(new.side, price)
        {
            return Err(Reject::WouldTake);
        }
        if let Some(contract) = &instrument.contract {
            if new.reduce_only {
                return Ok(quantity.min(self.positions[new.instrument].reducible(new.side)));
            }
            let best = book.best(new.side.opposite()).map(|(price, _)| price);
            let price = new.price.or(best).unwrap_or_default();
            if contract.margin(price, quantity) > self.available(&contract.settlement) {
                return Err(Reject::InsufficientBalance);
            }
            return Ok(quantity);
        }
        let (asset, needed) = match (new.side, new.price) {
            (Side::Sell, _) => (&instrument.base, quantity),
            (Side::Buy, Some(price)) => {
                (&instrument.quote, quantity * price * (Decimal::ONE + self.quote_fee()))
            }
            (Side::Buy, None) => {
                let (_, cost) = book.available(Side::Buy, None, quantity);
                (&instrument.quote, cost * (Decimal::ONE + self.quote_fee()))
            }
        };
        if needed > self.account.free(asset) {
            return Err(Reject::InsufficientBalance);
        }
        Ok(quantity)
    }
}
