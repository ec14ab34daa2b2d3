//! `public/auth`: grants, scopes and tokens.

use std::collections::VecDeque;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::protocol::Deribit;
use super::rpc::{Call, Reply, RpcError};
use super::sign;
use crate::protocol::{ConnectionId, ConnectionKind};
use crate::venue::state::VenueState;

/// How long a token lives unless the scope asks for less; what client tests of the venue show.
const EXPIRES_SECONDS: i64 = 900;
/// How far the timestamp of a signature may be from the venue's clock.
const SIGNATURE_AGE_MS_MAX: i64 = 60_000;
/// Tokens kept; the oldest are forgotten.
const TOKENS_MAX: usize = 1_000;

/// What a login may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) trade: Access,
    pub(crate) account: Access,
    /// The name of a `session:` scope, whose tokens outlive the connection.
    session: Option<String>,
    expires_seconds: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    None,
    Read,
    Write,
}

impl Access {
    fn parse(text: &str) -> Self {
        match text {
            "read_write" => Self::Write,
            "read" => Self::Read,
            _ => Self::None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Write => "read_write",
            Self::Read => "read",
            Self::None => "none",
        }
    }
}

impl Scope {
    /// What is granted of what was asked: everything unless something narrower is named.
    fn granted(asked: &str) -> Self {
        let named = asked.contains("trade:") || asked.contains("account:");
        let unnamed = if named { Access::None } else { Access::Write };
        let mut scope = Self {
            trade: unnamed,
            account: unnamed,
            session: None,
            expires_seconds: EXPIRES_SECONDS,
        };
        for item in asked.split_whitespace() {
            match item.split_once(':') {
                Some(("trade", access)) => scope.trade = Access::parse(access),
                Some(("account", access)) => scope.account = Access::parse(access),
                Some(("session", name)) => scope.session = Some(name.to_owned()),
                Some(("expires", seconds)) => {
                    let seconds = seconds.parse().unwrap_or(EXPIRES_SECONDS);
                    scope.expires_seconds = seconds.clamp(1, EXPIRES_SECONDS);
                }
                _ => {}
            }
        }
        scope
    }

    fn text(&self) -> String {
        let session = self.session.as_ref().map(|name| format!("session:{name}"));
        format!(
            "{} mainaccount account:{} trade:{}",
            session.as_deref().unwrap_or("connection"),
            self.account.as_str(),
            self.trade.as_str()
        )
    }
}

/// A login: what it may do, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) scope: Scope,
    pub(crate) expires: Timestamp,
}

impl Grant {
    /// What the account's key allows by itself, for as long as one HTTP request.
    pub(crate) fn of_key(now: Timestamp) -> Self {
        let scope = Scope::granted("");
        let expires = now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now);
        Self { scope, expires }
    }
}

#[derive(Debug)]
struct Issued {
    access: String,
    refresh: String,
    grant: Grant,
    /// Tokens of the scope `connection` end with it.
    connection: Option<ConnectionId>,
}

/// The tokens that are valid.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    issued: VecDeque<Issued>,
    count: u64,
}

impl Tokens {
    pub(crate) fn grant(&self, access: &str, now: Timestamp) -> Option<Grant> {
        let token = self.issued.iter().find(|token| token.access == access)?;
        (token.grant.expires > now).then(|| token.grant.clone())
    }

    /// Forgets the tokens that end with a connection.
    pub(crate) fn closed(&mut self, connection: ConnectionId) {
        self.issued.retain(|token| token.connection != Some(connection));
    }

    fn refresh(&mut self, refresh: &str) -> Option<Scope> {
        let index = self.issued.iter().position(|token| token.refresh == refresh)?;
        self.issued.remove(index).map(|token| token.grant.scope)
    }

    fn issue(&mut self, grant: Grant, connection: Option<ConnectionId>, now: Timestamp) -> &Issued {
        if self.issued.len() >= TOKENS_MAX {
            self.issued.pop_front();
        }
        let connection = connection.filter(|_| grant.scope.session.is_none());
        let access = self.text(now);
        let refresh = self.text(now);
        self.issued.push_back(Issued { access, refresh, grant, connection });
        &self.issued[self.issued.len() - 1]
    }

    fn text(&mut self, now: Timestamp) -> String {
        self.count += 1;
        let digest = Sha256::digest(format!("{}-{}", self.count, now.as_nanosecond()));
        format!("{}.{}", now.as_millisecond(), URL_SAFE_NO_PAD.encode(digest))
    }
}

#[derive(Serialize)]
struct Authenticated<'a> {
    access_token: &'a str,
    expires_in: i64,
    refresh_token: &'a str,
    scope: String,
    enabled_features: [(); 0],
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

impl Deribit {
    /// Answers `public/auth`.
    pub(crate) fn authenticate(
        &mut self,
        state: &mut VenueState,
        call: &Call<'_>,
    ) -> Result<Reply, RpcError> {
        let params = call.params;
        let asked = params.text("scope").unwrap_or_default();
        let scope = match params.required("grant_type")?.as_str() {
            "client_credentials" => {
                let id = params.required("client_id")?;
                let secret = params.required("client_secret")?;
                let own = &state.credentials;
                if id != own.api_key || secret != own.api_secret {
                    return Err(invalid_credentials());
                }
                Scope::granted(&asked)
            }
            "client_signature" => {
                check_signature(state, call)?;
                Scope::granted(&asked)
            }
            "refresh_token" => {
                let token = params.required("refresh_token")?;
                self.tokens.refresh(&token).ok_or_else(|| unauthorized("invalid_token"))?
            }
            _ => return Err(RpcError::param("grant_type", "must be a known grant type")),
        };
        let now = state.now();
        let lifetime = SignedDuration::from_secs(scope.expires_seconds);
        let expires = now.saturating_add(lifetime).unwrap_or(now);
        let grant = Grant { scope, expires };
        if let Some(connection) = call.connection {
            self.session(connection).grant = Some(grant.clone());
            state.set_kind(connection, ConnectionKind::Trading);
        }
        let issued = self.tokens.issue(grant, call.connection, now);
        Ok(Reply::new(&Authenticated {
            access_token: &issued.access,
            expires_in: issued.grant.scope.expires_seconds,
            refresh_token: &issued.refresh,
            scope: issued.grant.scope.text(),
            enabled_features: [],
            token_type: "bearer",
            sid: issued.grant.scope.session.as_deref(),
            state: params.text("state"),
        }))
    }

    /// The login that a private call may use.
    pub(crate) fn authorised(
        &mut self,
        state: &VenueState,
        call: &Call<'_>,
    ) -> Result<Grant, RpcError> {
        let now = state.now();
        if let Some(token) = call.params.text("access_token") {
            return self.tokens.grant(&token, now).ok_or_else(|| unauthorized("invalid_token"));
        }
        let session = call.connection.and_then(|connection| self.session(connection).grant.clone());
        let grant = call.header.clone().or(session).ok_or_else(|| unauthorized("no_token"))?;
        if grant.expires > now { Ok(grant) } else { Err(unauthorized("token_expired")) }
    }

    /// Whether a connection is logged in now.
    pub(crate) fn is_logged_in(&self, state: &VenueState, connection: ConnectionId) -> bool {
        let grant = self.sessions.get(&connection).and_then(|session| session.grant.as_ref());
        grant.is_some_and(|grant| grant.expires > state.now())
    }
}

fn check_signature(state: &VenueState, call: &Call<'_>) -> Result<(), RpcError> {
    let params = call.params;
    let timestamp = params.required("timestamp")?;
    let nonce = params.text("nonce").unwrap_or_default();
    let data = params.text("data").unwrap_or_default();
    let signature = params.required("signature")?;
    if params.required("client_id")? != state.credentials.api_key {
        return Err(invalid_credentials());
    }
    check_age(state, &timestamp)?;
    let payload = sign::auth_payload(&timestamp, &nonce, &data);
    if sign::matches(&state.credentials.api_secret, &payload, &signature) {
        Ok(())
    } else {
        Err(unauthorized("invalid_signature"))
    }
}

/// Refuses a signature whose timestamp is far from now.
pub(crate) fn check_age(state: &VenueState, timestamp: &str) -> Result<(), RpcError> {
    let sent: i64 = timestamp.parse().map_err(|_| unauthorized("invalid_timestamp"))?;
    let age = state.now().as_millisecond().saturating_sub(sent);
    if age.saturating_abs() > SIGNATURE_AGE_MS_MAX {
        return Err(unauthorized("timestamp_too_old_or_in_the_future"));
    }
    Ok(())
}

pub(crate) fn invalid_credentials() -> RpcError {
    RpcError::new(13004, "invalid_credentials")
}

pub(crate) fn unauthorized(reason: &str) -> RpcError {
    RpcError::because(13009, "unauthorized", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_grants_all_unless_it_names_less() {
        let all = "connection mainaccount account:read_write trade:read_write";
        assert_eq!(Scope::granted("").text(), all);
        assert_eq!(Scope::granted("connection").text(), all);
        let narrow = Scope::granted("session:gw trade:read expires:60");
        assert_eq!(narrow.text(), "session:gw mainaccount account:none trade:read");
        assert_eq!(narrow.expires_seconds, 60);
    }

    #[test]
    fn a_token_ends_with_its_time_its_connection_and_its_refresh() {
        let now = Timestamp::UNIX_EPOCH;
        let later = now + SignedDuration::from_secs(10);
        let mut tokens = Tokens::default();
        let grant = |scope: &str| Grant { scope: Scope::granted(scope), expires: later };
        let bound = tokens.issue(grant(""), Some(7), now).access.clone();
        let named = tokens.issue(grant("session:a"), Some(7), now).access.clone();
        assert_ne!(bound, named);
        assert!(tokens.grant(&bound, now).is_some());
        assert!(tokens.grant(&bound, later).is_none());
        tokens.closed(7);
        assert!(tokens.grant(&bound, now).is_none());
        assert!(tokens.grant(&named, now).is_some());
        let refresh = tokens.issued[0].refresh.clone();
        assert!(tokens.refresh(&refresh).is_some());
        assert!(tokens.refresh(&refresh).is_none());
    }
}
