//! Options that nobody may read over a shoulder: never printed, not in an error either.

use base64::{Engine, engine::general_purpose::STANDARD};
use toml::de::DeValue;

use crate::types::GossipKey;

use super::{
    nearest::nearest,
    options::{Key, keys},
    value::{Refusal, Value, type_name},
};

/// The options whose values are secret.
pub(super) const SECRET: [Key; 1] = [keys::cluster::gossip_key];

/// What stands for a secret. It is no value of its option, so that a printed configuration with it is refused and does not
/// quietly run without the secret.
const HIDDEN: &str = "(hidden)";
/// How "no key" is written.
const NONE: &str = "none";

/// A line of a file without the secret that it may hold; `None` when it holds none. Also where the option's name is misspelt
/// or in the wrong section: what matters is what somebody meant to keep.
pub(super) fn without_secret(line: &str) -> Option<String> {
    let (name, _) = line.split_once('=')?;
    let meant = name
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .trim()
        .trim_matches(['"', '\'']);
    let names = || SECRET.iter().map(|key| key.name);
    let is_secret = names().any(|name| line.contains(name)) || nearest(meant, names()).is_some();
    is_secret.then(|| format!("{}= {HIDDEN}", name.replace('\t', " ")))
}

/// The key that gossip is encrypted with, if it is.
impl Value for Option<GossipKey> {
    const EXPECTED: &'static str = "16, 24 or 32 bytes in base64, or \"none\"";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        if text == NONE {
            return Ok(None);
        }
        let bytes = STANDARD.decode(text).map_err(|_| hidden())?;
        GossipKey::from_bytes(&bytes).map(Some).ok_or_else(hidden)
    }

    fn to_toml(&self) -> toml::Value {
        match self {
            None => NONE.into(),
            Some(_) => HIDDEN.into(),
        }
    }

    fn from_item(item: &DeValue<'_>) -> Result<Self, Refusal> {
        match item {
            DeValue::String(text) => Self::from_text(text),
            _ => Err(Refusal::WrongType {
                expected: Self::EXPECTED,
                found: type_name(item),
                meant: None,
            }),
        }
    }
}

fn hidden() -> Refusal {
    Refusal::Secret {
        expected: <Option<GossipKey>>::EXPECTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_length_are_read_and_shown_as_nothing() {
        for length in [16, 24, 32] {
            let key = <Option<GossipKey>>::from_text(&STANDARD.encode(vec![7; length])).unwrap();
            assert!(key.is_some());
            assert_eq!(key.to_toml().as_str(), Some(HIDDEN));
            assert!(!format!("{key:?}").contains('7'));
        }
        assert_eq!(<Option<GossipKey>>::from_text("none").unwrap(), None);
        for wrong in ["", "None", HIDDEN, "c2hvcnQ=", "?", &STANDARD.encode([7; 33])] {
            assert!(<Option<GossipKey>>::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_with_a_secret_is_shown_without_it() {
        for line in [
            "gossip_key = \"abc\"",
            "\tgossip_key=abc # x",
            "\"gossip_key\" = 'abc'",
            "gossip_kye = abc",
            "gosip_key = abc",
            "cluster.gossip_keys = \"abc\"",
            "cluster = { gossip_key = \"abc\" }",
        ] {
            let shown = without_secret(line).unwrap_or_else(|| panic!("{line}"));
            assert!(!shown.contains("abc"), "{shown}");
        }
        for line in [
            "name = \"key\"",
            "gossip = \"127.0.0.1:8401\"",
            "advertise_gossip = \"auto\"",
            "[cluster]",
        ] {
            assert_eq!(without_secret(line), None, "{line}");
        }
    }
}
