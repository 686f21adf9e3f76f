//! What one option's value can be, and how it is read from TOML, read from text and written back.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use toml::de::DeValue;

use super::units::{ByteSize, UnitError, format_duration, parse_duration};

/// How "no bound" is written.
const UNLIMITED: &str = "unlimited";
/// How "no file" is written.
const NONE: &str = "none";

/// A value is not what its option takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is of another type.
    #[error("must be {expected}, not {found}")]
    WrongType {
        /// What the option takes.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// It is not a number with a unit.
    #[error("must be {expected}, not `{text}`: {source}")]
    Unit {
        /// What the option takes.
        expected: &'static str,
        /// What stands there.
        text: String,
        /// Why that does not do.
        #[source]
        source: UnitError,
    },
    /// It is of the right type, but cannot be read.
    #[error("must be {expected}, not `{text}`")]
    Unreadable {
        /// What the option takes.
        expected: &'static str,
        /// What stands there.
        text: String,
    },
    /// It cannot be read, and is not to be shown.
    #[error("must be {expected}; what stands there is not shown, since it is secret")]
    Secret {
        /// What the option takes.
        expected: &'static str,
    },
}

impl Refusal {
    /// What to write instead, where that can be told from the value alone.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::WrongType { meant, .. } => meant.as_ref().map(|meant| format!("did you mean {meant}?")),
            Self::Unit { source, .. } => source.remedy(),
            Self::Unreadable { .. } | Self::Secret { .. } => None,
        }
    }
}

/// A type that an option can have.
pub(super) trait Value: Sized {
    /// What it takes, to stand behind "must be".
    const EXPECTED: &'static str;

    /// From a text without quotes: an environment variable, or a TOML string.
    fn from_text(text: &str) -> Result<Self, Refusal>;

    /// As TOML. What it gives, `from_item` reads back as the same value.
    fn to_toml(&self) -> toml::Value;

    /// From an item of a TOML file; most values are strings there.
    fn from_item(item: &DeValue<'_>) -> Result<Self, Refusal> {
        match item {
            DeValue::String(text) => Self::from_text(text),
            DeValue::Integer(number) => Err(wrong_type::<Self>(item, Self::meant_by(number.as_str()))),
            _ => Err(wrong_type::<Self>(item, None)),
        }
    }

    /// What stands behind "for example", when the default would say nothing.
    fn example(&self) -> toml::Value {
        self.to_toml()
    }

    /// What somebody meant who wrote a plain number, as it should be written.
    fn meant_by(_number: &str) -> Option<String> {
        None
    }
}

fn wrong_type<V: Value>(item: &DeValue<'_>, meant: Option<String>) -> Refusal {
    Refusal::WrongType {
        expected: V::EXPECTED,
        found: type_name(item),
        meant,
    }
}

/// A text that is not what the option takes.
pub(super) fn unreadable<V: Value>(text: &str) -> Refusal {
    Refusal::Unreadable {
        expected: V::EXPECTED,
        text: text.to_owned(),
    }
}

/// A type of TOML with its article.
pub(super) fn type_name(item: &DeValue<'_>) -> &'static str {
    match item {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a plain number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size such as \"64MiB\"";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|source| Refusal::Unit {
            expected: Self::EXPECTED,
            text: text.to_owned(),
            source,
        })
    }

    fn to_toml(&self) -> toml::Value {
        self.to_string().into()
    }

    fn meant_by(number: &str) -> Option<String> {
        number
            .parse()
            .ok()
            .map(|bytes| format!("\"{}\"", Self::from_bytes(bytes)))
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a length of time such as \"5s\"";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        parse_duration(text).map_err(|source| Refusal::Unit {
            expected: Self::EXPECTED,
            text: text.to_owned(),
            source,
        })
    }

    fn to_toml(&self) -> toml::Value {
        format_duration(*self).into()
    }

    fn meant_by(number: &str) -> Option<String> {
        Some(format!("\"{number}s\" or \"{number}ms\""))
    }
}

/// An upper bound that may be absent.
impl Value for Option<ByteSize> {
    const EXPECTED: &'static str = "a size such as \"64MiB\", or \"unlimited\"";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        bound_from_text(text, Self::EXPECTED)
    }

    fn to_toml(&self) -> toml::Value {
        self.as_ref().map_or_else(|| UNLIMITED.into(), Value::to_toml)
    }

    fn meant_by(number: &str) -> Option<String> {
        ByteSize::meant_by(number)
    }
}

/// An upper bound that may be absent.
impl Value for Option<Duration> {
    const EXPECTED: &'static str = "a length of time such as \"7d\", or \"unlimited\"";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        bound_from_text(text, Self::EXPECTED)
    }

    fn to_toml(&self) -> toml::Value {
        self.as_ref().map_or_else(|| UNLIMITED.into(), Value::to_toml)
    }

    fn meant_by(number: &str) -> Option<String> {
        Duration::meant_by(number)
    }
}

fn bound_from_text<V: Value>(text: &str, expected: &'static str) -> Result<Option<V>, Refusal> {
    if text == UNLIMITED {
        return Ok(None);
    }
    V::from_text(text).map(Some).map_err(|refusal| match refusal {
        Refusal::Unit { text, source, .. } => Refusal::Unit {
            expected,
            text,
            source,
        },
        other @ (Refusal::WrongType { .. } | Refusal::Unreadable { .. } | Refusal::Secret { .. }) => other,
    })
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number such as 1024";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| unreadable::<Self>(text))
    }

    fn to_toml(&self) -> toml::Value {
        i64::from(*self).into()
    }

    fn from_item(item: &DeValue<'_>) -> Result<Self, Refusal> {
        match item {
            DeValue::Integer(number) => Self::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| unreadable::<Self>(number.as_str())),
            DeValue::String(text) => Err(wrong_type::<Self>(
                item,
                text.parse::<Self>().ok().map(|n| n.to_string()),
            )),
            _ => Err(wrong_type::<Self>(item, None)),
        }
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| unreadable::<Self>(text))
    }

    fn to_toml(&self) -> toml::Value {
        (*self).into()
    }

    fn from_item(item: &DeValue<'_>) -> Result<Self, Refusal> {
        match item {
            DeValue::Boolean(value) => Ok(*value),
            DeValue::String(text) => Err(wrong_type::<Self>(
                item,
                text.parse::<Self>().ok().map(|b| b.to_string()),
            )),
            _ => Err(wrong_type::<Self>(item, None)),
        }
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str = "an IP address and a port such as \"127.0.0.1:8400\"";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| unreadable::<Self>(text))
    }

    fn to_toml(&self) -> toml::Value {
        self.to_string().into()
    }
}

/// A file that may be absent.
impl Value for Option<PathBuf> {
    const EXPECTED: &'static str = "a path such as \"/etc/annals/node-0.pem\", or \"none\"";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text {
            NONE => Ok(None),
            _ => PathBuf::from_text(text)
                .map(Some)
                .map_err(|_| unreadable::<Self>(text)),
        }
    }

    fn to_toml(&self) -> toml::Value {
        self.as_ref().map_or_else(|| NONE.into(), Value::to_toml)
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path such as \"/var/lib/annals\"";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            Err(unreadable::<Self>(text))
        } else {
            Ok(Self::from(text))
        }
    }

    fn to_toml(&self) -> toml::Value {
        self.to_string_lossy().into_owned().into()
    }
}
