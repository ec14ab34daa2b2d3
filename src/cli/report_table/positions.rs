//! Positions and profit.

use comfy_table::{Cell, Table};
use exchange_gateway::shutdown::{PositionReport, ShutdownReport};
use exchange_gateway::types::Price;
use rust_decimal::Decimal;

use super::table::{judged, new_table, right, wrapped};

/// Digits of averages and profits; the JSON has them all.
const DIGITS: u32 = 8;

pub(super) fn positions(report: &ShutdownReport, colors: bool) -> Table {
    let header = ["position", "policy", "held", "entry", "exit", "left", "profit"];
    let mut table = new_table(&header, colors);
    for position in &report.positions {
        let price = |price: Option<Price>| {
            right(price.map_or_else(String::new, |price| rounded(price.0).to_string()))
        };
        let left = position.left.normalize();
        table.add_row(vec![
            Cell::new(position.instrument),
            Cell::new(position.policy.as_str()),
            right(position.quantity.normalize()),
            price(position.entry),
            price(position.exit),
            right(if position.is_left() { judged(left, false) } else { Cell::new(left) }),
            right(format!("{} {}", signed(position.profit()), position.currency)),
        ]);
    }
    table
}

/// Why positions are not what was wanted, a line each.
pub(super) fn position_reasons(text: &mut String, positions: &[PositionReport]) {
    for position in positions {
        let instrument = position.instrument;
        if let Some(why) = &position.not_closed {
            text.push_str(&wrapped("  ", &format!("{instrument}: not closed: {why}")));
        }
        if let Some(difference) = position.difference.filter(|difference| !difference.is_zero()) {
            let difference = signed(difference);
            text.push_str(&wrapped(
                "  ",
                &format!("{instrument}: the exchange's own figure differs by {difference}"),
            ));
        }
        for (asset, fee) in &position.other_fees {
            text.push_str(&wrapped("  ", &format!("{instrument}: other fees: {fee} {asset}")));
        }
    }
}

pub(super) fn totals(report: &ShutdownReport, colors: bool) -> Table {
    let mut table = new_table(&["in", "realised", "fees", "unrealised", "profit", ""], colors);
    for (currency, total) in report.profit_totals() {
        let unpriced = match total.unpriced {
            0 => String::new(),
            count => format!("without {count} that have no price"),
        };
        table.add_row(vec![
            Cell::new(currency),
            right(signed(total.realized)),
            right(rounded(total.fees)),
            right(signed(total.unrealized)),
            right(signed(total.net)),
            Cell::new(unpriced),
        ]);
    }
    table
}

fn rounded(value: Decimal) -> Decimal {
    value.round_sf(DIGITS).unwrap_or(value).normalize()
}

fn signed(value: Decimal) -> String {
    let value = rounded(value);
    if value > Decimal::ZERO { format!("+{value}") } else { value.to_string() }
}
