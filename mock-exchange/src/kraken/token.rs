//! Tokens that let a socket use the private requests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

/// How long a token can be used before a private subscription keeps it alive.
pub(crate) const TOKEN_LIFETIME: Duration = Duration::from_secs(900);

/// How many tokens are remembered; beyond it the oldest unused ones are forgotten.
const TOKENS_MAX: usize = 4096;

#[derive(Debug, Clone)]
struct Token {
    expires: Timestamp,
    /// Connections that hold a private subscription made with this token.
    subscribed: BTreeSet<u64>,
}

/// Every token that was handed out.
///
/// A token must be used within [`TOKEN_LIFETIME`]; on a connection with a private subscription it
/// stays valid for as long as the subscription lives.
#[derive(Debug, Default)]
pub(crate) struct TokenStore {
    tokens: BTreeMap<String, Token>,
}

impl TokenStore {
    /// Remembers a new token.
    pub(crate) fn issue(&mut self, token: String, now: Timestamp) {
        self.tokens.retain(|_, token| token.expires > now || !token.subscribed.is_empty());
        if self.tokens.len() >= TOKENS_MAX {
            let oldest = self
                .tokens
                .iter()
                .filter(|(_, token)| token.subscribed.is_empty())
                .min_by_key(|(_, token)| token.expires)
                .map(|(text, _)| text.clone());
            if let Some(oldest) = oldest {
                self.tokens.remove(&oldest);
            }
        }
        let token_life = Token { expires: now + TOKEN_LIFETIME, subscribed: BTreeSet::new() };
        self.tokens.insert(token, token_life);
    }

    /// Whether `connection` may use the token now.
    pub(crate) fn is_valid(&self, token: &str, connection: u64, now: Timestamp) -> bool {
        self.tokens
            .get(token)
            .is_some_and(|token| now < token.expires || token.subscribed.contains(&connection))
    }

    /// Notes a private subscription, which keeps the token valid on this connection.
    pub(crate) fn subscribed(&mut self, token: &str, connection: u64) {
        if let Some(token) = self.tokens.get_mut(token) {
            token.subscribed.insert(connection);
        }
    }

    /// Notes that the connection has no private subscription any more, or is closed.
    pub(crate) fn unsubscribed(&mut self, connection: u64) {
        for token in self.tokens.values_mut() {
            token.subscribed.remove(&connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).expect("time")
    }

    #[test]
    fn an_unused_token_ends_after_fifteen_minutes() {
        let mut store = TokenStore::default();
        store.issue("T".into(), at(0));
        assert!(store.is_valid("T", 1, at(899)));
        assert!(!store.is_valid("T", 1, at(900)));
        assert!(!store.is_valid("U", 1, at(1)));
    }

    #[test]
    fn a_private_subscription_keeps_it_valid_on_that_connection_only() {
        let mut store = TokenStore::default();
        store.issue("T".into(), at(0));
        store.subscribed("T", 1);
        assert!(store.is_valid("T", 1, at(5000)));
        assert!(!store.is_valid("T", 2, at(5000)));
        store.unsubscribed(1);
        assert!(!store.is_valid("T", 1, at(5000)));
    }

    #[test]
    fn the_store_does_not_grow_without_end() {
        let mut store = TokenStore::default();
        for n in 0..(TOKENS_MAX + 10) {
            store.issue(format!("T{n}"), at(0));
        }
        assert_eq!(store.tokens.len(), TOKENS_MAX);
    }
}
