//! An order that breaks a rule is refused before the wire, naming the rule; one that the exchange
//! rejects is told in its words.

mod common;

use common::{BOTH, Bench, instrument, resting, within};
use exchange_gateway::OrderError;
use exchange_gateway::shutdown::Outcome;
use exchange_gateway::types::{NewOrder, OrderStatus, Side};
use mock_exchange::FaultAction;

fn limit(exchange: &str, price: &str, quantity: &str) -> NewOrder {
    let (price, quantity) = (price.parse().expect("a price"), quantity.parse().expect("a number"));
    NewOrder::limit(instrument(exchange), Side::Buy, price, quantity)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_breaks_a_rule_is_refused_before_the_wire() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let spec = gateway.instrument(instrument(exchange)).expect("it is configured");
        let notional = spec.min_notional.expect("both exchanges have one");
        let cases = [
            (limit(exchange, "20000.000001", "0.01"), format!("tick size {}", spec.tick_size)),
            (limit(exchange, "20000", "0.0100000001"), format!("lot size {}", spec.lot_size)),
            (limit(exchange, "20000", "0.000001"), format!("minimum {}", spec.min_quantity)),
            (limit(exchange, "1", "0.01"), format!("below the minimum {notional}")),
            (limit(exchange, "20000", "0"), "must be above zero".to_owned()),
            (limit(exchange, "20000", "-1"), "must be above zero".to_owned()),
            (limit(exchange, "-20000", "1"), "must be above zero".to_owned()),
        ];
        for (order, named) in cases {
            let refused = gateway.orders().submit(order).await.expect_err("it breaks a rule");
            assert!(matches!(refused, OrderError::Invalid(_)), "{refused:?}");
            let shown = refused.to_string();
            assert!(shown.contains(&named), "{exchange}: `{shown}` does not say `{named}`");
            assert!(shown.contains(&instrument(exchange).to_string()), "{shown}");
        }
        let mut unknown = resting(exchange);
        unknown.instrument = format!("{exchange}:DOGE-USDT").parse().expect("an instrument");
        let refused = gateway.orders().submit(unknown).await.expect_err("it is not configured");
        assert!(matches!(refused, OrderError::UnknownInstrument { .. }), "{refused:?}");
        assert!(refused.to_string().contains("DOGE-USDT"), "{refused}");
        assert_eq!(bench.venue(exchange).ledger().requests, [], "{exchange}");
    }
    let mut elsewhere = resting("kraken");
    elsewhere.instrument = "nasdaq:BTC-USDT".parse().expect("an instrument");
    let refused = gateway.orders().submit(elsewhere).await.expect_err("it is not configured");
    assert!(matches!(refused, OrderError::UnknownInstrument { .. }), "{refused:?}");
    assert!(gateway.orders().unfinished().is_empty());
    assert_eq!(within(gateway.shutdown()).await.outcome, Outcome::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_without_trading_takes_no_order_and_opens_no_login() {
    let mut bench = Bench::start(BOTH).await;
    for exchange in &mut bench.config.exchanges {
        exchange.trading = false;
        exchange.credentials = None;
    }
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let refused = gateway.orders().submit(resting(exchange)).await.expect_err("market data");
        assert!(matches!(refused, OrderError::TradingDisabled { .. }), "{refused:?}");
        assert!(refused.to_string().contains("trading = true"), "{refused}");
        let witness = bench.venue(exchange).ledger();
        assert_eq!((witness.requests.len(), witness.connections.len()), (0, 1), "{exchange}");
    }
    assert_eq!(within(gateway.shutdown()).await.outcome, Outcome::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_told_in_the_exchange_s_words() {
    let bench = Bench::start(BOTH).await;
    let gateway = bench.gateway().await;
    for exchange in BOTH {
        let text = "EOrder:The moon is in the wrong house".to_owned();
        bench.fault(exchange, FaultAction::Reject { code: Some(-2010), text: text.clone() });
        let rejected = within(gateway.orders().submit(resting(exchange))).await;
        let Err(OrderError::Rejected { id, reason }) = &rejected else { panic!("{rejected:?}") };
        assert!(reason.contains(&text), "{reason}");
        assert_eq!(reason.contains("-2010"), *exchange == "binance", "{reason}");
        assert_eq!(gateway.orders().get(*id).expect("known").status, OrderStatus::Rejected);
        // The exchange's own rejections: more than the account holds, and post-only that takes.
        let dear = limit(exchange, "20000", "8000");
        let rejected = within(gateway.orders().submit(dear)).await.expect_err("too dear");
        assert!(rejected.to_string().to_lowercase().contains("insufficient"), "{rejected}");
        let taking = limit(exchange, "90000", "0.01").post_only();
        let rejected = within(gateway.orders().submit(taking)).await.expect_err("it would take");
        assert!(matches!(rejected, OrderError::Rejected { .. }), "{rejected:?}");
        assert!(bench.venue(exchange).ledger().open_orders.is_empty());
    }
    let report = within(gateway.shutdown()).await;
    assert_eq!(report.outcome, Outcome::Clean, "{report:#?}");
    assert!(report.exchanges.iter().all(|exchange| exchange.orders.is_empty()), "{report:#?}");
}
