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
        if let Some(contract) = &instrument.contract {
            return contract.settlement.clone();
        }
        match order.side {
            Side::Buy => instrument.quote.clone(),
            Side::Sell => instrument.base.clone(),
        }
    }

    pub(super) fn lock_needed(&self, order: &Order) -> Decimal {
        if let (Some(contract), Some(price)) =
            (&self.instruments[order.instrument].contract, order.price)
        {
            let opens = !order.reduce_only;
            return if opens { contract.margin(price, order.remaining()) } else { Decimal::ZERO };
        }
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
            let sequence = self.next_sequence(instrument);
            let time = now;
            let trade =
                PublicTrade { instrument, id, sequence, price, quantity, taker, taker_kind, time };
            events.push(EngineEvent::Trade(trade));
            if let Some(order) = taker_order {
                self.book_fill(order, (id, sequence), price, quantity, false, now, events);
            }
            if let Owner::Account(order) = maker {
                self.book_fill(order, (id, sequence), price, quantity, true, now, events);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one fill has this many facts")]
    pub(super) fn book_fill(
        &mut self,
        order_id: OrderId,
        (trade_id, sequence): (u64, u64),
        price: Decimal,
        quantity: Decimal,
        maker: bool,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        let Some(mut order) = self.orders.remove(&order_id) else { return };
        let listed = self.instruments[order.instrument].clone();
        let quantity = if order.reduce_only {
            // An order of the same sweep may have closed the position.
            quantity.min(self.positions[order.instrument].reducible(order.side))
        } else {
            quantity
        };
        if quantity.is_zero() {
            self.orders.insert(order_id, order);
            return;
        }
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
        let (fee, fee_asset) = match (&listed.contract, self.fee_asset, order.side) {
            (Some(contract), ..) => {
                (contract.value(price, quantity) * rate, contract.settlement.clone())
            }
            (None, FeeAsset::Received, Side::Buy) => (quantity * rate, listed.base.clone()),
            _ => (cost * rate, listed.quote.clone()),
        };
        let fee = fee.round_dp(8);
        let mut profit = Decimal::ZERO;
        if let Some(contract) = &listed.contract {
            let position = &mut self.positions[order.instrument];
            profit = position.fill(contract, order.side, price, quantity);
            self.account.credit(&contract.settlement, profit);
        } else {
            self.account.credit(&listed.base, order.side.signed(quantity));
            self.account.credit(&listed.quote, -order.side.signed(cost));
        }
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
            sequence,
            profit,
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
        self.trim_reducing(instrument, now, events);
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

    /// What may be spent: free money less the margin of the positions.
    pub(crate) fn available(&self, asset: &str) -> Decimal {
        self.account.free(asset) - self.positions_margin(asset)
    }

    /// Margin of the positions that are settled in an asset, at their average prices.
    pub(crate) fn positions_margin(&self, asset: &str) -> Decimal {
        let positions = self.instruments.iter().zip(&self.positions);
        let margins = positions.filter_map(|(instrument, position)| {
            let contract = instrument.contract.as_ref().filter(|c| *c.settlement == *asset)?;
            Some(contract.margin(position.average_price, position.size.abs()))
        });
        margins.sum()
    }

    /// Cuts reduce-only orders down to the position that is left, and takes out those that would
    /// open one.
    fn trim_reducing(
        &mut self,
        instrument: InstrumentId,
        now: Timestamp,
        events: &mut Vec<EngineEvent>,
    ) {
        if self.instruments[instrument].contract.is_none() {
            return;
        }
        let position = self.positions[instrument];
        let reducing: Vec<Order> = self
            .open_orders()
            .filter(|order| order.reduce_only && order.instrument == instrument)
            .cloned()
            .collect();
        for order in reducing {
            let Some(price) = order.price else { continue };
            let rest = order.remaining().min(position.reducible(order.side));
            if rest == order.remaining() {
                continue;
            }
            let book = &mut self.books[instrument];
            book.remove(order.side, price, order.id);
            if rest.is_zero() {
                self.close(order.id, OrderStatus::Expired, OrderChange::Expired, now, events);
                continue;
            }
            book.rest(order.side, price, Owner::Account(order.id), rest);
            let order = Order { quantity: order.filled + rest, updated: now, ..order };
            events.push(EngineEvent::Order { order: order.clone(), change: OrderChange::Amended });
            self.orders.insert(order.id, order);
        }
    }
}
