//! Hashing for tables that are looked into at every tick.
//!
//! The keys of these tables come from the configuration, so nobody can choose keys that collide,
//! which is what the slower hasher of the standard library guards against.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map with quick lookups, for keys that are not chosen by others.
pub(crate) type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<QuickHasher>>;

/// Multiplies and rotates, eight bytes at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QuickHasher(u64);

impl QuickHasher {
    fn add(&mut self, word: u64) {
        // An odd number without a pattern; the product's upper bits depend on all of the word's.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    fn finish(&self) -> u64 {
        // The table's index is taken from the lower bits, which the product mixes least.
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash as _;

    use super::*;

    #[test]
    fn symbols_that_differ_a_little_spread_over_the_table() {
        let bucket = |symbol: String| {
            let mut hasher = QuickHasher::default();
            symbol.hash(&mut hasher);
            hasher.finish() % 1024
        };
        let symbols = (0..512).map(|n| format!("A{n:03}USDT"));
        let used: HashSet<_> = symbols.map(bucket).collect();
        // Chance alone fills 1024 * (1 - 1/e^0.5), some 400.
        assert!(used.len() > 350, "{}", used.len());
    }
}
