//! What can be wrong with a configuration, each fault with its place and its remedy.

use std::{fmt, io};

use super::{acl_files::PolicyFileError, options::Key, origin::Origin, value::Refusal};
use crate::{error::Disposition, tls::MaterialError};

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read the configuration: {source}")]
    Unreadable {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not text.
    #[error("this is not UTF-8 text")]
    NotText,
    /// The file is not TOML.
    #[error("not TOML: {message}")]
    Syntax {
        /// What the parser said.
        message: String,
    },
    /// There is no such section.
    #[error("unknown section `[{section}]`")]
    UnknownSection {
        /// What stands in the file.
        section: String,
    },
    /// A key stands outside of all sections.
    #[error("`{name}` stands in no section")]
    NoSection {
        /// What stands in the file.
        name: String,
    },
    /// A section is not a table.
    #[error("`{section}` must be a section, not {found}")]
    NotASection {
        /// The section.
        section: &'static str,
        /// What stands in the file.
        found: &'static str,
    },
    /// The section has no such key.
    #[error("unknown key `{name}` in [{section}]")]
    UnknownKey {
        /// The section.
        section: &'static str,
        /// What stands in the file.
        name: String,
    },
    /// There is no such variable.
    #[error("no option belongs to this variable")]
    UnknownVariable,
    /// A value is of the wrong type or form.
    #[error("{key} {refusal}")]
    Refused {
        /// The option.
        key: Key,
        /// Why the value does not do.
        #[source]
        refusal: Refusal,
    },
    /// A value is outside of its range.
    #[error("{key} is {value}, which is not between {least} and {most}")]
    OutOfRange {
        /// The option.
        key: Key,
        /// Its value.
        value: String,
        /// The least allowed.
        least: String,
        /// The most allowed.
        most: String,
    },
    /// Two values do not go together.
    #[error("{}", contradiction(*larger, value, *factor, *smaller, other))]
    TooSmall {
        /// The option that must be larger.
        larger: Key,
        /// Its value.
        value: String,
        /// How many times larger.
        factor: u32,
        /// The option that it is compared with.
        smaller: Key,
        /// Its value.
        other: String,
    },
    /// An address that others can reach, without leave to be insecure.
    #[error(
        "{key} is {address}, which other machines can reach, but nothing is encrypted and {permission} is false"
    )]
    Exposed {
        /// The option that holds the address.
        key: Key,
        /// The address.
        address: String,
        /// The option that would allow it.
        permission: Key,
    },
    /// Two listeners on one address.
    #[error("{first} and {second} are both {address}")]
    SameAddress {
        /// One listener.
        first: Key,
        /// The other.
        second: Key,
        /// Their address.
        address: String,
    },
    /// A list names a node twice.
    #[error("{key} names {name} twice")]
    NamedTwice {
        /// The option.
        key: Key,
        /// The name.
        name: String,
    },
    /// Other nodes are named, and none of them can be found.
    #[error("{key} names {name}, but {seeds} is empty, so that this node finds no other")]
    NoWay {
        /// The option that names it.
        key: Key,
        /// One of the others.
        name: String,
        /// The option that would say where others are.
        seeds: Key,
    },
    /// An even number of voters.
    #[error("{key} is {value}, which is even: one voter less survives the loss of as many")]
    Even {
        /// The option.
        key: Key,
        /// Its value.
        value: u32,
    },
    /// A listener on all interfaces, and nothing that says how others reach it.
    #[error("{key} is {address}, which tells no other node where this one is, and {advertise} is auto")]
    Nowhere {
        /// The option of the listener.
        key: Key,
        /// Its address.
        address: String,
        /// The option that would say it.
        advertise: Key,
    },
    /// An address to be told to others that is none.
    #[error("{key} is {address}, where nobody can be reached")]
    NoAddress {
        /// The option.
        key: Key,
        /// The address.
        address: String,
    },
    /// Of several options that belong together, some are set and some are not.
    #[error("{set} is set and {missing} is not, and TLS needs both")]
    Incomplete {
        /// One that is set.
        set: Key,
        /// One that is not.
        missing: Key,
    },
    /// Somebody is to be asked for rights, and there are none.
    #[error("{policy} is none, so that nobody could do anything")]
    NoPolicy {
        /// The option that would name it.
        policy: Key,
    },
    /// A policy or a model cannot be used.
    #[error("{key}: {error}")]
    Policy {
        /// The option that names it.
        key: Key,
        /// What is wrong with it.
        #[source]
        error: PolicyFileError,
    },
    /// A file of TLS cannot be used.
    #[error("{key}: {error}")]
    Tls {
        /// The option that names it.
        key: Key,
        /// What is wrong with it.
        #[source]
        error: MaterialError,
    },
}

fn contradiction(larger: Key, value: &str, factor: u32, smaller: Key, other: &str) -> String {
    match factor {
        1 => format!("{larger} is {value}, less than {smaller}, which is {other}"),
        _ => format!("{larger} is {value}, less than {factor} times {smaller}, which is {other}"),
    }
}

/// The line that a fault stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The whole line.
    pub text: String,
    /// How many characters of it are at fault, from the origin's column on.
    pub width: usize,
}

/// One fault.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", place(origin, problem))]
pub struct ConfigError {
    /// What is wrong.
    #[source]
    pub problem: Problem,
    /// Where.
    pub origin: Origin,
    /// The line, if it is in a file.
    pub excerpt: Option<Excerpt>,
    /// The places of the other values that it is about.
    pub notes: Vec<String>,
    /// What to do.
    pub help: String,
}

/// A file that cannot be read has no lines to name.
fn place(origin: &Origin, problem: &Problem) -> String {
    match (problem, origin) {
        (Problem::Unreadable { .. }, Origin::File { path, .. }) => path.display().to_string(),
        _ => origin.to_string(),
    }
}

impl ConfigError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match &self.problem {
            Problem::Unreadable { .. }
            | Problem::NotText
            | Problem::Syntax { .. }
            | Problem::UnknownSection { .. }
            | Problem::NoSection { .. }
            | Problem::NotASection { .. }
            | Problem::UnknownKey { .. }
            | Problem::UnknownVariable
            | Problem::Refused { .. }
            | Problem::OutOfRange { .. }
            | Problem::TooSmall { .. }
            | Problem::Exposed { .. }
            | Problem::SameAddress { .. }
            | Problem::NamedTwice { .. }
            | Problem::NoWay { .. }
            | Problem::Even { .. }
            | Problem::Nowhere { .. }
            | Problem::NoAddress { .. }
            | Problem::Incomplete { .. }
            | Problem::NoPolicy { .. } => Disposition::Reject,
            Problem::Policy { error, .. } => error.disposition(),
            Problem::Tls { error, .. } => error.disposition(),
        }
    }

    /// By place: the file from top to bottom, then the environment by name.
    fn place(&self) -> (u8, usize, usize, &str) {
        match &self.origin {
            Origin::File { line, column, .. } => (0, *line, *column, ""),
            Origin::Environment { variable } => (1, 0, 0, variable),
            Origin::Default => (2, 0, 0, ""),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{self}")?;
        if let (Some(excerpt), Origin::File { line, column, .. }) = (&self.excerpt, &self.origin) {
            let gutter = line.to_string().len();
            writeln!(f, "{:gutter$} |", "")?;
            writeln!(f, "{line} | {}", excerpt.text)?;
            writeln!(
                f,
                "{:gutter$} | {:indent$}{}",
                "",
                "",
                "^".repeat(excerpt.width),
                indent = column - 1
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        write!(f, "help: {}", self.help)
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// In the order in which somebody reads the file.
    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|left, right| left.place().cmp(&right.place()));
        Self(errors)
    }

    /// Each fault by itself.
    #[must_use]
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }

    /// What is to be done about them.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        self.0
            .first()
            .map_or(Disposition::Reject, ConfigError::disposition)
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has 1 error")?,
            count => write!(f, "the configuration has {count} errors")?,
        }
        for error in &self.0 {
            f.write_str("\n\n")?;
            error.write(f)?;
        }
        Ok(())
    }
}
