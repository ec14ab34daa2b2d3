//! The single fills of orders, asked for over HTTP when the private stream did not tell them: first
//! which executions an order has, then the executions themselves, many of both in one request.
//!
//! Sources: <https://docs.kraken.com/api/docs/rest-api/get-orders-info> (`trades`),
//! <https://docs.kraken.com/api/docs/rest-api/get-trades-info>. The id of an execution there is
//! `exec_id` of the private stream, and a fee is in the quote currency.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use rust_decimal::prelude::ToPrimitive;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::exchange::{HttpRequest, OrderEvent, OrderNews, Outbox};
use crate::types::{
    ClientOrderId, ExchangeOrderId, Fee, Fill, Instrument, Liquidity, Order, Price, Quantity,
    Timestamp,
};

use super::messages::{exact, read, shorten};
use super::query::{MAX_NAMED, is_unknown_order};
use super::sign::Account;

/// The most executions that one request may name, see `get-trades-info`.
const MAX_TRADES: usize = 20;

/// Another client of the same key may spoil the nonce; asking again is safe.
const MAX_NONCE_RETRIES: u8 = 3;

/// The orders whose fills are asked for, one request at a time.
#[derive(Debug, Default)]
pub(super) struct FillQuestions {
    waiting: VecDeque<Question>,
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Question {
    client_id: ClientOrderId,
    exchange_id: ExchangeOrderId,
    instrument: Instrument,
    /// The executions that are still to be told, once the exchange has named them.
    trades: Option<VecDeque<String>>,
    /// Whether it shares no request any more, because one for several was refused.
    alone: bool,
    nonce_retries: u8,
}

/// The request that is on its way. Its orders stand at the head of the line.
#[derive(Debug)]
struct Asked {
    tag: u64,
    orders: usize,
    /// The executions that were asked for; empty where it was which there are.
    trades: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct HttpOrder<'a> {
    #[serde(borrow, default)]
    trades: Vec<Cow<'a, str>>,
}

/// An execution. The HTTP API writes amounts as strings and times as numbers of seconds.
#[derive(Debug, Deserialize)]
struct HttpTrade<'a> {
    #[serde(borrow)]
    ordertxid: Cow<'a, str>,
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    vol: &'a RawValue,
    #[serde(borrow)]
    fee: &'a RawValue,
    #[serde(borrow)]
    time: &'a RawValue,
    #[serde(default)]
    maker: Option<bool>,
}

type Entries<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

impl Question {
    fn event(&self, news: OrderNews) -> OrderEvent {
        OrderEvent {
            client_id: Some(self.client_id),
            exchange_id: Some(self.exchange_id),
            instrument: Some(self.instrument),
            request_id: None,
            exchange_time: None,
            news,
        }
    }

    fn failed(&self, reason: &str) -> OrderEvent {
        self.event(OrderNews::FillsFailed { reason: reason.to_owned() })
    }

    fn is_listed(&self) -> bool {
        self.trades.as_ref().is_some_and(VecDeque::is_empty)
    }
}

impl FillQuestions {
    /// Whether a request of this line is on its way.
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Asks for the fills of an order, unless that is being done already.
    pub(super) fn add(&mut self, order: &Order, out: &mut Outbox) {
        let Some(exchange_id) = order.exchange_id else {
            let reason = "the exchange's id of the order is not known".to_owned();
            out.order(OrderEvent {
                client_id: Some(order.client_id),
                exchange_id: None,
                instrument: Some(order.instrument()),
                request_id: None,
                exchange_time: None,
                news: OrderNews::FillsFailed { reason },
            });
            return;
        };
        if self.waiting.iter().any(|question| question.client_id == order.client_id) {
            return;
        }
        self.waiting.push_back(Question {
            client_id: order.client_id,
            exchange_id,
            instrument: order.instrument(),
            trades: None,
            alone: false,
            nonce_retries: 0,
        });
    }

    /// The next request of this line, with `tag`. Only called while none is on its way.
    pub(super) fn next_request(
        &mut self,
        tag: u64,
        account: &Account,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Option<HttpRequest> {
        let first = self.waiting.front()?;
        let (names_trades, alone) = (first.trades.is_some(), first.alone);
        let joins = |question: &&Question| {
            question.trades.is_some() == names_trades && question.alone == alone
        };
        let orders = self.waiting.iter().take_while(joins).take(if alone { 1 } else { MAX_NAMED });
        let orders: Vec<&Question> = orders.collect();
        let trades: Vec<String> =
            orders.iter().filter_map(|q| q.trades.as_ref()).flatten().cloned().collect();
        let trades: Vec<String> = trades.into_iter().take(MAX_TRADES).collect();
        let request = if names_trades {
            account.request("/0/private/QueryTrades", &[("txid", &trades.join(","))], now)
        } else {
            let ids: Vec<_> = orders.iter().map(|question| question.exchange_id.as_str()).collect();
            let fields = [("txid", ids.join(",")), ("trades", "true".to_owned())];
            let fields = fields.each_ref().map(|(key, value)| (*key, value.as_str()));
            account.request("/0/private/QueryOrders", &fields, now)
        };
        let orders = orders.len();
        match request {
            Ok(request) => {
                self.asked = Some(Asked { tag, orders, trades });
                Some(request)
            }
            Err(reason) => {
                self.waiting.drain(..).for_each(|question| out.order(question.failed(reason)));
                None
            }
        }
    }

    /// The answer to the request with this tag; `false` if it is not of this line.
    pub(super) fn answered(
        &mut self,
        tag: u64,
        result: &Result<&RawValue, String>,
        out: &mut Outbox,
    ) -> bool {
        let Some(asked) = self.asked.take_if(|asked| asked.tag == tag) else { return false };
        let names_trades = !asked.trades.is_empty();
        let entries = result.clone().and_then(|result| {
            read::<Entries<'_>>(result, "result").map_err(|error| error.to_string())
        });
        match entries {
            Ok(entries) if names_trades => self.told(&asked, &entries, out),
            Ok(entries) => self.named(asked.orders, &entries, out),
            Err(error) => self.refused(asked.orders, &error, out),
        }
        true
    }

    fn refused(&mut self, orders: usize, error: &str, out: &mut Outbox) {
        let spoilt = error.starts_with("EAPI:Invalid nonce");
        let apart = orders > 1 && is_unknown_order(error);
        for _ in 0..orders {
            let Some(mut question) = self.waiting.pop_front() else { return };
            question.nonce_retries += u8::from(spoilt);
            question.alone |= apart;
            if apart || spoilt && question.nonce_retries <= MAX_NONCE_RETRIES {
                self.waiting.push_back(question);
            } else {
                out.order(question.failed(error));
            }
        }
    }

    /// The exchange has named the executions of each order.
    fn named(&mut self, orders: usize, entries: &Entries<'_>, out: &mut Outbox) {
        for _ in 0..orders {
            let Some(mut question) = self.waiting.pop_front() else { return };
            let order = entries.get(question.exchange_id.as_str());
            let order = order.ok_or_else(|| "the order is not in the answer".to_owned());
            let order = order.and_then(|raw| {
                read::<HttpOrder<'_>>(raw, "result").map_err(|error| error.to_string())
            });
            match order {
                Ok(order) if order.trades.is_empty() => {
                    out.order(question.event(OrderNews::FillsListed));
                }
                Ok(order) => {
                    question.trades = Some(order.trades.iter().map(|id| shorten(id)).collect());
                    self.waiting.push_back(question);
                }
                Err(reason) => out.order(question.failed(&reason)),
            }
        }
    }

    /// The exchange has told executions: each of them, and not only what it liked to.
    fn told(&mut self, asked: &Asked, entries: &Entries<'_>, out: &mut Outbox) {
        let mut faults: Vec<(ClientOrderId, String)> = Vec::new();
        for id in &asked.trades {
            let holds = |question: &&mut Question| {
                question.trades.as_ref().and_then(VecDeque::front) == Some(id)
            };
            let Some(question) = self.waiting.iter_mut().take(asked.orders).find(holds) else {
                continue;
            };
            question.trades.as_mut().and_then(VecDeque::pop_front);
            let trade = entries.get(id.as_str()).ok_or_else(|| format!("{id}: not told"));
            match trade.and_then(|raw| read_trade(id, raw, question)) {
                Ok(event) => out.order(event),
                Err(fault) => faults.push((question.client_id, fault)),
            }
        }
        for _ in 0..asked.orders {
            let Some(question) = self.waiting.pop_front() else { return };
            let fault = faults.iter().find(|(of, _)| *of == question.client_id);
            match fault {
                Some((_, fault)) => out.order(question.failed(&shorten(fault))),
                None if question.is_listed() => out.order(question.event(OrderNews::FillsListed)),
                None => self.waiting.push_back(question),
            }
        }
    }
}

fn read_trade(id: &str, raw: &RawValue, question: &Question) -> Result<OrderEvent, String> {
    let trade: HttpTrade<'_> = read(raw, id).map_err(|error| error.to_string())?;
    if trade.ordertxid != question.exchange_id.as_str() {
        return Err(format!("{id} is of the order {}", shorten(&trade.ordertxid)));
    }
    let number = |raw: &RawValue, key: &str| {
        exact(raw.get().trim_matches('"')).map_err(|error| format!("`{key}` of {id}: {error}"))
    };
    let seconds = number(trade.time, "time")?;
    let nanoseconds = (seconds * rust_decimal::Decimal::from(1_000_000_000)).to_i128();
    let time = nanoseconds.and_then(|value| Timestamp::from_nanosecond(value).ok());
    let fill = Fill {
        fill_id: id.to_owned(),
        price: Price(number(trade.price, "price")?),
        quantity: Quantity(number(trade.vol, "vol")?),
        fee: Some(Fee {
            asset: question.instrument.quote().to_owned(),
            amount: number(trade.fee, "fee")?,
        }),
        liquidity: trade.maker.map(|maker| if maker { Liquidity::Maker } else { Liquidity::Taker }),
        time,
    };
    let news = OrderNews::Filled { fill, cumulative: None, completes: false };
    Ok(OrderEvent { exchange_time: time, ..question.event(news) })
}

#[cfg(test)]
mod tests {
    use super::super::questions::Questions;
    use super::super::testing::{NOW, account, order};
    use super::*;
    use crate::exchange::{HttpFailure, HttpResponse, SessionEvent};

    /// The line, and what came out of it.
    struct Line {
        questions: Questions,
        account: Account,
        out: Outbox,
    }

    impl Line {
        /// A line that was asked for the fills of `count` orders `gw0`.. with the ids `O0`..
        fn asking(count: usize) -> Self {
            let (questions, out) = (Questions::default(), Outbox::default());
            let mut line = Self { questions, account: account("c2VjcmV0"), out };
            for number in 0..count {
                line.ask(number);
            }
            line
        }

        fn ask(&mut self, number: usize) {
            let client_id = format!("gw{number}").parse().unwrap();
            let exchange_id = Some(format!("O{number}").parse().unwrap());
            let order = Order { client_id, exchange_id, ..order() };
            self.questions.add_fills(&order, &self.account, NOW, &mut self.out);
        }

        /// Answers the one request on its way; tells its path and fields beside the nonce.
        fn next(&mut self, body: &str) -> (String, String) {
            self.answer(Ok(HttpResponse { status: 200, body: body.into() }))
        }

        fn answer(&mut self, answer: Result<HttpResponse, HttpFailure>) -> (String, String) {
            assert_eq!(self.out.requests.len(), 1, "{:?}", self.out.requests);
            let (tag, request) = self.out.requests.remove(0);
            let (_, path) = request.url.path().rsplit_once('/').unwrap();
            let (_, fields) = request.body.split_once('&').unwrap();
            self.questions.answered(tag, answer, &self.account, NOW, &mut self.out);
            (path.to_owned(), fields.replace("%2C", ","))
        }

        fn news(&mut self) -> Vec<(String, OrderNews)> {
            let events = self.out.events.drain(..);
            let news = events.map(|event| match event {
                SessionEvent::Order(event) => (event.client_id.unwrap().to_string(), event.news),
                other => panic!("{other:?}"),
            });
            news.collect()
        }

        fn only_news(&mut self) -> OrderNews {
            let mut news = self.news();
            assert_eq!(news.len(), 1, "{news:?}");
            news.remove(0).1
        }
    }

    fn result(entries: &[String]) -> String {
        format!(r#"{{"error":[],"result":{{{}}}}}"#, entries.join(","))
    }

    fn named(number: usize, trades: &[String]) -> String {
        let trades = serde_json::to_string(trades).unwrap();
        format!(r#""O{number}":{{"status":"closed","vol_exec":"1","trades":{trades}}}"#)
    }

    fn trade(id: &str, number: usize) -> String {
        format!(
            r#""{id}":{{"ordertxid":"O{number}","pair":"XXBTZUSD","time":1688667796.8802,"type":"buy","price":"30010.00000","cost":"600.20000","fee":"-0.00010","vol":"0.02000000","trade_id":40274859,"maker":true}}"#
        )
    }

    fn filled(id: &str) -> OrderNews {
        let fill = Fill {
            fill_id: id.into(),
            price: "30010".parse().unwrap(),
            quantity: "0.02".parse().unwrap(),
            fee: Some(Fee { asset: "USD".into(), amount: "-0.0001".parse().unwrap() }),
            liquidity: Some(Liquidity::Maker),
            time: Some("2023-07-06T18:23:16.8802Z".parse().unwrap()),
        };
        OrderNews::Filled { fill, cumulative: None, completes: false }
    }

    #[test]
    fn the_executions_of_several_orders_share_two_requests() {
        let mut line = Line::asking(3);
        line.ask(1);
        // The first was alone when it was asked for.
        let (path, fields) = line.next(&result(&[named(0, &["TA".into()])]));
        assert_eq!((path.as_str(), fields.as_str()), ("QueryOrders", "txid=O0&trades=true"));
        let named = [named(1, &["TB".into(), "TC".into()]), named(2, &[])];
        let (_, fields) = line.next(&result(&named));
        assert_eq!(fields, "txid=O1,O2&trades=true");
        assert_eq!(line.news(), [("gw2".to_owned(), OrderNews::FillsListed)]);
        let told = [trade("TA", 0), trade("TC", 1), trade("TB", 1)];
        let (path, fields) = line.next(&result(&told));
        assert_eq!((path.as_str(), fields.as_str()), ("QueryTrades", "txid=TA,TB,TC"));
        let of = |name: &str, news: OrderNews| (name.to_owned(), news);
        assert_eq!(
            line.news(),
            [
                of("gw0", filled("TA")),
                of("gw1", filled("TB")),
                of("gw1", filled("TC")),
                of("gw0", OrderNews::FillsListed),
                of("gw1", OrderNews::FillsListed),
            ]
        );
        assert!(line.out.requests.is_empty());
        line.ask(1);
        assert_eq!(line.out.requests.len(), 1, "it can be asked for again");
    }

    #[test]
    fn twenty_executions_are_asked_for_at_a_time() {
        let mut line = Line::asking(1);
        let ids: Vec<_> = (0..45).map(|number| format!("T{number}")).collect();
        line.next(&result(&[named(0, &ids)]));
        for part in ids.chunks(20) {
            assert_eq!(line.news().len() % 20, 0);
            let told: Vec<_> = part.iter().map(|id| trade(id, 0)).collect();
            let (_, fields) = line.next(&result(&told));
            assert_eq!(fields, format!("txid={}", part.join(",")));
        }
        let news = line.news();
        assert_eq!((news.len(), &news[5].1), (6, &OrderNews::FillsListed));
        assert!(line.out.requests.is_empty());
    }

    #[test]
    fn questions_how_orders_stand_go_first_and_one_request_is_on_its_way_at_a_time() {
        let mut line = Line::asking(2);
        let other = Order { exchange_id: Some("OX".parse().unwrap()), ..order() };
        line.questions.add(&other, &line.account, NOW, &mut line.out);
        line.next(&result(&[named(0, &["TA".into()])]));
        let (_, fields) = line.next(&result(&[named(9, &[])]));
        assert_eq!(fields, "txid=OX", "before the rest of the fills");
        assert_eq!(line.only_news(), OrderNews::NotFound);
        assert_eq!(line.next(&result(&[trade("TA", 0)])).0, "QueryOrders", "the other order's");
    }

    #[test]
    fn what_is_missing_or_wrong_fails_its_order_and_no_other() {
        let fails = |told: &[String]| {
            let mut line = Line::asking(2);
            line.next(&result(&[named(0, &["TA".into()])]));
            line.next(&result(&[named(1, &["TB".into()])]));
            line.next(&result(told));
            let news = line.news();
            let settled: Vec<_> =
                news.iter().filter(|(_, n)| !matches!(n, OrderNews::Filled { .. })).collect();
            assert!(
                matches!(&settled[0], (id, OrderNews::FillsFailed { .. }) if id == "gw0"),
                "{news:?}"
            );
            assert_eq!(settled[1], &("gw1".to_owned(), OrderNews::FillsListed));
            assert!(line.out.requests.is_empty());
        };
        fails(&[trade("TB", 1)]);
        fails(&[trade("TA", 7), trade("TB", 1)]);
        for (good, bad) in
            [("\"0.02000000\"", "\"x\""), ("1688667796.8802", "\"now\""), ("-0.00010", "")]
        {
            fails(&[trade("TA", 0).replace(good, bad), trade("TB", 1)]);
        }
        let mut line = Line::asking(1);
        line.next(&result(&[]));
        assert!(matches!(line.only_news(), OrderNews::FillsFailed { .. }));
    }

    #[test]
    fn one_unknown_order_does_not_keep_the_others_from_their_fills() {
        let mut line = Line::asking(4);
        line.next(&result(&[named(0, &[])]));
        line.next(r#"{"error":["EOrder:Unknown order"]}"#);
        assert_eq!(line.news().len(), 1);
        for number in 1..4 {
            let unknown = r#"{"error":["EOrder:Unknown order"]}"#.to_owned();
            let body = if number == 2 { unknown } else { result(&[named(number, &[])]) };
            assert_eq!(line.next(&body).1, format!("txid=O{number}&trades=true"));
        }
        let failed =
            |(_, news): &(String, OrderNews)| matches!(news, OrderNews::FillsFailed { .. });
        let news = line.news();
        assert_eq!(news.iter().map(failed).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn a_spoilt_nonce_is_tried_again_and_a_dead_network_is_not() {
        let mut line = Line::asking(1);
        for _ in 0..4 {
            line.next(r#"{"error":["EAPI:Invalid nonce"]}"#);
        }
        assert!(matches!(line.only_news(), OrderNews::FillsFailed { .. }));
        let mut line = Line::asking(1);
        line.answer(Err(HttpFailure::Timeout { host: "h".into(), limit_ms: 5 }));
        let reason = "no answer from h within 5 ms".to_owned();
        assert_eq!(line.only_news(), OrderNews::FillsFailed { reason });
        assert!(line.out.requests.is_empty());
    }

    #[test]
    fn without_a_key_or_the_exchanges_id_nothing_is_asked() {
        let mut line = Line::asking(0);
        line.questions.add_fills(&order(), &line.account, NOW, &mut line.out);
        assert!(matches!(line.only_news(), OrderNews::FillsFailed { .. }));
        line.account = account("?");
        line.ask(0);
        assert!(matches!(line.only_news(), OrderNews::FillsFailed { .. }));
        assert!(line.out.requests.is_empty());
    }
}
