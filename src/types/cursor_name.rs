//! What a cursor may be called.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// Bytes of a name at most. Part of the format: an entry with a longer one names no cursor. A full table of such names keeps a
/// checkpoint's share below 160 KB.
pub const CURSOR_NAME_BYTES_MAX: usize = 128;

/// The name of a cursor: 1 to 128 of the characters `A-Z a-z 0-9 . _ -`, so that it stands in a file, a URL, a metric and a
/// shell as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CursorName(Arc<str>);

/// A text is no name of a cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shown:?} cannot be a cursor's name: it has 1 to {CURSOR_NAME_BYTES_MAX} characters, each a letter, a digit, \
     \".\", \"_\" or \"-\""
)]
pub struct NoCursorName {
    /// The text, as much of it as a person wants to see.
    shown: String,
}

impl CursorName {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of which these are the bytes; `None` when they are none.
    #[cfg(feature = "server")]
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok()?.parse().ok()
    }
}

impl FromStr for CursorName {
    type Err = NoCursorName;

    fn from_str(text: &str) -> Result<Self, NoCursorName> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=CURSOR_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_allowed) {
            return Ok(Self(text.into()));
        }
        let shown = text.chars().take(CURSOR_NAME_BYTES_MAX).collect();
        Err(NoCursorName { shown })
    }
}

impl Borrow<str> for CursorName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CursorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_of_few_characters() {
        let longest = "x".repeat(CURSOR_NAME_BYTES_MAX);
        for name in ["a", "billing", "A.b_c-9", &longest] {
            assert_eq!(name.parse::<CursorName>().unwrap().as_str(), name);
        }
        let too_long = "x".repeat(CURSOR_NAME_BYTES_MAX + 1);
        for text in ["", "a b", "a/b", "é", "a\n", "\u{0}", &too_long] {
            let refused = text.parse::<CursorName>().unwrap_err().to_string();
            assert!(refused.contains("1 to 128 characters"), "{refused}");
            assert!(refused.len() < 400, "{refused}");
        }
    }
}
