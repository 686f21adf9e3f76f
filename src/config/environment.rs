//! The environment as a layer: `ANNALS__SECTION__KEY` sets one option, over whatever the file says.

use std::collections::BTreeMap;

use super::{
    error::{ConfigError, Problem},
    nearest::nearest,
    options::{Config, Key},
    origin::Origin,
};

/// What every variable of ours begins with. Two underscores, since names of options have single ones in them.
const PREFIX: &str = "ANNALS__";

/// The variable that sets an option.
#[must_use]
pub fn variable(key: Key) -> String {
    format!(
        "{PREFIX}{}__{}",
        key.section.to_uppercase(),
        key.name.to_uppercase()
    )
}

/// The variables of this process. What is not UTF-8 in them is replaced, so that it is refused by name later.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    })
}

/// What the environment sets.
#[derive(Default)]
pub(super) struct EnvironmentLayer {
    /// The text of each option that has a variable.
    pub(super) values: BTreeMap<Key, String>,
    /// Variables that look like ours and are not.
    pub(super) errors: Vec<ConfigError>,
}

impl EnvironmentLayer {
    /// Picks ours out of all variables.
    pub(super) fn parse(environment: impl Iterator<Item = (String, String)>) -> Self {
        let known: BTreeMap<String, Key> = Config::KEYS.iter().map(|key| (variable(*key), *key)).collect();
        let mut layer = Self::default();
        for (name, text) in environment.filter(|(name, _)| name.starts_with(PREFIX)) {
            match known.get(&name) {
                Some(key) => {
                    layer.values.insert(*key, text);
                }
                None => layer.errors.push(unknown(name, &known)),
            }
        }
        layer
    }
}

fn unknown(name: String, known: &BTreeMap<String, Key>) -> ConfigError {
    let help = match nearest(&name, known.keys().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => {
            "variables are named ANNALS__SECTION__KEY; `annals config show` lists every option".to_owned()
        }
    };
    ConfigError {
        problem: Problem::UnknownVariable,
        origin: Origin::Environment { variable: name },
        excerpt: None,
        notes: Vec::new(),
        help,
    }
}
