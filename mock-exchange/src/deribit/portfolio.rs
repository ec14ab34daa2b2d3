//! The account's figures and positions.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use super::messages::{currency, mark_price, notification};
use super::number::Number;
use crate::engine::Engine;
use crate::instrument::InstrumentId;
use crate::venue::state::VenueState;

/// Figures that are always zero: the account trades no options and borrows nothing.
const ZEROS: [&str; 22] = [
    "additional_reserve",
    "fee_balance",
    "futures_pl",
    "futures_session_rpl",
    "locked_balance",
    "options_delta",
    "options_gamma",
    "options_pl",
    "options_session_rpl",
    "options_session_upl",
    "options_theta",
    "options_value",
    "options_vega",
    "projected_delta_total",
    "session_rpl",
    "spot_reserve",
    "total_delta_total_usd",
    "total_equity_usd",
    "total_initial_margin_usd",
    "total_maintenance_margin_usd",
    "total_margin_balance_usd",
    "total_pl",
];

type Figures = BTreeMap<&'static str, Number>;

/// One currency of the account.
#[derive(Debug, Serialize)]
pub(crate) struct Portfolio {
    currency: String,
    margin_model: &'static str,
    #[serde(rename = "portfolio_margining_enabled")]
    margining_enabled: bool,
    cross_collateral_enabled: bool,
    options_gamma_map: Figures,
    options_vega_map: Figures,
    options_theta_map: Figures,
    delta_total_map: Figures,
    #[serde(flatten)]
    figures: Figures,
}

/// The account in one currency.
pub(crate) fn portfolio(engine: &Engine, asset: &str) -> Portfolio {
    let held = engine.account().balance(asset);
    let balance = held.free + held.locked;
    let (mut profit, mut delta) = (Decimal::ZERO, Decimal::ZERO);
    for (id, instrument) in engine.instruments().iter().enumerate() {
        let Some(contract) = &instrument.contract else { continue };
        if *contract.settlement == *asset {
            let (own, mark) = (engine.position(id), mark_price(engine, id));
            profit += contract.profit(own.average_price, mark, own.size);
            delta += contract.value(mark, own.size);
        }
    }
    let margin = engine.positions_margin(asset);
    let initial = margin + held.locked;
    let equity = balance + profit;
    let figures = [
        ("balance", balance),
        ("equity", equity),
        ("margin_balance", equity),
        ("initial_margin", initial),
        ("projected_initial_margin", initial),
        ("maintenance_margin", margin / Decimal::TWO),
        ("projected_maintenance_margin", margin / Decimal::TWO),
        ("available_funds", equity - initial),
        ("available_withdrawal_funds", (equity - initial).min(balance)),
        ("session_upl", profit),
        ("futures_session_upl", profit),
        ("delta_total", delta),
    ];
    let zeros = ZEROS.iter().map(|name| (*name, Number(Decimal::ZERO)));
    let figures = figures.into_iter().map(|(name, value)| (name, Number(value.round_dp(8))));
    Portfolio {
        currency: asset.to_owned(),
        margin_model: "segregated_sm",
        margining_enabled: false,
        cross_collateral_enabled: false,
        options_gamma_map: Figures::new(),
        options_vega_map: Figures::new(),
        options_theta_map: Figures::new(),
        delta_total_map: Figures::new(),
        figures: zeros.chain(figures).collect(),
    }
}

/// The currencies that the account holds.
pub(crate) fn currencies(engine: &Engine) -> Vec<String> {
    engine.account().balances().keys().map(ToString::to_string).collect()
}

/// The messages of a portfolio channel: one a currency.
pub(crate) fn messages(state: &VenueState, channel: &str, currency: Option<&str>) -> Vec<String> {
    let held = currencies(&state.engine);
    let wanted = held.iter().filter(|asset| currency.is_none_or(|currency| currency == **asset));
    wanted.map(|asset| notification(channel, portfolio(&state.engine, asset))).collect()
}

/// A position. The size is negative for a short one.
#[derive(Debug, Serialize)]
pub(crate) struct PositionMessage {
    instrument_name: String,
    kind: &'static str,
    direction: &'static str,
    size: Number,
    size_currency: Number,
    average_price: Number,
    mark_price: Number,
    index_price: Number,
    settlement_price: Number,
    floating_profit_loss: Number,
    realized_profit_loss: Number,
    total_profit_loss: Number,
    initial_margin: Number,
    maintenance_margin: Number,
    open_orders_margin: Number,
    delta: Number,
    leverage: u32,
    estimated_liquidation_price: Option<Number>,
}

/// The position in an instrument, closed or not.
pub(crate) fn position(engine: &Engine, id: InstrumentId) -> PositionMessage {
    let instrument = &engine.instruments()[id];
    let (own, mark) = (engine.position(id), mark_price(engine, id));
    let orders = engine.open_orders().filter(|order| order.instrument == id);
    let locked: Decimal = orders.map(|order| order.locked).sum();
    let contract = instrument.contract.as_ref();
    let value = contract.map_or(Decimal::ZERO, |c| c.value(mark, own.size)).round_dp(8);
    let profit = contract.map_or(Decimal::ZERO, |c| c.profit(own.average_price, mark, own.size));
    let margin = contract.map_or(Decimal::ZERO, |c| c.margin(mark, own.size.abs()));
    let direction = match own.size {
        size if size.is_zero() => "zero",
        size if size.is_sign_negative() => "sell",
        _ => "buy",
    };
    let number = |value: Decimal| Number(value.round_dp(8));
    PositionMessage {
        instrument_name: instrument.symbol.to_string(),
        kind: "future",
        direction,
        size: Number(own.size),
        size_currency: Number(value),
        average_price: Number(own.average_price),
        mark_price: Number(mark),
        index_price: Number(mark),
        settlement_price: Number(engine.stats(id).open),
        floating_profit_loss: number(profit),
        realized_profit_loss: number(own.realised),
        total_profit_loss: number(profit),
        initial_margin: number(margin),
        maintenance_margin: number(margin / Decimal::TWO),
        open_orders_margin: number(locked),
        delta: Number(value),
        leverage: 50,
        estimated_liquidation_price: None,
    }
}

/// The positions of a currency, or of all; closed ones are left out.
pub(crate) fn positions(engine: &Engine, wanted: Option<&str>) -> Vec<PositionMessage> {
    let listed = engine.instruments().iter().enumerate();
    listed
        .filter(|(id, instrument)| {
            !engine.position(*id).size.is_zero()
                && wanted.is_none_or(|wanted| currency(instrument) == wanted)
        })
        .map(|(id, _)| position(engine, id))
        .collect()
}
