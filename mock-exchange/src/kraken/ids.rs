//! Ids in the venue's forms, derived from counters so that a run can be repeated.

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// `OXXXXX-XXXXX-XXXXXX`, one for each number.
pub(crate) fn order_id(number: u64) -> String {
    venue_id('O', number)
}

/// `TXXXXX-XXXXX-XXXXXX`, the id of an execution.
pub(crate) fn execution_id(number: u64) -> String {
    venue_id('T', number)
}

/// `LXXXXX-XXXXX-XXXXXX`, the id of a ledger entry.
pub(crate) fn ledger_id(number: u64) -> String {
    venue_id('L', number)
}

/// The number that an order id was made of; `None` for any other text.
pub(crate) fn order_number(id: &str) -> Option<u64> {
    let mut scrambled = 0_u128;
    for (place, byte) in id.bytes().filter(|byte| *byte != b'-').skip(1).enumerate().take(16) {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
        scrambled |= (digit as u128) << (5 * place);
    }
    let number = unscramble(u64::try_from(scrambled).ok()?);
    (order_id(number) == id).then_some(number)
}

/// The id of a change in place of an order.
pub(crate) fn amend_id(number: u64) -> String {
    venue_id('T', number.wrapping_add(1 << 40))
}

/// The id of the position an order's fills belong to.
pub(crate) fn position_id(number: u64) -> String {
    venue_id('P', number)
}

/// A connection id above 2^63, as the real ones are, so that clients that read it as a signed
/// number fail here and not in production.
pub(crate) fn connection_id(connection: u64) -> u64 {
    scramble(connection) | (1 << 63)
}

const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
/// The inverse of `SPREAD` modulo 2^64.
const GATHER: u64 = 0xF1DE_83E1_9937_733D;

/// Spreads neighbouring numbers; it is a bijection, so no two numbers share an id.
fn scramble(number: u64) -> u64 {
    number.wrapping_mul(SPREAD).rotate_left(29)
}

fn unscramble(number: u64) -> u64 {
    number.rotate_right(29).wrapping_mul(GATHER)
}

fn venue_id(prefix: char, number: u64) -> String {
    let mut rest = u128::from(scramble(number));
    let mut id = String::with_capacity(19);
    id.push(prefix);
    for place in 1..17 {
        if place == 6 || place == 11 {
            id.push('-');
        }
        id.push(char::from(ALPHABET[(rest & 31) as usize]));
        rest >>= 5;
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_have_the_venue_s_form_and_never_repeat() {
        let mut seen = BTreeSet::new();
        for number in 0..10_000 {
            let id = order_id(number);
            let parts: Vec<&str> = id.split('-').collect();
            let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
            assert_eq!(lengths, [6, 5, 6], "{id}");
            assert!(id.starts_with('O'), "{id}");
            assert_eq!(order_number(&id), Some(number));
            assert!(seen.insert(id), "number {number} repeats an id");
        }
    }

    #[test]
    fn other_text_is_no_order_id() {
        for text in ["", "O", "OABCDE-12345-FGHIJ", "TBBBBB-BBBBB-BBBBBB", "c-1", "--------"] {
            assert_eq!(order_number(text), None, "{text}");
        }
    }

    #[test]
    fn connection_ids_do_not_fit_a_signed_number() {
        assert!((0..100).all(|connection| i64::try_from(connection_id(connection)).is_err()));
    }
}
