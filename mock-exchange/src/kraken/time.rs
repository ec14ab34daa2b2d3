//! Times as the venue writes them.

use jiff::Timestamp;

/// RFC 3339 in UTC with microseconds: `2023-09-22T10:33:05.709950Z`.
pub(crate) fn micros(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// RFC 3339 in UTC with whole seconds, as the dead man's switch answers.
pub(crate) fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_always_six_digits() {
        let time = Timestamp::from_microsecond(1_695_378_785_709_950).expect("time");
        assert_eq!(micros(time), "2023-09-22T10:33:05.709950Z");
        let whole = Timestamp::from_second(1_695_378_785).expect("time");
        assert_eq!(micros(whole), "2023-09-22T10:33:05.000000Z");
        assert_eq!(seconds(time), "2023-09-22T10:33:05Z");
    }
}
