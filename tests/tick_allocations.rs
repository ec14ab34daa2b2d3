//! A tick costs no allocation once buffers have grown: counted, not timed.

use std::sync::Arc;

use exchange_gateway::exchange::{AdapterKind, AdapterSetup, Outbox, SymbolTable};
use exchange_gateway::types::{ExchangeName, InstrumentSpec, Quantity, Timestamp};
use rust_decimal::Decimal;

/// Decodes each message a thousand times after a first time, and counts.
fn allocations(adapter: AdapterKind, symbol: &str, messages: &[&str]) -> u64 {
    let exchange = ExchangeName::new(adapter.as_str()).expect("it is well formed");
    let endpoints = adapter.production();
    let built = adapter.build(AdapterSetup { exchange, endpoints, credentials: None });
    let spec = InstrumentSpec {
        instrument: exchange.instrument("BTC-USDT").expect("it is well formed"),
        symbol: symbol.into(),
        tick_size: Decimal::new(1, 2),
        lot_size: Decimal::new(1, 8),
        min_quantity: Quantity::ZERO,
        max_quantity: None,
        min_notional: None,
        tick_size_steps: Vec::new(),
        contract_size: None,
    };
    let mut session = built.market_session(Arc::new(SymbolTable::new([spec])));
    let mut out = Outbox::default();
    session.opened(Timestamp::UNIX_EPOCH, &mut out);
    out.clear();
    let mut decode = |times: usize| {
        let mut ticks = 0;
        for _ in 0..times {
            for text in messages {
                session.received(text, Timestamp::UNIX_EPOCH, &mut out).expect("it is well formed");
                ticks += out.ticks.len();
                out.ticks.clear();
            }
        }
        assert_eq!((out.events.len(), out.messages.len()), (0, 0));
        ticks
    };
    assert!(decode(1) >= messages.len());
    allocation_counter::measure(|| assert!(decode(1000) >= 1000 * messages.len())).count_total
}

#[test]
fn decoding_a_binance_tick_allocates_nothing() {
    let messages = [
        r#"{"stream":"btcusdt@bookTicker","data":{"u":400900217,"s":"BTCUSDT","b":"60000.35190000","B":"31.21000000","a":"60000.36520000","A":"40.66000000"}}"#,
        r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":12345,"p":"60000.10000000","q":"0.00100000","T":1672515782136,"m":true,"M":true}}"#,
    ];
    assert_eq!(allocations(AdapterKind::Binance, "BTCUSDT", &messages), 0);
}

#[test]
fn decoding_a_kraken_tick_allocates_nothing() {
    let messages = [
        r#"{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USDT","bid":60000.1,"bid_qty":740.0,"ask":60000.2,"ask_qty":0.00027625,"last":60000.1,"volume":997038.98383185,"vwap":60001.5,"low":59000.1,"high":61000.2,"change":-17.5,"change_pct":-0.17,"timestamp":"2023-09-25T09:04:31.742648Z"}]}"#,
        r#"{"channel":"trade","type":"update","data":[{"symbol":"BTC/USDT","side":"buy","price":60000.20,"qty":0.00027625,"ord_type":"limit","trade_id":10218208,"timestamp":"2023-10-06T17:35:55.440295Z"},{"symbol":"BTC/USDT","side":"sell","price":60000.10,"qty":0.00012460,"ord_type":"market","trade_id":10218209,"timestamp":"2023-10-06T17:35:56.123456Z"}]}"#,
    ];
    assert_eq!(allocations(AdapterKind::Kraken, "BTC/USDT", &messages), 0);
}

#[test]
fn decoding_a_deribit_tick_allocates_nothing() {
    let messages = [
        r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"quote.BTC-PERPETUAL","data":{"timestamp":1765541767174,"instrument_name":"BTC-PERPETUAL","best_ask_price":92288.5,"best_bid_price":null,"best_ask_amount":99470.0,"best_bid_amount":1.6e-7}}}"#,
        r#"{"jsonrpc":"2.0","method":"subscription","params":{"channel":"trades.BTC-PERPETUAL.100ms","data":[{"timestamp":1765531356452,"price":92294.5,"amount":10.0,"direction":"sell","index_price":92276.75,"instrument_name":"BTC-PERPETUAL","trade_seq":271252854,"mark_price":92287.11,"tick_direction":2,"contracts":1.0,"combo_trade_id":"43","trade_id":"403691824"},{"timestamp":1765531356452,"price":92288.5,"amount":750,"direction":"buy","instrument_name":"BTC-PERPETUAL","trade_seq":271252855,"trade_id":"BTC-403691825"}]}}"#,
        r#"{"params":{"data":[{"trade_id":"403691826","timestamp":1765531356452,"price":92294.5,"amount":10.0,"direction":"sell","instrument_name":"BTC-PERPETUAL"}],"channel":"trades.BTC-PERPETUAL.100ms"},"method":"subscription","jsonrpc":"2.0"}"#,
    ];
    assert_eq!(allocations(AdapterKind::Deribit, "BTC-PERPETUAL", &messages), 0);
}
