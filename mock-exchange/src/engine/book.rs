//! One instrument's book: price, then time.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;

use super::order::{OrderId, Quote, Side};

/// Who stands behind resting quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Other participants, who never run out of money.
    Market,
    /// The test account.
    Account(OrderId),
}

#[derive(Clone, Debug, Default)]
struct Level {
    total: Decimal,
    queue: VecDeque<(Owner, Decimal)>,
}

/// A trade between the incoming order and one resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) maker: Owner,
    pub(crate) price: Decimal,
    pub(crate) quantity: Decimal,
}

/// A price and a quantity at it.
pub(crate) type PriceLevel = (Decimal, Decimal);

/// Resting orders of one instrument.
#[derive(Debug, Default)]
pub(crate) struct Book {
    bids: BTreeMap<Decimal, Level>,
    asks: BTreeMap<Decimal, Level>,
    /// Totals before the first change since the last `drain_changes`.
    touched: BTreeMap<(Side, Decimal), Decimal>,
    last_quote: Quote,
    update_id: u64,
}

impl Book {
    fn side(&self, side: Side) -> &BTreeMap<Decimal, Level> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Decimal, Level> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    fn touch(&mut self, side: Side, price: Decimal) {
        let total = self.side(side).get(&price).map_or(Decimal::ZERO, |level| level.total);
        self.touched.entry((side, price)).or_insert(total);
    }

    /// The best price of a side and the quantity at it.
    pub(crate) fn best(&self, side: Side) -> Option<PriceLevel> {
        let entry = match side {
            Side::Buy => self.bids.last_key_value(),
            Side::Sell => self.asks.first_key_value(),
        };
        entry.map(|(price, level)| (*price, level.total))
    }

    /// The best prices of both sides.
    pub(crate) fn quote(&self) -> Quote {
        let (bid, bid_quantity) = self.best(Side::Buy).unwrap_or_default();
        let (ask, ask_quantity) = self.best(Side::Sell).unwrap_or_default();
        Quote { bid, bid_quantity, ask, ask_quantity }
    }

    /// Number of the last change.
    pub(crate) fn update_id(&self) -> u64 {
        self.update_id
    }

    /// Up to `depth` levels, best first.
    pub(crate) fn levels(&self, side: Side, depth: usize) -> Vec<PriceLevel> {
        let pair = |(price, level): (&Decimal, &Level)| (*price, level.total);
        match side {
            Side::Buy => self.bids.iter().rev().take(depth).map(pair).collect(),
            Side::Sell => self.asks.iter().take(depth).map(pair).collect(),
        }
    }

    /// Whether an order of `taker` at `limit` would trade at once.
    pub(crate) fn crosses(&self, taker: Side, limit: Decimal) -> bool {
        self.best(taker.opposite()).is_some_and(|(price, _)| within(taker, price, Some(limit)))
    }

    /// Quantity that `taker` could trade within `limit`, and its cost.
    pub(crate) fn available(
        &self,
        taker: Side,
        limit: Option<Decimal>,
        quantity: Decimal,
    ) -> (Decimal, Decimal) {
        let mut rest = quantity;
        let mut cost = Decimal::ZERO;
        for (price, total) in self.levels(taker.opposite(), usize::MAX) {
            if rest.is_zero() || !within(taker, price, limit) {
                break;
            }
            let part = rest.min(total);
            rest -= part;
            cost += part * price;
        }
        (quantity - rest, cost)
    }

    /// Base quantity, in whole steps, that `quote` buys or sells for.
    pub(crate) fn quantity_for(&self, taker: Side, quote: Decimal, step: Decimal) -> Decimal {
        let mut rest = quote;
        let mut quantity = Decimal::ZERO;
        for (price, total) in self.levels(taker.opposite(), usize::MAX) {
            let part = (rest / price / step).floor() * step;
            let part = part.min(total);
            quantity += part;
            rest -= part * price;
            if part < total {
                break;
            }
        }
        quantity
    }

    /// Trades up to `quantity` within `limit` against the other side.
    pub(crate) fn take(
        &mut self,
        taker: Side,
        limit: Option<Decimal>,
        mut quantity: Decimal,
    ) -> Vec<Match> {
        let maker_side = taker.opposite();
        let mut matches = Vec::new();
        while !quantity.is_zero() {
            let Some((price, _)) = self.best(maker_side) else { break };
            if !within(taker, price, limit) {
                break;
            }
            self.touch(maker_side, price);
            let levels = self.side_mut(maker_side);
            let Some(level) = levels.get_mut(&price) else { break };
            while let Some((maker, resting)) = level.queue.front_mut() {
                let part = quantity.min(*resting);
                matches.push(Match { maker: *maker, price, quantity: part });
                *resting -= part;
                level.total -= part;
                quantity -= part;
                if resting.is_zero() {
                    level.queue.pop_front();
                }
                if quantity.is_zero() {
                    break;
                }
            }
            if level.queue.is_empty() {
                levels.remove(&price);
            }
        }
        matches
    }

    /// Puts quantity at the end of a level's queue.
    pub(crate) fn rest(&mut self, side: Side, price: Decimal, owner: Owner, quantity: Decimal) {
        if quantity.is_zero() {
            return;
        }
        self.touch(side, price);
        let level = self.side_mut(side).entry(price).or_default();
        level.total += quantity;
        level.queue.push_back((owner, quantity));
    }

    /// Takes an own order out.
    pub(crate) fn remove(&mut self, side: Side, price: Decimal, id: OrderId) {
        self.touch(side, price);
        let levels = self.side_mut(side);
        let Some(level) = levels.get_mut(&price) else { return };
        level.queue.retain(|(owner, quantity)| {
            let keep = *owner != Owner::Account(id);
            if !keep {
                level.total -= *quantity;
            }
            keep
        });
        if level.queue.is_empty() {
            levels.remove(&price);
        }
    }

    /// Takes out the other participants' quantity at every level that `keep` does not want.
    pub(crate) fn clear_market(&mut self, mut keep: impl FnMut(Side, Decimal) -> bool) {
        for side in [Side::Buy, Side::Sell] {
            let prices: Vec<Decimal> =
                self.side(side).keys().copied().filter(|price| !keep(side, *price)).collect();
            for price in prices {
                self.touch(side, price);
                let levels = self.side_mut(side);
                let Some(level) = levels.get_mut(&price) else { continue };
                level.queue.retain(|(owner, _)| *owner != Owner::Market);
                level.total = level.queue.iter().map(|(_, quantity)| *quantity).sum();
                if level.queue.is_empty() {
                    levels.remove(&price);
                }
            }
        }
    }

    /// The levels that differ since the last call, and the new best prices if they differ.
    pub(crate) fn drain_changes(&mut self) -> Option<Changes> {
        if self.touched.is_empty() {
            return None;
        }
        let mut changes = Changes { first_id: self.update_id + 1, ..Changes::default() };
        for ((side, price), before) in std::mem::take(&mut self.touched) {
            let now = self.side(side).get(&price).map_or(Decimal::ZERO, |level| level.total);
            if now == before {
                continue;
            }
            self.update_id += 1;
            match side {
                Side::Buy => changes.bids.push((price, now)),
                Side::Sell => changes.asks.push((price, now)),
            }
        }
        changes.bids.reverse();
        if self.update_id < changes.first_id {
            return None;
        }
        let quote = self.quote();
        if quote != self.last_quote {
            self.last_quote = quote;
            changes.quote = Some(quote);
        }
        Some(changes)
    }
}

/// What changed in a book: levels with their new totals, best first.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) first_id: u64,
    pub(crate) bids: Vec<PriceLevel>,
    pub(crate) asks: Vec<PriceLevel>,
    pub(crate) quote: Option<Quote>,
}

fn within(taker: Side, price: Decimal, limit: Option<Decimal>) -> bool {
    match (taker, limit) {
        (_, None) => true,
        (Side::Buy, Some(limit)) => price <= limit,
        (Side::Sell, Some(limit)) => price >= limit,
    }
}
