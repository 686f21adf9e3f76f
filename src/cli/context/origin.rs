//! Where the address and the certificates of a verb came from, for those who wonder why it talks to that node.

use std::{fmt, path::PathBuf};

use super::super::error::CliError;
use crate::client::ErrorKind;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Origin {
    /// It was an argument.
    Argument,
    /// This variable of the environment.
    Variable(&'static str),
    /// A context.
    Context {
        /// Its name.
        name: String,
        /// The file that it is in.
        path: PathBuf,
    },
    /// Nobody said anything else.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument => f.write_str("from the command line"),
            Self::Variable(name) => write!(f, "from {name}"),
            Self::Context { name, path } => write!(f, "from context {name:?}, {}", path.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// Of a verb that talks to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Origins {
    /// Of --addr; `None`: the verb takes none.
    pub(super) address: Option<Origin>,
    /// What --addr comes to.
    pub(super) addresses: Vec<String>,
    /// Of those of --ca, --cert and --key that there are, in this order and by their names.
    pub(super) files: Vec<(&'static str, Origin)>,
}

impl Origins {
    /// What the verb's --addr came to.
    pub(in crate::cli) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// A line for each value that an error is about, unless whoever reads it has just typed it.
    pub(in crate::cli) fn notes(&self, error: &CliError) -> Vec<String> {
        let (address, certificates) = about(error);
        let address = self.address.as_ref().filter(|_| address);
        let address = address.filter(|origin| **origin != Origin::Argument);
        let mut notes = Vec::new();
        notes.extend(address.map(|origin| format!("the address is {origin}")));
        if certificates {
            notes.extend(self.notes_on_files());
        }
        notes
    }

    /// One for all of them, where they are from one place.
    fn notes_on_files(&self) -> Vec<String> {
        let news = self
            .files
            .iter()
            .filter(|(_, origin)| *origin != Origin::Argument);
        match self.files.as_slice() {
            [(_, first), rest @ ..] if rest.iter().all(|(_, origin)| origin == first) => news
                .take(1)
                .map(|(_, origin)| format!("the certificates are {origin}"))
                .collect(),
            _ => news
                .map(|(name, origin)| format!("--{name} is {origin}"))
                .collect(),
        }
    }

    /// What is wrong when a file is there without one that belongs to it, and where each is from.
    pub(super) fn missing_file(&self) -> Option<String> {
        let is_there = |name| self.files.iter().any(|(file, _)| *file == name);
        let missing = match (is_there("ca"), is_there("cert"), is_there("key")) {
            (_, true, false) => "--key (or ANNALS_KEY), the private key of that certificate",
            (_, false, true) => "--cert (or ANNALS_CERT), the certificate of that key",
            (false, true, true) => "--ca (or ANNALS_CA), whom to believe",
            (_, false, false) | (true, true, true) => return None,
        };
        let there: Vec<_> = self
            .files
            .iter()
            .map(|(name, origin)| format!("--{name} is {origin}"))
            .collect();
        Some(format!("{}; there is no {missing}", there.join(", ")))
    }
}

/// Whether it is about the address, and whether about certificates.
fn about(error: &CliError) -> (bool, bool) {
    match error {
        CliError::Stranger(_) => (true, false),
        CliError::Client(error) => match error.kind() {
            ErrorKind::CannotConnect { .. }
            | ErrorKind::NoNode { .. }
            | ErrorKind::NoAnswer { .. }
            | ErrorKind::Lost { .. }
            | ErrorKind::OtherLog { .. }
            | ErrorKind::Stranger { .. }
            | ErrorKind::WantsTls => (true, false),
            ErrorKind::Tls { .. } => (true, true),
            ErrorKind::TlsFiles(_) => (false, true),
            _ => (false, false),
        },
        CliError::PartlyDone { cause, .. } => about(cause),
        _ => (false, false),
    }
}
