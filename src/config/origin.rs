//! Where a value comes from.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::options::Key;

/// Where a value was set; later ones win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default in the code.
    Default,
    /// In the file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// Line in it, from 1.
        line: usize,
        /// Character in that line, from 1.
        column: usize,
    },
    /// In the environment.
    Environment {
        /// The variable.
        variable: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment { variable } => f.write_str(variable),
        }
    }
}

/// Where each value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<Key, Origin>);

impl Origins {
    /// Where that option's value comes from.
    #[must_use]
    pub fn of(&self, key: Key) -> &Origin {
        self.0.get(&key).unwrap_or(&Origin::Default)
    }

    pub(super) fn set(&mut self, key: Key, origin: Origin) {
        self.0.insert(key, origin);
    }
}
