//! The layers on top of each other: default, file, environment.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use super::{
    environment::EnvironmentLayer,
    error::{ConfigError, Excerpt, Problem},
    file::FileLayer,
    options::Key,
    origin::{Origin, Origins},
    source::Source,
    value::{Refusal, Value},
};

/// The layers while they are read; collects every fault instead of stopping at the first.
pub(super) struct Layers<'a> {
    source: Option<&'a Source>,
    file: FileLayer<'a>,
    environment: EnvironmentLayer,
    origins: Origins,
    errors: Vec<ConfigError>,
    faulty: BTreeSet<Key>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(source: Option<&'a Source>, environment: EnvironmentLayer) -> Self {
        let mut layers = Self {
            source,
            file: source.map(FileLayer::parse).unwrap_or_default(),
            environment,
            origins: Origins::default(),
            errors: Vec::new(),
            faulty: BTreeSet::new(),
        };
        layers.faulty.append(&mut layers.file.unread);
        layers.errors.append(&mut layers.file.errors);
        layers.errors.append(&mut layers.environment.errors);
        layers
    }

    /// The value of an option from the uppermost layer that has one. A value that cannot be read is noted
    /// and the default stands in for it; so is one that another layer covers, since it comes into force some day.
    pub(super) fn take<V: Value>(&mut self, key: Key, default: V) -> V {
        let mut value = None;
        if let Some(item) = self.file.values.get(&key) {
            let origin = self
                .source
                .map_or(Origin::Default, |source| source.origin(&item.span()));
            let read = V::from_item(item.get_ref());
            self.origins.set(key, origin);
            value = self.accept(key, read, &default);
        }
        if let Some(text) = self.environment.values.get(&key) {
            let read = V::from_text(text);
            self.origins.set(
                key,
                Origin::Environment {
                    variable: super::environment::variable(key),
                },
            );
            value = self.accept(key, read, &default).or(value);
        }
        value.unwrap_or(default)
    }

    fn accept<V: Value>(&mut self, key: Key, read: Result<V, Refusal>, default: &V) -> Option<V> {
        match read {
            Ok(value) => Some(value),
            Err(refusal) => {
                let help = refusal.remedy().unwrap_or_else(|| match self.origins.of(key) {
                    Origin::Environment { variable } => {
                        format!("for example {variable}={}", unquoted(default.example()))
                    }
                    Origin::Default | Origin::File { .. } => {
                        format!("for example {} = {}", key.name, default.example())
                    }
                });
                self.faulty.insert(key);
                self.report(key, Problem::Refused { key, refusal }, Vec::new(), help);
                None
            }
        }
    }

    /// Notes a value that is outside of its range.
    pub(super) fn check_range<V: Value + PartialOrd>(
        &mut self,
        key: Key,
        value: &V,
        range: &RangeInclusive<V>,
    ) {
        if range.contains(value) {
            return;
        }
        let (least, most) = (bare(range.start()), bare(range.end()));
        let help = format!("choose a value from {least} to {most}");
        self.faulty.insert(key);
        self.report(
            key,
            Problem::OutOfRange {
                key,
                value: bare(value),
                least,
                most,
            },
            Vec::new(),
            help,
        );
    }

    /// Notes a fault at the place where that option was set.
    pub(super) fn report(&mut self, key: Key, problem: Problem, notes: Vec<String>, help: String) {
        let origin = self.origins.of(key).clone();
        let excerpt = self.excerpt(key, &origin);
        self.errors.push(ConfigError {
            problem,
            origin,
            excerpt,
            notes,
            help,
        });
    }

    fn excerpt(&self, key: Key, origin: &Origin) -> Option<Excerpt> {
        match (origin, self.source, self.file.values.get(&key)) {
            (Origin::File { .. }, Some(source), Some(item)) => Some(source.excerpt(&item.span())),
            _ => None,
        }
    }

    /// True if that option's value is known to be wrong, so that nothing should be concluded from it.
    pub(super) fn is_faulty(&self, key: Key) -> bool {
        self.faulty.contains(&key)
    }

    /// A path that the file sets starts at the file's directory, so that the two can be moved together; another one where the
    /// process was started.
    pub(super) fn resolve(&self, key: Key, path: &mut Option<PathBuf>) {
        let Origin::File { path: file, .. } = self.origin(key) else {
            return;
        };
        if let Some(relative) = path.take_if(|path| path.is_relative()) {
            let beside = file.parent().unwrap_or(Path::new("")).join(relative);
            // Where the working directory is unknown, the path stays as it is and means the same.
            *path = Some(std::path::absolute(&beside).unwrap_or(beside));
        }
    }

    /// Where an option was set.
    pub(super) fn origin(&self, key: Key) -> &Origin {
        self.origins.of(key)
    }

    /// Where everything comes from, or all that is wrong.
    pub(super) fn finish(self) -> Result<Origins, Vec<ConfigError>> {
        if self.errors.is_empty() {
            Ok(self.origins)
        } else {
            Err(self.errors)
        }
    }
}

/// A value without the quotes that TOML puts around text.
pub(super) fn bare<V: Value>(value: &V) -> String {
    unquoted(value.to_toml())
}

/// As a variable holds it.
fn unquoted(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        toml::Value::Array(values) => values.into_iter().map(unquoted).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
