//! The profit of the UTC day. Pure.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use crate::types::{DayStart, Instrument, Position, Timestamp};

/// The profit of a UTC day in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DayProfit {
    /// Realised and unrealised profit less fees since the day began; a loss is below zero. Fees in
    /// other assets are not in it.
    pub(crate) profit: Decimal,
    /// What is held without a price now: it counts with nothing but what was closed of it.
    pub(crate) unpriced: Vec<Instrument>,
}

/// The date in UTC.
pub(super) fn date(now: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(now).date()
}

/// Notes how a position stands, if it is seen for the first time on this day or with a price for
/// the first time on it; tells whether it was. `unrealized` is the profit of what is held now, at a
/// price of now.
pub(super) fn begin(position: &mut Position, today: Date, unrealized: Option<Decimal>) -> bool {
    let held = if position.is_flat() { Some(Decimal::ZERO) } else { unrealized };
    match &mut position.day {
        // A clock that is set back does not make a day begin again.
        Some(day) if day.date >= today => match (day.unrealized, held) {
            (None, Some(held)) => {
                day.unrealized = Some(held);
                true
            }
            _ => false,
        },
        _ => {
            position.day = Some(DayStart { date: today, net: position.net(), unrealized: held });
            true
        }
    }
}

/// The profit since the day began, whose beginning has been [noted](begin), and whether all of it is
/// known: without a price of what is held it is that of what was closed, less fees.
pub(super) fn profit(position: &Position, unrealized: Option<Decimal>) -> (Decimal, bool) {
    let Some(day) = &position.day else { return (Decimal::ZERO, true) };
    let closed = position.net().saturating_sub(day.net);
    let held = if position.is_flat() { Some(Decimal::ZERO) } else { unrealized };
    match held.zip(day.unrealized) {
        Some((now, then)) => (closed.saturating_add(now.saturating_sub(then)), true),
        None => (closed, false),
    }
}
