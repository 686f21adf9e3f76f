//! What a node tells Prometheus: the names, and the text format (ADR 0021).
//!
//! Nothing is counted for it beyond what is counted anyway: who is asked looks at what the parts publish.

mod exposition;
pub mod names;

pub use exposition::{Exposition, Value};

/// What becomes of a metric's value over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only rises, and begins again at 0 with the process, or with the part that counts.
    Counter,
}

impl Kind {
    /// As the format and the documents call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// A metric: a name, and what its values mean. `N` labels tell its samples apart.
#[derive(Clone, Copy, Debug)]
pub struct Metric<const N: usize> {
    /// Its name, with its unit at the end.
    pub name: &'static str,
    /// What becomes of its value.
    pub kind: Kind,
    /// The labels that every sample has.
    pub labels: [&'static str; N],
    /// What it is, in one line.
    pub help: &'static str,
}

/// A metric, however many labels it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: &'static str,
    /// What becomes of its value.
    pub kind: Kind,
    /// The labels that every sample has.
    pub labels: &'static [&'static str],
    /// What it is.
    pub help: &'static str,
}
