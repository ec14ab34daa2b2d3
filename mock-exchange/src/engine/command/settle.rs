//! What a command does to orders, balances and the tape.

use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::Engine;
use crate::engine::account::FeeAsset;
use crate::engine::book::{Match, Owner};
use crate::engine::order::{
    EngineEvent, Fill, Order, OrderChange, OrderId, OrderKind, OrderStatus, PublicTrade, Side,
};
use crate::instrument::InstrumentId;

impl Engine {
    /// The fee that a buyer must be able to pay on top.
    pub(super) fn quote_fee(&self) -> Decimal {
        match self.fee_asset {
            FeeAsset::Received => Decimal::ZERO,
            FeeAsset::Quote => self.taker_fee.max(self.maker_fee),
        }
    }

    pub(super) fn spent_asset(&self, order: &Order) -> Arc<str> {
        let instrument = &self.instruments[order.instrument];
        match order.side {
            Side::Buy => instrument.quote.clone(),
            Side::Sell => instrument.base.clone(),
        }
    }

    pub(super) fn lock_needed(&self, order: &Order) -> Decimal {
        match (order.side, order.price) {
            (_, None) => Decimal::ZERO,
            (Side::Sell, Some(_)) => order.remaining(),
            (Side::Buy, Some(price)) => {
                order.remaining() * price * (Decimal::ONE + self.quote_fee())
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one trade has this many facts")]
    pub(super) fn settle(
        &mut self,
        instrument: InstrumentId,
        taker: Side,
        taker_kind: OrderKind,
        taker_order: Option<OrderId>,
        matches: &[Match],
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        for Match { maker, price, quantity } in matches.iter().copied() {
            let id = self.next_trade_id();
            self.stats[instrument].trade(id, price, quantity);
            let trade =
                PublicTrade { instrument, id, price, quantity, taker, taker_kind, time: now };
            events.push(EngineEvent::Trade(trade));
            if let Some(order) = taker_order {
                self.book_fill(order, id, price, quantity, false, now, events);
            }
            if let Owner::Account(order) = maker {
                self.book_fill(order, id, price, quantity, true, now, events);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one fill has this many facts")]
    pub(super) fn book_fill(
        &mut self,
        order_id: OrderId,
        trade_id: u64,
        price: Decimal,
        quantity: Decimal,
        maker: bool,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        let Some(mut order) = self.orders.remove(&order_id) else { return };
        let listed = self.instruments[order.instrument].clone();
        let cost = price * quantity;
        order.filled += quantity;
        order.filled_quote += cost;
        order.updated = now;
        order.status = if order.remaining().is_zero() {
            OrderStatus::Filled
        } else {
            OrderStatus::PartiallyFilled
        };
        let spent = self.spent_asset(&order);
        let locked = self.lock_needed(&order);
        self.account.unlock(&spent, order.locked - locked);
        order.locked = locked;
        let rate = if maker { self.maker_fee } else { self.taker_fee };
        let (fee, fee_asset) = match (self.fee_asset, order.side) {
            (FeeAsset::Received, Side::Buy) => (quantity * rate, listed.base.clone()),
            _ => (cost * rate, listed.quote.clone()),
        };
        let fee = fee.round_dp(8);
        let signed = if order.side == Side::Buy { Decimal::ONE } else { Decimal::NEGATIVE_ONE };
        self.account.credit(&listed.base, quantity * signed);
        self.account.credit(&listed.quote, -cost * signed);
        self.account.credit(&fee_asset, -fee);
        let fill = Fill {
            trade_id,
            order_id,
            client_id: order.client_id.clone(),
            instrument: order.instrument,
            side: order.side,
            price,
            quantity,
            fee,
            fee_asset,
            maker,
            time: now,
        };
        if self.fills.len() >= self.history {
            self.fills.pop_front();
        }
        self.fills.push_back(fill.clone());
        if order.status == OrderStatus::Filled {
            self.forget_open(order_id);
        }
        events.push(EngineEvent::Order { order: order.clone(), change: OrderChange::Trade(fill) });
        self.orders.insert(order_id, order);
    }

    pub(super) fn close(
        &mut self,
        id: OrderId,
        status: OrderStatus,
        change: OrderChange,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        let Some(mut order) = self.orders.remove(&id) else { return };
        let spent = self.spent_asset(&order);
        self.account.unlock(&spent, order.locked);
        order.locked = Decimal::ZERO;
        order.status = status;
        order.updated = now;
        events.push(EngineEvent::Order { order: order.clone(), change });
        self.orders.insert(id, order);
        self.forget_open(id);
    }

    pub(super) fn forget_open(&mut self, id: OrderId) {
        self.open.remove(&id);
        self.closed.push_back(id);
        if self.closed.len() > self.history
            && let Some(old) = self.closed.pop_front()
            && let Some(order) = self.orders.remove(&old)
            && self.client_ids.get(&order.client_id) == Some(&old)
        {
            self.client_ids.remove(&order.client_id);
        }
    }

    pub(super) fn finish(
        &mut self,
        instrument: InstrumentId,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        let assets = self.account.drain_touched();
        if !assets.is_empty() {
            events.push(EngineEvent::Balances { assets, time: now });
        }
        let book = &mut self.books[instrument];
        let Some(changes) = book.drain_changes() else { return };
        let last_id = book.update_id();
        events.push(EngineEvent::Book {
            instrument,
            first_id: changes.first_id,
            last_id,
            bids: changes.bids,
            asks: changes.asks,
            time: now,
        });
        if let Some(quote) = changes.quote {
            events.push(EngineEvent::Quote { instrument, quote, update_id: last_id, time: now });
        }
    }
}
