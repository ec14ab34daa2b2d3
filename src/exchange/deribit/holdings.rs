//! The positions of the account.
//!
//! Source: <https://docs.deribit.com/api-reference/account-management/private-get_positions>.

use rust_decimal::Decimal;
use serde::Deserialize;
use url::Url;

use super::errors::RpcError;
use super::messages::{Envelope, Field, malformed, shorten};
use super::sign::Signer;
use crate::exchange::{DecodeError, HttpRequest, HttpResponse, SymbolTable};
use crate::types::{Held, Holding, Side, Timestamp};

const BODY: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"private/get_positions","params":{"currency":"any"}}"#;

pub(super) fn request(http: &Url, signer: &Signer, now: Timestamp) -> HttpRequest {
    let mut url = http.clone();
    url.set_path("/api/v2");
    let authorization = signer.authorize(url.path(), BODY, 1, now);
    let headers =
        vec![("authorization", authorization), ("content-type", "application/json".to_owned())];
    HttpRequest { method: "POST", url, headers, body: BODY.to_owned() }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PositionObject<'a> {
    #[serde(borrow)]
    instrument_name: Field<'a>,
    #[serde(borrow)]
    size: Field<'a>,
    #[serde(borrow)]
    direction: Field<'a>,
}

/// The positions in the instruments of the table; others are not the gateway's.
pub(super) fn read(
    response: &HttpResponse,
    symbols: &SymbolTable,
) -> Result<Vec<Holding>, DecodeError> {
    let answer: Envelope<'_> = serde_json::from_str(&response.body).map_err(|error| {
        let reason = malformed(&error).reason;
        DecodeError::new(format!("get_positions: status {}: {reason}", response.status))
    })?;
    if answer.error.is_present() {
        let RpcError { code, reason } = RpcError::read(answer.error);
        let code = code.map_or_else(String::new, |code| format!(" ({code})"));
        return Err(DecodeError::new(format!("get_positions was refused: {reason}{code}")));
    }
    let positions: Vec<PositionObject<'_>> = answer.result.read("result")?;
    let mut holdings = Vec::new();
    for position in &positions {
        let name = position.instrument_name.text("instrument_name")?;
        let Some(instrument) = symbols.instrument(&name) else { continue };
        let amount = signed(position)
            .map_err(|error| DecodeError::new(format!("position {}: {error}", shorten(&name))))?;
        holdings.push(Holding { held: Held::Instrument(instrument), amount });
    }
    Ok(holdings)
}

/// The size with the sign of the direction, which says `zero` of a closed position.
fn signed(position: &PositionObject<'_>) -> Result<Decimal, DecodeError> {
    let size = position.size.decimal("size")?;
    Ok(match position.direction.side("direction") {
        Ok(Side::Buy) => size.abs(),
        Ok(Side::Sell) => -size.abs(),
        Err(_) => size,
    })
}
