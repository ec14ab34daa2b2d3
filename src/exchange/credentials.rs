//! API keys, which print as `<redacted>`.

use std::fmt;

/// Text that must not be shown: its `Debug` and `Display` print `<redacted>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Only signing code and handshakes need it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// A key and its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The public half; it is sent along with requests. Redacted all the same.
    pub api_key: Secret,
    /// The secret half; it only signs.
    pub api_secret: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_itself() {
        let credentials =
            Credentials { api_key: Secret::new("KEY"), api_secret: Secret::new("HUSH") };
        let shown = format!("{credentials:?} {}", credentials.api_secret);
        assert!(!shown.contains("HUSH") && !shown.contains("KEY"), "{shown}");
    }
}
