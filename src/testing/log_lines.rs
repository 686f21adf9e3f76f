//! What a node logs, for tests to look at.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use slog::{Drain, KV, Key, Logger, Never, OwnedKVList, Record, Serializer, o};

use crate::types::TimestampMs;

/// All lines so far, each as `message key=value ..`, with the time it came. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct LogLines(Arc<Mutex<Vec<(TimestampMs, String)>>>);

impl LogLines {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A logger that writes here.
    pub fn logger(&self) -> Logger {
        Logger::root(self.clone(), o!())
    }

    /// The lines so far, in the order in which they came.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.timed().into_iter().map(|(_, line)| line).collect()
    }

    /// The same with their times.
    #[must_use]
    pub fn timed(&self) -> Vec<(TimestampMs, String)> {
        self.0
            .lock()
            .expect("no call panics while it has the lock")
            .clone()
    }

    /// Those that begin like this.
    #[must_use]
    pub fn beginning(&self, start: &str) -> Vec<String> {
        let mut lines = self.all();
        lines.retain(|line| line.starts_with(start));
        lines
    }
}

impl Drain for LogLines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        let mut pairs = Pairs(Vec::new());
        record
            .kv()
            .serialize(record, &mut pairs)
            .expect("writing to a string does not fail");
        // The last pair comes first.
        pairs.0.reverse();
        let line = format!("{} {}", record.msg(), pairs.0.join(" "));
        self.0
            .lock()
            .expect("no call panics while it has the lock")
            .push((crate::clock::wall(), line));
        Ok(())
    }
}

struct Pairs(Vec<String>);

impl Serializer for Pairs {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.0.push(format!("{key}={value}"));
        Ok(())
    }
}
