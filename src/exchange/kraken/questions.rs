//! The line of questions how orders stand, and of those for their fills, one request at a time.
//!
//! Requests of one key that overtake each other spoil one another's nonce, so the next leaves when
//! the answer to the last has come. Whatever waits by then shares it: with n orders in doubt the
//! number of requests is a few, and not n.

use std::collections::{HashSet, VecDeque};

use crate::exchange::{HttpFailure, HttpResponse, OrderEvent, OrderNews, Outbox};
use crate::types::{ClientOrderId, ExchangeOrderId, Order, Timestamp};

use super::fills::FillQuestions;
use super::messages::http_result;
use super::query::{Place, Question, Verdict, is_unknown_order, request, verdicts};
use super::sign::Account;

/// Questions that may wait; further ones fail at once.
const MAX_WAITING: usize = 16_384;

/// Another client of the same key may spoil the nonce; asking again is safe.
const MAX_NONCE_RETRIES: u8 = 3;

/// The questions of one session.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: VecDeque<Question>,
    asked: Option<Asked>,
    /// The orders of all questions, waiting and asked.
    about: HashSet<ClientOrderId>,
    /// Asked when no other question waits.
    fills: FillQuestions,
    last_tag: u64,
}

/// The request that is on its way.
#[derive(Debug)]
struct Asked {
    tag: u64,
    place: Place,
    questions: Vec<Question>,
}

impl Questions {
    /// Asks how an order stands, unless that is being asked already.
    pub(super) fn add(
        &mut self,
        order: &Order,
        account: &Account,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        if !self.about.insert(order.client_id) {
            return;
        }
        let question = Question::new(order);
        if self.waiting.len() >= MAX_WAITING {
            let reason = "too many questions wait for an answer".to_owned();
            let news = OrderNews::QueryFailed { reason };
            return self.settle(&question, news, question.exchange_id, out);
        }
        self.waiting.push_back(question);
        self.ask_next(account, now, out);
    }

    /// Asks for the single fills of an order.
    pub(super) fn add_fills(
        &mut self,
        order: &Order,
        account: &Account,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        self.fills.add(order, out);
        self.ask_next(account, now, out);
    }

    /// The answer to the request with this tag.
    pub(super) fn answered(
        &mut self,
        tag: u64,
        answer: Result<HttpResponse, HttpFailure>,
        account: &Account,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let response = answer.map_err(|failure| failure.to_string());
        let result = response.as_ref().map_err(Clone::clone).and_then(http_result);
        let Some(Asked { place, questions, .. }) = self.asked.take_if(|asked| asked.tag == tag)
        else {
            if self.fills.answered(tag, &result, out) {
                self.ask_next(account, now, out);
            }
            return;
        };
        match result.and_then(|result| verdicts(place, &questions, result)) {
            Ok(verdicts) => {
                for (question, verdict) in questions.into_iter().zip(verdicts).rev() {
                    self.judge(question, verdict, out);
                }
            }
            Err(error) if error.starts_with("EAPI:Invalid nonce") => {
                for question in questions.into_iter().rev() {
                    let nonce_retries = question.nonce_retries + 1;
                    if nonce_retries > MAX_NONCE_RETRIES {
                        self.judge(question, question.failed(&error), out);
                    } else {
                        self.waiting.push_front(Question { nonce_retries, ..question });
                    }
                }
            }
            Err(error) if is_unknown_order(&error) && questions.len() > 1 => {
                // One unknown order refuses the request for all of them: the halves find it.
                let together = questions.len().div_ceil(2);
                for question in questions.into_iter().rev() {
                    self.waiting.push_front(Question { together, ..question });
                }
            }
            Err(error) => {
                let is_unknown = is_unknown_order(&error);
                for question in questions.into_iter().rev() {
                    let absent = Verdict::Absent;
                    let verdict = if is_unknown { absent } else { question.failed(&error) };
                    self.judge(question, verdict, out);
                }
            }
        }
        self.ask_next(account, now, out);
    }

    /// Carries out what an answer means for a question. One that goes on goes on first.
    fn judge(&mut self, question: Question, verdict: Verdict, out: &mut Outbox) {
        match (verdict, question.place) {
            (Verdict::Settled(news, exchange_id), _) => {
                self.settle(&question, news, exchange_id, out);
            }
            // An order that is not open may have ended.
            (Verdict::Absent, Place::OpenOrders) => {
                let place = Place::ClosedOrders;
                self.waiting.push_front(Question { place, ..question });
            }
            (Verdict::NotOnThisPage, _) => {
                self.waiting.push_front(Question { together: 1, ..question });
            }
            (Verdict::Absent, _) => {
                self.settle(&question, OrderNews::NotFound, question.exchange_id, out);
            }
        }
    }

    /// Writes the next request if none is on its way.
    fn ask_next(&mut self, account: &Account, now: Timestamp, out: &mut Outbox) {
        while self.asked.is_none() && !self.fills.is_asking() {
            let Some(first) = self.waiting.front().copied() else {
                let tag = self.last_tag + 1;
                if let Some(request) = self.fills.next_request(tag, account, now, out) {
                    self.last_tag = tag;
                    out.requests.push((tag, request));
                }
                return;
            };
            let mut questions = Vec::new();
            let mut rest = VecDeque::with_capacity(self.waiting.len());
            for question in self.waiting.drain(..) {
                let joins = question.place == first.place && question.together == first.together;
                if joins && questions.len() < first.together {
                    questions.push(question);
                } else {
                    rest.push_back(question);
                }
            }
            self.waiting = rest;
            match request(first.place, &questions, account, now) {
                Ok(request) => {
                    self.last_tag += 1;
                    let (tag, place) = (self.last_tag, first.place);
                    out.requests.push((tag, request));
                    self.asked = Some(Asked { tag, place, questions });
                }
                Err(reason) => {
                    for question in questions {
                        self.judge(question, question.failed(reason), out);
                    }
                }
            }
        }
    }

    fn settle(
        &mut self,
        question: &Question,
        news: OrderNews,
        exchange_id: Option<ExchangeOrderId>,
        out: &mut Outbox,
    ) {
        self.about.remove(&question.client_id);
        out.order(OrderEvent {
            client_id: Some(question.client_id),
            exchange_id: exchange_id.or(question.exchange_id),
            instrument: Some(question.instrument),
            request_id: None,
            exchange_time: None,
            news,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, account, order};
    use super::*;
    use crate::exchange::SessionEvent;
    use crate::types::OrderStatus;

    /// The line, and what came out of it since it was last looked at.
    struct Line {
        questions: Questions,
        account: Account,
        out: Outbox,
    }

    impl Line {
        fn new() -> Self {
            let (questions, out) = (Questions::default(), Outbox::default());
            Self { questions, account: account("c2VjcmV0"), out }
        }

        fn ask(&mut self, client_id: &str, exchange_id: Option<&str>) {
            let client_id = client_id.parse().unwrap();
            let exchange_id = exchange_id.map(|id| id.parse().unwrap());
            let order = Order { client_id, exchange_id, ..order() };
            self.questions.add(&order, &self.account, NOW, &mut self.out);
        }

        /// Asks about `count` orders `gw0`.. whose exchange ids, if known, are `O0`..
        fn ask_many(&mut self, count: usize, known: bool) {
            for number in 0..count {
                let id = format!("O{number}");
                self.ask(&format!("gw{number}"), known.then_some(id.as_str()));
            }
        }

        /// The one request on its way: its tag, path and fields beside the nonce.
        fn request(&mut self) -> (u64, String, String) {
            assert_eq!(self.out.requests.len(), 1, "{:?}", self.out.requests);
            let (tag, request) = self.out.requests.remove(0);
            let (_, path) = request.url.path().rsplit_once('/').unwrap();
            let fields = request.body.split_once('&').map_or("", |(_, fields)| fields);
            (tag, path.to_owned(), fields.replace("%2C", ","))
        }

        fn answer(&mut self, tag: u64, body: &str) {
            let response = HttpResponse { status: 200, body: body.into() };
            self.questions.answered(tag, Ok(response), &self.account, NOW, &mut self.out);
        }

        /// Answers the request on its way; tells its path and fields.
        fn next(&mut self, body: &str) -> (String, String) {
            let (tag, path, fields) = self.request();
            self.answer(tag, body);
            (path, fields)
        }

        /// The news of orders since the last look.
        fn news(&mut self) -> Vec<(String, OrderNews)> {
            let events = self.out.events.drain(..);
            let mut news: Vec<_> = events
                .map(|event| match event {
                    SessionEvent::Order(event) => {
                        (event.client_id.unwrap().to_string(), event.news)
                    }
                    other => panic!("{other:?}"),
                })
                .collect();
            news.sort_by(|one, other| one.0.cmp(&other.0));
            news
        }

        fn only_news(&mut self) -> OrderNews {
            let mut news = self.news();
            assert_eq!(news.len(), 1, "{news:?}");
            news.remove(0).1
        }

        fn is_idle(&self) -> bool {
            let questions = &self.questions;
            let idle = questions.asked.is_none() && questions.waiting.is_empty();
            idle && questions.about.is_empty() && self.out.requests.is_empty()
        }
    }

    fn result(result: &str) -> String {
        format!(r#"{{"error":[],"result":{result}}}"#)
    }

    fn refused(error: &str) -> String {
        format!(r#"{{"error":["{error}"]}}"#)
    }

    fn open(client_ids: impl IntoIterator<Item = usize>) -> String {
        let order = |number: usize| {
            format!(r#""O{number}":{{"status":"open","vol_exec":"0","cl_ord_id":"gw{number}"}}"#)
        };
        client_ids.into_iter().map(order).collect::<Vec<_>>().join(",")
    }

    fn is_status(news: &OrderNews, expected: OrderStatus) -> bool {
        matches!(news, OrderNews::Status { status, .. } if *status == expected)
    }

    #[test]
    fn a_hundred_questions_are_three_requests_one_after_the_other() {
        let mut line = Line::new();
        line.ask_many(100, true);
        let (path, fields) = line.next(&result(&format!("{{{}}}", open([0]))));
        assert_eq!((path.as_str(), fields.as_str()), ("QueryOrders", "txid=O0"));
        let (_, fields) = line.next(&result(&format!("{{{}}}", open(1..51))));
        assert!(fields.starts_with("txid=O1,O2,") && fields.ends_with(",O50"), "{fields}");
        line.next(&result(&format!("{{{}}}", open(51..100))));
        let news = line.news();
        assert_eq!(news.len(), 100);
        assert!(news.iter().all(|(_, news)| is_status(news, OrderStatus::Open)), "{news:?}");
        assert!(line.is_idle());
    }

    #[test]
    fn an_order_that_is_being_asked_about_is_not_asked_about_again() {
        let mut line = Line::new();
        for _ in 0..5 {
            line.ask_many(3, true);
        }
        line.next(&result(&format!("{{{}}}", open([0]))));
        line.next(&result(&format!("{{{}}}", open([1, 2]))));
        assert_eq!(line.news().len(), 3);
        assert!(line.is_idle());
        line.ask("gw1", Some("O1"));
        assert_eq!(line.request().2, "txid=O1");
    }

    #[test]
    fn orders_without_an_exchange_id_share_the_lists() {
        let mut line = Line::new();
        line.ask_many(4, false);
        // The first was alone when it was asked, and its list may be filtered.
        let (path, fields) = line.next(&result(&format!(r#"{{"open":{{{}}}}}"#, open([0]))));
        assert_eq!((path.as_str(), fields.as_str()), ("OpenOrders", "cl_ord_id=gw0"));
        let (path, fields) = line.next(&result(&format!(r#"{{"open":{{{}}}}}"#, open([2, 7]))));
        assert_eq!((path.as_str(), fields.as_str()), ("OpenOrders", ""));
        let closed = open([3]).replace("open", "canceled");
        let (path, fields) = line.next(&result(&format!(r#"{{"closed":{{{closed}}},"count":1}}"#)));
        assert_eq!((path.as_str(), fields.as_str()), ("ClosedOrders", ""));
        let news = line.news();
        assert!(is_status(&news[0].1, OrderStatus::Open), "{news:?}");
        assert_eq!(news[1], ("gw1".to_owned(), OrderNews::NotFound));
        assert!(is_status(&news[2].1, OrderStatus::Open), "{news:?}");
        assert!(is_status(&news[3].1, OrderStatus::Canceled), "{news:?}");
        assert!(line.is_idle());
    }

    #[test]
    fn what_is_not_on_the_first_page_of_closed_orders_is_looked_for_by_name() {
        let mut line = Line::new();
        line.ask_many(3, false);
        line.next(&result(r#"{"open":{}}"#));
        // The first moves on to the closed orders before the others, which have yet to be looked
        // for among the open ones.
        let (path, fields) = line.next(&result(r#"{"closed":{},"count":0}"#));
        assert_eq!((path.as_str(), fields.as_str()), ("ClosedOrders", "cl_ord_id=gw0"));
        line.next(&result(r#"{"open":{}}"#));
        let closed = open([2]).replace("open", "closed");
        line.next(&result(&format!(r#"{{"closed":{{{closed}}},"count":51}}"#)));
        assert_eq!(line.news().len(), 2, "gw0 and gw2");
        let (path, fields) = line.next(&result(r#"{"closed":{},"count":0}"#));
        assert_eq!((path.as_str(), fields.as_str()), ("ClosedOrders", "cl_ord_id=gw1"));
        assert_eq!(line.only_news(), OrderNews::NotFound);
        assert!(line.is_idle());
    }

    #[test]
    fn one_page_of_several_that_a_filter_should_have_left_denies_no_order() {
        let mut line = Line::new();
        line.ask("gw1", None);
        line.next(&result(r#"{"open":{}}"#));
        let strangers = open([8, 9]).replace("open", "closed");
        let page = result(&format!(r#"{{"closed":{{{strangers}}},"count":51}}"#));
        let (path, fields) = line.next(&page);
        assert_eq!((path.as_str(), fields.as_str()), ("ClosedOrders", "cl_ord_id=gw1"));
        let news = line.only_news();
        assert!(matches!(news, OrderNews::QueryFailed { .. }), "{news:?}");
        assert!(line.is_idle());
    }

    #[test]
    fn one_unknown_order_does_not_hide_the_others() {
        let mut line = Line::new();
        line.ask_many(9, true);
        line.next(&result(&format!("{{{}}}", open([0]))));
        let mut requests = 0;
        while !line.out.requests.is_empty() {
            let (tag, _, fields) = line.request();
            let ids = fields.trim_start_matches("txid=").split(',');
            let numbers: Vec<usize> = ids.map(|id| id[1..].parse().unwrap()).collect();
            let knows_all = !numbers.contains(&6);
            let known = result(&format!("{{{}}}", open(numbers)));
            let unknown = refused("EOrder:Unknown order");
            line.answer(tag, if knows_all { &known } else { &unknown });
            requests += 1;
        }
        assert!(requests <= 7, "{requests}");
        for (id, news) in line.news() {
            assert_eq!(news == OrderNews::NotFound, id == "gw6", "{id}: {news:?}");
        }
        assert!(line.is_idle());
    }

    #[test]
    fn a_refusal_or_a_dead_network_fails_all_that_were_asked() {
        let mut line = Line::new();
        line.ask_many(3, true);
        line.next(&refused("EAPI:Rate limit exceeded"));
        let (tag, ..) = line.request();
        let failure = HttpFailure::Timeout { host: "h".into(), limit_ms: 5 };
        line.questions.answered(tag, Err(failure), &line.account, NOW, &mut line.out);
        let news = line.news();
        let failed = |reason: &str| OrderNews::QueryFailed { reason: reason.into() };
        assert_eq!(news[0].1, failed("EAPI:Rate limit exceeded"));
        assert_eq!(news[1].1, failed("no answer from h within 5 ms"));
        assert_eq!(news[2].1, failed("no answer from h within 5 ms"));
        assert!(line.is_idle());
        // A late or repeated answer says nothing.
        line.answer(tag, &result("{}"));
        assert!(line.is_idle() && line.news().is_empty());
    }

    #[test]
    fn a_spoilt_nonce_is_tried_again_three_times() {
        let mut line = Line::new();
        line.ask("gw1", Some("OA"));
        for _ in 0..4 {
            line.next(&refused("EAPI:Invalid nonce"));
        }
        assert!(matches!(line.only_news(), OrderNews::QueryFailed { .. }));
        assert!(line.is_idle());
    }

    #[test]
    fn a_list_is_searched_for_the_client_id_even_if_it_is_not_filtered() {
        let mut line = Line::new();
        line.ask("gw1", None);
        line.next(
            r#"{"error":[],"result":{"open":{
            "OX":{"status":"open","vol_exec":"9","cl_ord_id":null},
            "OB":{"status":"open","vol_exec":"0","cl_ord_id":"gw1"}}}}"#,
        );
        let [SessionEvent::Order(event)] = line.out.events.as_slice() else { panic!() };
        assert!(is_status(&event.news, OrderStatus::Open), "{event:?}");
        assert_eq!(event.exchange_id.unwrap().as_str(), "OB");
    }

    #[test]
    fn only_the_exchange_says_that_there_is_no_such_order() {
        let news = |body: &str, id: Option<&str>| {
            let mut line = Line::new();
            line.ask("gw1", id);
            line.next(body);
            line.only_news()
        };
        assert_eq!(news(&refused("EOrder:Unknown order"), Some("OA")), OrderNews::NotFound);
        let failed = [
            r#"{"error":["EAPI:Rate limit exceeded"]}"#,
            r#"{"error":["EOrder:Invalid order"]}"#,
            r#"{"error":[],"result":{"OA":{"status":"asleep","vol_exec":"0"}}}"#,
            r#"{"error":[],"result":{"OA":{"status":"open","vol_exec":"much"}}}"#,
            r#"{"error":[],"result":{"OX":{"status":"open"}}}"#,
            r#"{"error":[]}"#,
            "<html>",
        ];
        for body in failed {
            let news = news(body, Some("OA"));
            assert!(matches!(news, OrderNews::QueryFailed { .. }), "{body}: {news:?}");
        }
        let news = news(&result("{}"), None);
        assert!(matches!(news, OrderNews::QueryFailed { .. }), "{news:?}");
    }

    #[test]
    fn every_status_is_what_it_means_for_the_order() {
        use OrderStatus::{Canceled, Expired, Filled, Open, PartiallyFilled, Rejected};
        let cases = [
            ("pending", "0.00000000", "null", Open),
            ("open", "0.00000000", "null", Open),
            ("open", "0.5", "null", PartiallyFilled),
            ("closed", "1.00000000", "null", Filled),
            ("canceled", "0.5", "\"User requested\"", Canceled),
            ("canceled", "0.0", "\"Post only order\"", Rejected),
            ("canceled", "0.5", "\"Post only order\"", Canceled),
            ("expired", "0", "null", Expired),
        ];
        for (name, filled, reason, expected) in cases {
            let mut line = Line::new();
            line.ask("gw1", Some("OA"));
            line.next(&result(&format!(
                r#"{{"OA":{{"status":"{name}","vol_exec":"{filled}","reason":{reason}}}}}"#
            )));
            let news = line.only_news();
            let OrderNews::Status { status, cumulative, .. } = news else { panic!("{news:?}") };
            assert_eq!((status, cumulative), (expected, Some(filled.parse().unwrap())), "{name}");
        }
    }

    #[test]
    fn a_key_that_cannot_sign_fails_every_question_at_once() {
        let mut line = Line::new();
        line.account = account("?");
        line.ask_many(2, true);
        let news = line.news();
        assert!(news.iter().all(|(_, news)| matches!(news, OrderNews::QueryFailed { .. })));
        assert!(news.len() == 2 && line.is_idle());
    }
}
