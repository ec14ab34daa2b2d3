//! What the tests of the state database share.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use exchange_gateway::state::{
    Committed, Database, Durability, Record, Recovered, RunEnd, WriteFailed, Writer,
};
use exchange_gateway::types::{
    ClientOrderId, Fee, Fill, Liquidity, NewOrder, Order, OrderStatus, Position, Quote, Side, Tick,
    TickData, Timestamp, Trade,
};
use exchange_gateway::{LastTick, StateDirectory};

/// Longer than anything takes here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory in memory where there is one: thousands of databases are made, and none of these
/// tests is about the disk.
pub(crate) fn memory_directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

pub(crate) fn id(number: usize) -> ClientOrderId {
    format!("gw{number:06}").parse().unwrap()
}

pub(crate) fn time(number: usize) -> Timestamp {
    Timestamp::from_nanosecond(1_700_000_000_123_456_789 + i128::try_from(number).unwrap()).unwrap()
}

pub(crate) fn order(number: usize, status: OrderStatus) -> Order {
    let instrument = "kraken:BTC-USD".parse().unwrap();
    let price = "64123.10".parse().unwrap();
    Order {
        client_id: id(number),
        exchange_id: (number % 2 == 1).then(|| format!("OABC-{number}").parse().unwrap()),
        request: NewOrder::limit(instrument, Side::Buy, price, "0.00125000".parse().unwrap()),
        status,
        filled: "0.0005".parse().unwrap(),
        booked: "0.0005".parse().unwrap(),
        reason: number.is_multiple_of(3).then(|| "said \"so\"".to_owned()),
        created: time(number),
        updated: time(number + 5),
    }
}

pub(crate) fn fill(number: usize) -> Fill {
    Fill {
        fill_id: format!("T{number}"),
        price: "64123.1".parse().unwrap(),
        quantity: "0.00050".parse().unwrap(),
        fee: Some(Fee { asset: "USD".into(), amount: "-0.01".parse().unwrap() }),
        liquidity: Some(Liquidity::Maker),
        time: Some(time(number)),
    }
}

pub(crate) fn position() -> Position {
    let mut position = Position::empty("kraken:BTC-USD".parse().unwrap(), "USD");
    position.quantity = "0.00100".parse().unwrap();
    position.entry = Some("64123.1".parse().unwrap());
    position.fees = "-0.02".parse().unwrap();
    position.bought = position.quantity;
    position.updated = time(4);
    position
}

pub(crate) fn last_tick(name: &str) -> LastTick {
    let instrument = name.parse().unwrap();
    let tick = |data| Tick { instrument, exchange_time: Some(time(1)), received: time(2), data };
    let trade = Trade {
        price: "1234567890.123456789".parse().unwrap(),
        quantity: "0.00000001".parse().unwrap(),
        taker_side: Side::Sell,
        trade_id: u64::MAX,
    };
    let quote = Quote {
        bid: "1.0".parse().unwrap(),
        bid_quantity: "2".parse().unwrap(),
        ask: "1.10".parse().unwrap(),
        ask_quantity: "3".parse().unwrap(),
    };
    let (trade, quote) = (TickData::Trade(trade), TickData::Quote(quote));
    LastTick { instrument, trade: Some(tick(trade)), quote: Some(tick(quote)), count: 7 }
}

pub(crate) fn run_end() -> RunEnd {
    RunEnd {
        ended: time(9),
        trigger: "SIGTERM".into(),
        outcome: "clean".into(),
        report: "{\"outcome\":\"clean\"}".into(),
    }
}

pub(crate) fn open(directory: &Path) -> (Database, Recovered) {
    let state = StateDirectory::open(directory).unwrap();
    Database::open(&state, Durability::Process).unwrap()
}

/// A callback, and where its result arrives.
pub(crate) fn callback() -> (Committed, mpsc::Receiver<Result<(), WriteFailed>>) {
    let (sender, receiver) = mpsc::channel();
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.unwrap() })
}

pub(crate) fn flush(writer: &Writer) {
    wait(writer.flush()).unwrap();
}

/// A small database with something in every table, closed in order: orders 0 to 2 are open, 3 and
/// 4 have ended, and order 1 has a fill.
pub(crate) fn fill_small(directory: &Path) {
    let (database, _) = open(directory);
    let writer = database.writer();
    for number in 0..5 {
        writer.record(Record::order(order(number, OrderStatus::Pending)));
        let status = if number < 3 { OrderStatus::Open } else { OrderStatus::Filled };
        writer.record(Record::order(order(number, status)));
    }
    let instrument = "kraken:BTC-USD".parse().unwrap();
    writer.record(Record::fill(id(1), instrument, fill(1)));
    writer.record(Record::fill(id(3), instrument, fill(3)));
    writer.record(Record::Position(Box::new(position())));
    writer.record(Record::Ticks { ticks: vec![last_tick("kraken:BTC-USD")] });
    writer.record(Record::RunEnded(Box::new(run_end())));
    database.close().unwrap();
}

pub(crate) const FILES: [&str; 3] = ["gateway.db", "gateway.db-wal", "gateway.db-sums"];

/// Copies the files of a database; those of `to` are replaced.
pub(crate) fn copy_state(from: &Path, to: &Path) {
    for name in FILES {
        _ = std::fs::remove_file(to.join(name));
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// Makes a closed database what it would be if an earlier gateway had written it: schema version 1,
/// without positions. The page sums are those of the file as it is then.
pub(crate) fn to_version_1(directory: &Path) {
    let path = directory.join("gateway.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    let columns = "exchange TEXT NOT NULL, instrument TEXT NOT NULL, fill_id TEXT NOT NULL,
        client_id TEXT NOT NULL, price TEXT NOT NULL, quantity TEXT NOT NULL, fee_asset TEXT,
        fee_amount TEXT, liquidity TEXT, time INTEGER, run INTEGER NOT NULL, sum INTEGER NOT NULL";
    let sql = format!(
        "DROP TABLE positions;
         CREATE TABLE old_fills ({columns}, PRIMARY KEY (exchange, instrument, fill_id)) STRICT,
             WITHOUT ROWID;
         INSERT INTO old_fills SELECT * FROM fills;
         DROP TABLE fills;
         ALTER TABLE old_fills RENAME TO fills;
         CREATE INDEX fills_of_order ON fills (client_id);
         PRAGMA user_version = 1;"
    );
    connection.execute_batch(&sql).unwrap();
    connection.close().unwrap();
    save_sums(directory);
}

/// Writes the page sums of the database file as it is.
pub(crate) fn save_sums(directory: &Path) {
    let file = std::fs::read(directory.join("gateway.db")).unwrap();
    let mut sums = b"EGPSUMS1".to_vec();
    for page in file.chunks(2048) {
        sums.extend(crc32fast::hash(page).to_le_bytes());
    }
    sums.extend(crc32fast::hash(&sums).to_le_bytes());
    std::fs::write(directory.join("gateway.db-sums"), sums).unwrap();
}

/// Every place of a text in a file.
pub(crate) fn places(path: &Path, text: &str) -> Vec<usize> {
    let bytes = std::fs::read(path).unwrap();
    let found = |window: &(usize, &[u8])| window.1 == text.as_bytes();
    bytes.windows(text.len()).enumerate().filter(found).map(|(place, _)| place).collect()
}

/// Flips bits of one byte.
pub(crate) fn flip(path: &Path, place: usize, bits: u8) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place as u64).unwrap();
    file.write_all_at(&[byte[0] ^ bits], place as u64).unwrap();
}
