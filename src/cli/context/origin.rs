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
    /// Of --ca, --cert and --key; `None`: there are none.
    pub(super) certificates: Option<Origin>,
}

impl Origins {
    /// What the verb's --addr came to.
    pub(in crate::cli) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// A line for each value that an error is about, unless whoever reads it has just typed it.
    pub(in crate::cli) fn notes(&self, error: &CliError) -> Vec<String> {
        let (address, certificates) = about(error);
        let is_news = |origin: &&Origin| **origin != Origin::Argument;
        let address = self.address.as_ref().filter(|_| address).filter(is_news);
        let certificates = self
            .certificates
            .as_ref()
            .filter(|_| certificates)
            .filter(is_news);
        let mut notes = Vec::new();
        notes.extend(address.map(|origin| format!("the address is {origin}")));
        notes.extend(certificates.map(|origin| format!("the certificates are {origin}")));
        notes
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
            | ErrorKind::WantsTls => (true, false),
            ErrorKind::Tls { .. } => (true, true),
            ErrorKind::TlsFiles(_) => (false, true),
            _ => (false, false),
        },
        CliError::PartlyDone { cause, .. } => about(cause),
        _ => (false, false),
    }
}
