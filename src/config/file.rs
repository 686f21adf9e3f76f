//! The TOML file as a layer: every value with its place, and everything in it that is no option.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{ConfigError, Excerpt, Problem},
    nearest::nearest,
    options::{Config, Key},
    origin::Origin,
    value::type_name,
};

/// A file's text, to turn positions in it into places that people can find.
pub(super) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Reads the file.
    ///
    /// Errors: it cannot be read, or is not text. Blocking: reads the disk.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let fault = |problem, line, column, help: &str| ConfigError {
            problem,
            origin: Origin::File {
                path: path.to_owned(),
                line,
                column,
            },
            excerpt: None,
            notes: Vec::new(),
            help: help.to_owned(),
        };
        let bytes = std::fs::read(path).map_err(|source| {
            fault(
                Problem::Unreadable { source },
                1,
                1,
                "name a readable file, or leave it out to use the defaults",
            )
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self {
                path: path.to_owned(),
                text,
            }),
            Err(error) => {
                let intact = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let (line, column) = line_and_column(&String::from_utf8_lossy(intact), intact.len());
                Err(fault(Problem::NotText, line, column, "save the file as UTF-8"))
            }
        }
    }

    /// The place of a stretch of the text.
    pub(super) fn origin(&self, span: &Range<usize>) -> Origin {
        let (line, column) = line_and_column(&self.text, span.start);
        Origin::File {
            path: self.path.clone(),
            line,
            column,
        }
    }

    /// The line in which a stretch of the text begins. Tabs become spaces, so that the mark below it stands right.
    pub(super) fn excerpt(&self, span: &Range<usize>) -> Excerpt {
        let start = char_start(&self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |newline| start + newline);
        let end = char_start(&self.text, span.end).clamp(start, line_end);
        Excerpt {
            text: self.text[line_start..line_end].trim_end().replace('\t', " "),
            width: self.text[start..end].trim_end().chars().count().max(1),
        }
    }

    fn fault(&self, problem: Problem, span: &Range<usize>, help: String) -> ConfigError {
        ConfigError {
            problem,
            origin: self.origin(span),
            excerpt: Some(self.excerpt(span)),
            notes: Vec::new(),
            help,
        }
    }

    fn syntax_fault(&self, fault: &toml::de::Error) -> ConfigError {
        let span = fault.span().unwrap_or_default();
        let help = match fault.message() {
            "duplicate key" => "keep one of the two".to_owned(),
            _ => syntax_remedy(self.excerpt(&span).text.trim()),
        };
        self.fault(
            Problem::Syntax {
                message: fault.message().to_owned(),
            },
            &span,
            help,
        )
    }
}

/// The start of the character that a byte belongs to, or the text's end.
fn char_start(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// Line and character, both from 1, of a byte in a text.
fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..char_start(text, byte)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

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
        let syntax = faults.iter().map(|fault| source.syntax_fault(fault)).collect();
        let mut layer = Self::default();
        for (section, item) in document.into_inner() {
            layer.take_section(source, &section, item);
        }
        layer.forget_guesses(source, syntax);
        layer
    }

    /// What stands in a line that the parser could not read was guessed by it: nothing is concluded from that.
    fn forget_guesses(&mut self, source: &Source, syntax: Vec<ConfigError>) {
        let broken: Vec<usize> = syntax.iter().filter_map(line_of).collect();
        self.errors
            .retain(|error| !line_of(error).is_some_and(|line| broken.contains(&line)));
        self.errors.extend(syntax);
        let line = |value: &Spanned<DeValue<'_>>| line_and_column(&source.text, value.span().start).0;
        let guessed = |value: &Spanned<DeValue<'_>>| broken.contains(&line(value));
        self.unread.extend(
            self.values
                .iter()
                .filter(|(_, value)| guessed(value))
                .map(|(key, _)| *key),
        );
        self.values.retain(|key, _| !self.unread.contains(key));
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

/// The commonest slip is a value without its quotes.
fn syntax_remedy(line: &str) -> String {
    if let Some((name, value)) = line.split_once('=') {
        let (name, value) = (name.trim(), value.split('#').next().unwrap_or_default().trim());
        if !value.is_empty() && !value.contains(['"', '\'']) {
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
