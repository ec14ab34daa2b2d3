//! The axis of a timeline: which stretch of time it shows, and where on it a moment is.

use std::fmt;

/// Parts that an axis has at most.
const PARTS: u64 = 8;

/// A stretch of time in milliseconds that begins and ends on a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    from: u64,
    to: u64,
    step: u64,
}

/// A share of the axis, in hundredths of a percent, at most 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Share(pub(super) u64);

const WHOLE: u64 = 10_000;

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}%", self.0 / 100, self.0 % 100)
    }
}

impl Axis {
    /// The shortest axis with round ticks that shows both moments.
    pub(super) fn over(from: u64, to: u64) -> Self {
        let span = to.saturating_sub(from).max(1);
        let mut decade: u64 = 1;
        let step = loop {
            let fits = [1, 2, 5].map(|digit| decade.saturating_mul(digit)).into_iter();
            if let Some(step) = fits.into_iter().find(|step| span.div_ceil(*step) <= PARTS) {
                break step;
            }
            decade = decade.saturating_mul(10);
        };
        let begin = from - from % step;
        let end = to.max(from + u64::from(to <= from && from < u64::MAX));
        let end = end.checked_next_multiple_of(step).unwrap_or(u64::MAX);
        Self { from: begin, to: end.max(begin.saturating_add(1)), step }
    }

    /// Where a moment is; what lies outside is at the nearer end.
    pub(super) fn place(&self, at: u64) -> Share {
        let (at, span) = (at.clamp(self.from, self.to) - self.from, self.to - self.from);
        let share = u128::from(at) * u128::from(WHOLE) / u128::from(span.max(1));
        Share(u64::try_from(share).unwrap_or(WHOLE).min(WHOLE))
    }

    /// Where a stretch begins, and how long it is.
    pub(super) fn stretch(&self, from: u64, to: u64) -> (Share, Share) {
        let (begin, end) = (self.place(from), self.place(to.max(from)));
        (begin, Share(end.0 - begin.0))
    }

    /// Whether it ends before that moment.
    pub(super) fn ends_before(&self, at: u64) -> bool {
        self.to < at
    }

    /// The distance of two ticks.
    pub(super) fn tick_distance(&self) -> Share {
        self.place(self.from.saturating_add(self.step))
    }

    /// Every tick with what is written at it.
    pub(super) fn ticks(&self) -> Vec<(Share, String)> {
        let mut ticks = Vec::new();
        let mut at = self.from;
        while at <= self.to {
            let label = if self.in_seconds() { seconds(at) } else { at.to_string() };
            ticks.push((self.place(at), label));
            let Some(next) = at.checked_add(self.step) else { break };
            at = next;
        }
        ticks
    }

    /// The unit of the labels.
    pub(super) fn unit(&self) -> &'static str {
        if self.in_seconds() { "s" } else { "ms" }
    }

    fn in_seconds(&self) -> bool {
        self.step >= 100 && self.to >= 2000
    }
}

fn seconds(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(axis: Axis) -> String {
        axis.ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn short_and_long_shutdowns_get_round_ticks() {
        for (from, to, expected, unit) in [
            (0, 0, "0 1", "ms"),
            (0, 7, "0 1 2 3 4 5 6 7", "ms"),
            (0, 19, "0 5 10 15 20", "ms"),
            (0, 8007, "0 2 4 6 8 10", "s"),
            (0, 20_000, "0 5 10 15 20", "s"),
            (0, 2100, "0 0.5 1 1.5 2 2.5", "s"),
            (8001, 8009, "8001 8002 8003 8004 8005 8006 8007 8008 8009", "ms"),
        ] {
            let axis = Axis::over(from, to);
            assert_eq!((labels(axis).as_str(), axis.unit()), (expected, unit), "{from} to {to}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_lies_on_the_axis_and_no_stretch_is_negative(
            from: u64, to: u64, one: u64, other: u64,
        ) {
            let axis = Axis::over(from, to);
            prop_assert!(axis.from < axis.to && axis.from <= from);
            prop_assert!(axis.ticks().len() <= 11, "{axis:?}");
            prop_assert!(from > to || !axis.ends_before(to));
            let (begin, width) = axis.stretch(one, other);
            prop_assert!(begin.0 + width.0 <= WHOLE);
            prop_assert!(one > other || axis.place(one) <= axis.place(other));
            prop_assert!(axis.tick_distance().0 > 0);
        }
    }
}
