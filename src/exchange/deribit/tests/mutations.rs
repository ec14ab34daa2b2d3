use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Both sessions read it; neither may panic, and an error must say something.
fn read_by_both(text: &str) {
    let adapter = adapter(true);
    let mut market = adapter.market_session(known());
    let mut trading = adapter.trading_session(known());
    let mut out = Outbox::default();
    market.opened(now(), &mut out);
    trading.opened(now(), &mut out);
    let results = [receive(&mut *market, text), receive(&mut *trading, text)];
    for error in results.into_iter().filter_map(Result::err) {
        assert!(!error.reason.is_empty() && error.reason.len() < 2000, "{error}");
    }
}

/// Paths to all values of a message, the parents first.
fn paths(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(map) => {
                open.extend(map.iter().map(|(key, value)| (format!("{path}/{key}"), value)));
            }
            Value::Array(list) => {
                open.extend(
                    list.iter().enumerate().map(|(at, value)| (format!("{path}/{at}"), value)),
                );
            }
            _ => {}
        }
        if !path.is_empty() {
            found.push(path);
        }
    }
    found
}

fn remove(value: &mut Value, path: &str) {
    let (parent, key) = path.rsplit_once('/').unwrap();
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.remove(key)),
        Some(Value::Array(list)) => drop(list.remove(key.parse().unwrap())),
        _ => unreachable!("{path} was found"),
    }
}

fn odd_values() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        Value::Null,
        Value::Bool(true),
        serde_json::json!(-1),
        serde_json::json!(0),
        serde_json::json!(u64::MAX),
        serde_json::json!(i64::MIN),
        serde_json::json!(1e300),
        serde_json::json!(1.5),
        serde_json::json!(7.9e28),
        serde_json::json!(5e-324),
        serde_json::json!(""),
        serde_json::json!("NaN"),
        serde_json::json!("-0.00000001"),
        serde_json::json!("79228162514264337593543950335"),
        serde_json::json!("79228162514264337593543950336"),
        serde_json::json!("1e-400"),
        serde_json::json!("\u{0}é\"\\"),
        serde_json::json!([]),
        serde_json::json!({}),
        serde_json::json!([[1]]),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(
        file in any::<Index>(),
        flips in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = file.get(FIXTURES).1.as_bytes().to_vec();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_by_both(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn truncated_messages_never_panic(file in any::<Index>(), end in any::<Index>()) {
        let text = file.get(FIXTURES).1;
        let end = end.index(text.len());
        read_by_both(text.get(..end).unwrap_or_default());
    }

    #[test]
    fn missing_keys_never_panic(
        file in any::<Index>(),
        removals in prop::collection::vec(any::<Index>(), 1..4),
    ) {
        let mut value: Value = serde_json::from_str(file.get(FIXTURES).1).unwrap();
        for at in removals {
            let paths = paths(&value);
            if !paths.is_empty() {
                remove(&mut value, &paths[at.index(paths.len())]);
            }
        }
        read_by_both(&value.to_string());
    }

    #[test]
    fn odd_values_never_panic(
        file in any::<Index>(),
        swaps in prop::collection::vec((any::<Index>(), odd_values()), 1..4),
    ) {
        let mut value: Value = serde_json::from_str(file.get(FIXTURES).1).unwrap();
        for (at, odd) in swaps {
            let paths = paths(&value);
            if let Some(place) = value.pointer_mut(&paths[at.index(paths.len())]) {
                *place = odd;
            }
        }
        read_by_both(&value.to_string());
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed(depth in 1_usize..2_000) {
        let text = format!("{}{}", r#"{"params":"#.repeat(depth), "}".repeat(depth));
        read_by_both(&text);
    }
}
