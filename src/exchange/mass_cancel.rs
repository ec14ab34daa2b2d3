//! Cancelling every order of a scope with one request.

/// For which scopes an exchange has a request that cancels every order in it, whoever placed it.
/// Sources: named in each adapter beside the values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MassCancel {
    /// The whole account.
    pub account: bool,
    /// One instrument.
    pub instrument: bool,
}

impl MassCancel {
    /// There is none.
    pub const NONE: Self = Self { account: false, instrument: false };
}
