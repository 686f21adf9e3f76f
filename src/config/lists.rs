//! Options that hold several values: an array in TOML, and in a variable the values with commas between them.

use toml::de::DeValue;

use super::{
    addresses::HostPort,
    value::{Refusal, Value, type_name, unreadable},
    words::NodeName,
};

/// What a list can hold.
pub(super) trait Listed: Value {
    /// What the list takes, to stand behind "must be".
    const LIST_EXPECTED: &'static str;

    /// A list to stand behind "for example".
    const EXAMPLE: &'static [&'static str];
}

impl Listed for NodeName {
    const LIST_EXPECTED: &'static str = "an array of node names such as [\"node-0\", \"node-1\"]";
    const EXAMPLE: &'static [&'static str] = &["node-0", "node-1", "node-2"];
}

impl Listed for HostPort {
    const LIST_EXPECTED: &'static str = "an array of hosts with ports such as [\"10.0.0.1:8401\"]";
    const EXAMPLE: &'static [&'static str] = &["10.0.0.1:8401", "10.0.0.2:8401"];
}

impl<V: Listed> Value for Vec<V> {
    const EXPECTED: &'static str = V::LIST_EXPECTED;

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let parts = text.split(',').map(str::trim);
        match text.trim() {
            "" => Ok(Self::new()),
            _ => parts.map(V::from_text).collect(),
        }
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(Value::to_toml).collect())
    }

    fn from_item(item: &DeValue<'_>) -> Result<Self, Refusal> {
        match item {
            DeValue::Array(items) => items.iter().map(|item| V::from_item(item.get_ref())).collect(),
            DeValue::String(text) if !text.is_empty() => Err(Refusal::WrongType {
                expected: Self::EXPECTED,
                found: type_name(item),
                meant: Some(format!("[\"{text}\"]")),
            }),
            DeValue::String(text) => Err(unreadable::<Self>(text)),
            _ => Err(Refusal::WrongType {
                expected: Self::EXPECTED,
                found: type_name(item),
                meant: None,
            }),
        }
    }

    fn example(&self) -> toml::Value {
        toml::Value::Array(V::EXAMPLE.iter().map(|text| (*text).into()).collect())
    }
}
