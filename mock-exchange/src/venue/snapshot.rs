//! The ledger's snapshot of one venue.

use super::VenueShared;
use crate::engine::Order;
use crate::ledger::{ExchangeLedger, FillRecord, OrderRecord};
use crate::protocol::Protocol;

impl VenueShared {
    pub(crate) fn ledger(&self) -> ExchangeLedger {
        self.with(|inner| {
            let (state, protocol) = (&inner.state, &*inner.protocol);
            let engine = &state.engine;
            let fills = engine.fills().map(|fill| FillRecord {
                trade_id: fill.trade_id,
                client_id: fill.client_id.to_string(),
                exchange_id: protocol.order_id(fill.order_id),
                symbol: state.instruments[fill.instrument].symbol.to_string(),
                side: fill.side,
                price: fill.price,
                quantity: fill.quantity,
                fee: fill.fee,
                fee_asset: fill.fee_asset.to_string(),
                maker: fill.maker,
                time: fill.time,
            });
            let balances = engine.account().balances().iter();
            ExchangeLedger {
                open_orders: engine.open_orders().map(|o| record(o, protocol)).collect(),
                orders: engine.orders().map(|o| record(o, protocol)).collect(),
                fills: fills.collect(),
                cancels: state.cancels(),
                connections: state.connection_records(),
                requests: state.requests(),
                balances: balances.map(|(asset, held)| (asset.to_string(), *held)).collect(),
                positions: engine.open_positions().collect(),
                cancels_at: protocol.cancels_at(),
            }
        })
    }
}

fn record(order: &Order, protocol: &dyn Protocol) -> OrderRecord {
    OrderRecord {
        client_id: order.client_id.to_string(),
        exchange_id: protocol.order_id(order.id),
        symbol: order.symbol.to_string(),
        side: order.side,
        kind: order.kind,
        time_in_force: order.time_in_force,
        post_only: order.post_only,
        reduce_only: order.reduce_only,
        price: order.price,
        quantity: order.quantity,
        status: order.status,
        filled: order.filled,
        average_price: order.average_price(),
        created: order.created,
        updated: order.updated,
    }
}
