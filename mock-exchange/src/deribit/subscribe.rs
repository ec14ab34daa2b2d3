//! `subscribe` and `unsubscribe`.

use super::channel::Topic;
use super::dispatch::socket;
use super::protocol::Deribit;
use super::rpc::{Call, Reply, RpcError};
use crate::protocol::ConnectionId;
use crate::venue::state::VenueState;

/// Channels in one call.
const CHANNELS_MAX: usize = 500;

impl Deribit {
    /// Answers `subscribe`. Names that the venue refuses are left out of the answer, and the
    /// others come in reversed order.
    pub(crate) fn subscribe(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
        private: bool,
    ) -> Result<Reply, RpcError> {
        let connection = socket(call)?;
        let names = channels(call)?;
        let topics: Vec<(String, Topic)> = names
            .into_iter()
            .filter_map(|name| Topic::parse(&name, &state.instruments).map(|topic| (name, topic)))
            .filter(|(_, topic)| private || !topic.is_private())
            .collect();
        let known = private || self.is_logged_in(state, connection);
        if !known && topics.iter().any(|(_, topic)| topic.is_raw_market()) {
            let text = "raw_subscriptions_not_available_for_unauthorized";
            return Err(RpcError::new(13778, text));
        }
        let mut subscribed = Vec::new();
        let mut first = Vec::new();
        for (name, topic) in topics {
            if self.feed.subscribe(&name, topic, connection, &state.engine) {
                first.push(name.clone());
            }
            if !subscribed.contains(&name) {
                subscribed.push(name);
            }
        }
        subscribed.reverse();
        Ok(Reply { first, ..Reply::new(&subscribed) })
    }

    /// Answers `unsubscribe` with the names that were subscribed.
    pub(crate) fn unsubscribe(
        &mut self,
        state: &VenueState,
        call: &Call<'_>,
        private: bool,
    ) -> Result<Reply, RpcError> {
        let connection = socket(call)?;
        let mut removed = channels(call)?;
        removed.retain(|name| {
            let topic = Topic::parse(name, &state.instruments);
            topic.is_some_and(|topic| private || !topic.is_private())
                && self.feed.unsubscribe(name, connection)
        });
        removed.reverse();
        Ok(Reply::new(&removed))
    }

    /// Answers `unsubscribe_all`.
    pub(crate) fn unsubscribe_all(
        &mut self,
        call: &Call<'_>,
        private: bool,
    ) -> Result<Reply, RpcError> {
        self.feed.unsubscribe_all(socket(call)?, private);
        Ok(Reply::new(&"ok"))
    }

    /// Sends the first messages of channels that are new to a connection.
    pub(crate) fn send_first(
        &self,
        state: &mut VenueState,
        connection: ConnectionId,
        names: &[String],
    ) {
        let time = state.now();
        for name in names {
            let Some(channel) = self.feed.channels.get(name) else { continue };
            if let Topic::Portfolio(currency) = &channel.topic {
                for text in super::portfolio::messages(state, name, currency.as_deref()) {
                    state.send(connection, text);
                }
            } else if let Some(text) = channel.current(name, &state.engine, time) {
                state.send(connection, text);
            }
        }
    }
}

fn channels(call: &Call<'_>) -> Result<Vec<String>, RpcError> {
    let names = call.params.texts("channels")?;
    if names.len() > CHANNELS_MAX {
        return Err(RpcError::param("channels", "must be at most 500"));
    }
    Ok(names)
}
