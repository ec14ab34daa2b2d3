//! How often an exchange lets itself be written to, as typed rules that an adapter declares.

use std::time::Duration;

/// So many messages in any stretch of time of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRate {
    /// How many, at least 1.
    pub messages: u32,
    /// The length of the stretch.
    pub per: Duration,
}

/// How an exchange counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateRule {
    /// At most so many in a window of this length. Whether the exchange's windows slide or are
    /// aligned to its clock, the gateway stays within it in every stretch of that length.
    Window {
        /// How many, at least 1.
        most: u32,
        /// The length of the window.
        per: Duration,
    },
    /// A bucket: so many at once, and then one more each time that this has passed. Adapters leave
    /// some of the exchange's own bucket free, because what is written at an even pace may arrive
    /// bunched together.
    Bucket {
        /// How many at once, at least 1.
        burst: u32,
        /// After how long one more fits in.
        refill: Duration,
    },
}

impl RateRule {
    /// How many may be written at once. In a window that is half of what it holds: the other half is
    /// spread over the window, so that no window however placed has more than it may.
    pub fn burst(self) -> u32 {
        match self {
            Self::Window { most, .. } => (most / 2).max(1),
            Self::Bucket { burst, .. } => burst.max(1),
        }
    }

    /// After how long one more may be written.
    ///
    /// With a burst of `b` and one more each `t`, a window of length `w` gets at most `b + w / t`,
    /// which is kept at the window's limit. The window is taken a tenth longer than it is, because
    /// messages that are written at an even pace may arrive bunched together.
    pub fn interval(self) -> Duration {
        let interval = match self {
            Self::Window { most, per } => {
                let longer = per + per / 10;
                let spread = most.saturating_sub(self.burst()).max(1);
                // Rounded up, since rounding down would let one more in.
                longer / spread + Duration::from_nanos(1)
            }
            Self::Bucket { refill, .. } => refill,
        };
        interval.max(Duration::from_nanos(1))
    }
}

impl From<MessageRate> for RateRule {
    fn from(rate: MessageRate) -> Self {
        Self::Window { most: rate.messages, per: rate.per }
    }
}

/// Over what an exchange counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// All that the account does.
    Account,
    /// Each instrument by itself.
    Instrument,
}

/// What a cancel adds to a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelWeight {
    /// Always the same, and a cancel waits until it fits in; 0 where cancels are not counted.
    Waits(u32),
    /// By the order's age: the first entry whose age it has not reached, and nothing beyond the
    /// last. A cancel does not wait for it, because it passes all the same or gets cheaper with
    /// time; new orders wait longer for what it used up.
    ByAge(&'static [(Duration, u32)]),
}

/// One of an exchange's limits on orders, cancels and questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLimit {
    /// The exchange's own name for it, for logs.
    pub name: &'static str,
    /// How it counts.
    pub rule: RateRule,
    /// Over what it counts.
    pub scope: LimitScope,
    /// What a new order adds, 0 where it is not counted.
    pub order: u32,
    /// What a cancel adds.
    pub cancel: CancelWeight,
    /// What the question how an order stands adds, 0 where it is not counted.
    pub question: u32,
    /// What the question for an order's fills adds, 0 where it is not counted.
    pub fills: u32,
}

/// All of an exchange's limits on orders; a message is written when every one has room for it.
pub type OrderLimits = Vec<OrderLimit>;
