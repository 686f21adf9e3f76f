//! Options whose values are words of our own: names and choices.

use std::fmt;

use crate::types::is_name;

use super::value::{Refusal, Value, unreadable};

/// What people call a node: 1 to 63 letters, digits, `-`, `_` and `.`, the first a letter or digit, so that it can
/// stand in a file name, a metric and a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the node of that number in a numbered set, as in `node-0`.
    #[must_use]
    pub fn numbered(number: u32) -> Self {
        Self(format!("node-{number}"))
    }
}

impl Value for NodeName {
    const EXPECTED: &'static str = "1 to 63 letters, digits, `-`, `_` or `.`, the first a letter or digit";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        if !is_name(text) {
            return Err(unreadable::<Self>(text));
        }
        Ok(Self(text.to_owned()))
    }

    fn to_toml(&self) -> toml::Value {
        self.0.clone().into()
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What people call a cluster; of the same letters as a node's name, since it stands beside it in gossip.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterName(NodeName);

impl ClusterName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Default for ClusterName {
    fn default() -> Self {
        Self(NodeName("annals".to_owned()))
    }
}

impl Value for ClusterName {
    const EXPECTED: &'static str = NodeName::EXPECTED;

    fn from_text(text: &str) -> Result<Self, Refusal> {
        NodeName::from_text(text)
            .map(Self)
            .map_err(|_| unreadable::<Self>(text))
    }

    fn to_toml(&self) -> toml::Value {
        self.0.to_toml()
    }
}

/// A closed set of words as a type of option.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $expected:literal, { $($(#[$word_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$word_doc])* $variant),+ }

        impl Value for $name {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, Refusal> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(unreadable::<Self>(text)),
                }
            }

            fn to_toml(&self) -> toml::Value {
                match self { $(Self::$variant => $word.into()),+ }
            }
        }
    };
}

words! {
    /// The least important lines that are still written.
    LogLevel, "one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"", {
        /// What needs somebody to act.
        Error = "error",
        /// And what went wrong but was dealt with.
        Warn = "warn",
        /// And what the node did: a few lines an hour.
        Info = "info",
        /// And how it came to do it.
        Debug = "debug",
        /// And the innermost doings of the libraries.
        Trace = "trace",
    }
}

words! {
    /// The form of the log's lines.
    LogFormat, "one of \"auto\", \"terminal\", \"json\"", {
        /// For people when standard error is a terminal, JSON otherwise.
        Auto = "auto",
        /// For people.
        Terminal = "terminal",
        /// One JSON object a line.
        Json = "json",
    }
}

pub(super) use words;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NAME_BYTES_MAX;

    #[test]
    fn names_that_could_not_stand_in_a_path_are_refused() {
        let longest = "n".repeat(NAME_BYTES_MAX);
        for name in ["node-0", "0", "shard_7.eu-west", &longest] {
            assert_eq!(NodeName::from_text(name).unwrap().as_str(), name);
        }
        let too_long = "n".repeat(NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", "-h", "a/b", "a b", "größe", &too_long] {
            assert!(NodeName::from_text(name).is_err(), "{name:?}");
        }
    }
}
