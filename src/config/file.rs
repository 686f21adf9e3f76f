//! The TOML file as a layer: every value with its place, and everything in it that is no option.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{ConfigError, Problem},
    nearest::nearest,
    options::{Config, Key},
    origin::Origin,
    source::{Source, line_and_column},
    value::type_name,
};

/// What a file sets.
#[derive(Default)]
pub(super) struct FileLayer<'a> {
    /// The values of known options, each with its stretch of the text.
    pub(super) values: BTreeMap<Key, Spanned<DeValue<'a>>>,
    /// Known options whose values the parser could not read.
    pub(super) unread: BTreeSet<Key>,
    /// All that is wrong with the rest.
    pub(super) errors: Vec<ConfigError>,
}

impl<'a> FileLayer<'a> {
    /// Sorts a file's contents into known options and errors; goes on behind an error as well as it can.
    pub(super) fn parse(source: &'a Source) -> Self {
        let (document, faults) = DeTable::parse_recoverable(&source.text);
        let syntax = faults.iter().map(|fault| syntax_fault(source, fault)).collect();
        let mut layer = Self::default();
        for (section, item) in document.into_inner() {
            layer.take_section(source, &section, item);
        }
        layer.forget_guesses(source, syntax);
        layer
    }

    /// The parser fills in what it could not read. Of that nothing is concluded: not from the values in a broken line,
    /// nor from the keys that have lost their section to a broken header.
    fn forget_guesses(&mut self, source: &Source, syntax: Vec<ConfigError>) {
        let is_header = |error: &ConfigError| {
            error
                .excerpt
                .as_ref()
                .is_some_and(|excerpt| excerpt.text.trim_start().starts_with('['))
        };
        let header_is_broken = syntax.iter().any(is_header);
        self.errors.retain(|error| match error.problem {
            Problem::NoSection { .. } | Problem::UnknownSection { .. } if header_is_broken => false,
            _ => syntax.iter().all(|other| other.origin != error.origin),
        });
        let broken: Vec<usize> = syntax.iter().filter_map(line_of).collect();
        let line = |value: &Spanned<DeValue<'_>>| line_and_column(&source.text, value.span().start).0;
        let guessed = |value: &Spanned<DeValue<'_>>| broken.contains(&line(value));
        self.unread.extend(
            self.values
                .iter()
                .filter(|(_, value)| guessed(value))
                .map(|(key, _)| *key),
        );
        self.values.retain(|key, _| !self.unread.contains(key));
        self.errors.extend(syntax);
    }

    fn take_section(&mut self, source: &Source, name: &Spanned<Cow<'a, str>>, item: Spanned<DeValue<'a>>) {
        let found = name.get_ref().as_ref();
        let Some(section) = Config::KEYS
            .iter()
            .map(|key| key.section)
            .find(|section| *section == found)
        else {
            self.errors.push(unknown_at_the_top(source, name, item.get_ref()));
            return;
        };
        let span = item.span();
        match item.into_inner() {
            DeValue::Table(table) => {
                for (name, value) in table {
                    self.take_value(source, section, &name, value);
                }
            }
            other => self.errors.push(source.fault(
                Problem::NotASection {
                    section,
                    found: type_name(&other),
                },
                &span,
                format!("write `[{section}]` on a line of its own, and its keys below it"),
            )),
        }
    }

    fn take_value(
        &mut self,
        source: &Source,
        section: &'static str,
        name: &Spanned<Cow<'a, str>>,
        value: Spanned<DeValue<'a>>,
    ) {
        let found = name.get_ref().as_ref();
        match Config::KEYS
            .iter()
            .find(|key| key.section == section && key.name == found)
        {
            Some(key) => {
                self.values.insert(*key, value);
            }
            None => self.errors.push(source.fault(
                Problem::UnknownKey {
                    section,
                    name: found.to_owned(),
                },
                &name.span(),
                unknown_key_remedy(section, found),
            )),
        }
    }
}

fn line_of(error: &ConfigError) -> Option<usize> {
    match &error.origin {
        Origin::File { line, .. } => Some(*line),
        Origin::Default | Origin::Environment { .. } => None,
    }
}

/// What the parser could not read.
fn syntax_fault(source: &Source, fault: &toml::de::Error) -> ConfigError {
    let span = fault.span().unwrap_or_default();
    let help = match fault.message() {
        "duplicate key" => "keep one of the two".to_owned(),
        _ => syntax_remedy(source.excerpt(&span).text.trim()),
    };
    source.fault(
        Problem::Syntax {
            message: fault.message().to_owned(),
        },
        &span,
        help,
    )
}

/// The commonest slip is a value without its quotes.
fn syntax_remedy(line: &str) -> String {
    if let Some((name, value)) = line.split_once('=') {
        let (name, value) = (name.trim(), value.split('#').next().unwrap_or_default().trim());
        if !name.is_empty() && !value.is_empty() && !value.contains(['"', '\'']) {
            let value = value.replace(' ', "");
            return format!("sizes, lengths of time and texts stand in quotes, as in {name} = \"{value}\"");
        }
    }
    "write a section as `[log]` and a value as `segment_bytes = \"64MiB\"`, each on a line of its own"
        .to_owned()
}

/// A name outside of all sections is a mistyped section, or a key whose section is missing.
fn unknown_at_the_top(source: &Source, name: &Spanned<Cow<'_, str>>, item: &DeValue<'_>) -> ConfigError {
    let found = name.get_ref().as_ref();
    if matches!(item, DeValue::Table(_) | DeValue::Array(_)) {
        let sections = Config::KEYS.iter().map(|key| key.section);
        let help = match nearest(found, sections) {
            Some(section) => format!("did you mean `[{section}]`?"),
            None => format!("the sections are {}", listed_sections()),
        };
        return source.fault(
            Problem::UnknownSection {
                section: found.to_owned(),
            },
            &name.span(),
            help,
        );
    }
    let help = match nearest(found, Config::KEYS.iter().map(|key| key.name)) {
        Some(near) => elsewhere(near).unwrap_or_default(),
        None => format!("every key stands in one of the sections {}", listed_sections()),
    };
    source.fault(
        Problem::NoSection {
            name: found.to_owned(),
        },
        &name.span(),
        help,
    )
}

fn unknown_key_remedy(section: &str, found: &str) -> String {
    let own = || {
        Config::KEYS
            .iter()
            .filter(|key| key.section == section)
            .map(|key| key.name)
    };
    if let Some(near) = nearest(found, own()) {
        return format!("did you mean `{near}`?");
    }
    elsewhere(found).unwrap_or_else(|| {
        format!(
            "the keys of [{section}] are {}",
            own().collect::<Vec<_>>().join(", ")
        )
    })
}

fn elsewhere(name: &str) -> Option<String> {
    let key = Config::KEYS.iter().find(|key| key.name == name)?;
    Some(format!("`{}` belongs in [{}]", key.name, key.section))
}

fn listed_sections() -> String {
    let mut sections: Vec<String> = Config::KEYS
        .iter()
        .map(|key| format!("[{}]", key.section))
        .collect();
    sections.dedup();
    sections.join(", ")
}
