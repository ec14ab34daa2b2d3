//! The `balances` channel: the account's assets, then its ledger entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::Serialize;

use super::ids;
use super::messages::{Kind, channel_data};
use super::number::Number;
use super::time::micros;
use crate::engine::{Account, Fill, Side};
use crate::instrument::Instrument;

#[derive(Serialize)]
struct Wallet {
    r#type: &'static str,
    id: &'static str,
    balance: Number,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the wire's names")]
struct Asset<'a> {
    asset: &'a str,
    asset_class: &'static str,
    balance: Number,
    wallets: [Wallet; 1],
}

/// Everything the account holds; the venue makes no difference between free and held amounts.
pub(crate) fn snapshot(account: &Account, sequence: u64) -> String {
    let data: Vec<Asset<'_>> = account
        .balances()
        .iter()
        .map(|(asset, amount)| {
            let balance = Number(amount.free + amount.locked);
            let wallets = [Wallet { r#type: "spot", id: "main", balance }];
            Asset { asset, asset_class: "currency", balance, wallets }
        })
        .collect();
    channel_data("balances", Kind::Snapshot, data, Some(sequence))
}

/// One entry of the account's ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerEntry {
    fill: u64,
    ledger_number: u64,
    asset: Arc<str>,
    amount: Decimal,
    fee: Decimal,
    /// The account's total of the asset after this entry.
    balance: Decimal,
    time: jiff::Timestamp,
}

/// The entries of fills in their order, two for each: what went in and what went out.
///
/// `account` is the state after all of them, so each balance is what the later ones leave over.
pub(crate) fn entries(
    fills: &[&Fill],
    instruments: &[Instrument],
    account: &Account,
) -> Vec<LedgerEntry> {
    let mut entries: Vec<LedgerEntry> = fills
        .iter()
        .flat_map(|fill| {
            let instrument = &instruments[fill.instrument];
            let (base, quote) = match fill.side {
                Side::Buy => (fill.quantity, -(fill.quantity * fill.price)),
                Side::Sell => (-fill.quantity, fill.quantity * fill.price),
            };
            [(1, &instrument.base, base), (0, &instrument.quote, quote)].map(
                |(number, asset, amount)| LedgerEntry {
                    fill: fill.trade_id,
                    ledger_number: fill.trade_id * 2 + number,
                    asset: asset.clone(),
                    amount,
                    fee: if fill.fee_asset == *asset { fill.fee } else { Decimal::ZERO },
                    balance: Decimal::ZERO,
                    time: fill.time,
                },
            )
        })
        .collect();
    let mut totals: BTreeMap<Arc<str>, Decimal> = BTreeMap::new();
    for entry in entries.iter_mut().rev() {
        let total = totals.entry(entry.asset.clone()).or_insert_with(|| {
            let amount = account.balance(&entry.asset);
            amount.free + amount.locked
        });
        entry.balance = *total;
        *total -= entry.amount - entry.fee;
    }
    entries
}

#[derive(Serialize)]
struct WireEntry<'a> {
    ledger_id: String,
    ref_id: String,
    timestamp: String,
    r#type: &'static str,
    asset: &'a str,
    asset_class: &'static str,
    category: &'static str,
    wallet_type: &'static str,
    wallet_id: &'static str,
    amount: Number,
    fee: Number,
    balance: Number,
}

/// The message of one entry.
pub(crate) fn update(entry: &LedgerEntry, sequence: u64) -> String {
    let data = WireEntry {
        ledger_id: ids::ledger_id(entry.ledger_number),
        ref_id: ids::execution_id(entry.fill),
        timestamp: micros(entry.time),
        r#type: "trade",
        asset: &entry.asset,
        asset_class: "currency",
        category: "trade",
        wallet_type: "spot",
        wallet_id: "main",
        amount: Number(entry.amount),
        fee: Number(entry.fee),
        balance: Number(entry.balance),
    };
    channel_data("balances", Kind::Update, [data], Some(sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_of_two_fills_add_up_to_the_account() {
        let instruments = [Instrument::new("BTC", "USD", "/")];
        let fill = |trade_id| Fill {
            trade_id,
            order_id: 1,
            client_id: "".into(),
            instrument: 0,
            side: Side::Buy,
            price: Decimal::from(100),
            quantity: Decimal::TWO,
            fee: Decimal::ONE,
            fee_asset: "USD".into(),
            sequence: 1,
            profit: Decimal::ZERO,
            maker: true,
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        let (first, second) = (fill(1), fill(2));
        // The account started with 1000 USD and nothing else.
        let mut account = Account::default();
        account.credit(&"BTC".into(), Decimal::from(4));
        account.credit(&"USD".into(), Decimal::from(598));
        let entries = entries(&[&first, &second], &instruments, &account);
        let balances: Vec<(&str, Decimal)> =
            entries.iter().map(|entry| (&*entry.asset, entry.balance)).collect();
        assert_eq!(
            balances,
            [
                ("BTC", Decimal::from(2)),
                ("USD", Decimal::from(799)),
                ("BTC", Decimal::from(4)),
                ("USD", Decimal::from(598)),
            ]
        );
        assert_eq!(entries[0].fill, entries[1].fill, "both share their reference");
    }
}
