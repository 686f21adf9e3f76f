//! What interrupts a consumer that follows: told once when it begins, and once when it is over.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    client::error::{Error, in_tenths},
    clock,
};

/// Nothing comes to a consumer for a while, which goes on by itself. Told of by [`on_interruption`](super::ConsumerBuilder::on_interruption).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Interruption {
    /// It begins, for this reason. The consumer looks for a node where it can go on, for as long as that takes; what else goes wrong
    /// meanwhile is not told.
    Began(Error),
    /// It is over.
    Ended {
        /// Where the consumer goes on.
        address: String,
        /// For how long nothing could come.
        lasted: Duration,
    },
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began(error) => error.fmt(f),
            Self::Ended { address, lasted } => {
                let lasted = humantime::format_duration(in_tenths(*lasted));
                write!(f, "goes on at {address} after {lasted}")
            }
        }
    }
}

/// Whoever wants to know.
type Told = Arc<dyn Fn(&Interruption) + Send + Sync>;

/// Tells of interruptions, each once.
#[derive(Clone, Default)]
pub(super) struct Listener {
    told: Option<Told>,
    since: Option<Instant>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Tells `told`.
    pub(super) fn new(told: impl Fn(&Interruption) + Send + Sync + 'static) -> Self {
        Self {
            told: Some(Arc::new(told)),
            since: None,
        }
    }

    fn tell(&self, interruption: &Interruption) {
        if let Some(told) = &self.told {
            told(interruption);
        }
    }

    /// Something went wrong: news, unless something did before and is not over.
    pub(super) fn begin(&mut self, error: &Error) {
        if self.since.is_none() {
            self.since = Some(clock::now());
            self.tell(&Interruption::Began(error.clone()));
        }
    }

    /// Whether it is interrupted.
    pub(super) fn is_interrupted(&self) -> bool {
        self.since.is_some()
    }

    /// It goes on there.
    pub(super) fn end(&mut self, address: &impl fmt::Display) {
        if let Some(since) = self.since.take() {
            self.tell(&Interruption::Ended {
                address: address.to_string(),
                lasted: clock::now() - since,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn an_interruption_is_told_when_it_begins_and_when_it_ends_however_often_something_fails_between() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&told);
        let mut listener = Listener::new(move |interruption| {
            into.lock().unwrap().push(interruption.to_string());
        });
        listener.end(&"nobody");
        for round in ["a", "b"] {
            for number in 0..100 {
                listener.begin(&Error::lost(format!("{round}{number}")));
            }
            assert!(listener.is_interrupted());
            listener.end(&"node-1:8400");
            listener.end(&"node-1:8400");
        }
        let began = |round: &str| format!("the connection was lost: {round}0");
        let ended = "goes on at node-1:8400 after 0s".to_owned();
        let wanted = [began("a"), ended.clone(), began("b"), ended];
        assert_eq!(*told.lock().unwrap(), wanted);
    }
}
