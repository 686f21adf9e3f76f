//! What can be replaced while a node runs: files that it read at its start and reads again when somebody asks for it (SIGHUP), and
//! when their content changes.
//!
//! Content is compared, and not times or events: Kubernetes swaps a symbolic link far above the file, and editors replace files
//! in ways of their own. A second is soon enough, and reading a few files costs nothing.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use slog::{Logger, error, info};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};

/// How often is looked whether there is something new.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Something that can be replaced while the node runs.
pub(super) trait Reloadable: fmt::Debug + Send + Sync + 'static {
    /// What it is called in the log.
    fn name(&self) -> &'static str;

    /// Looks for something new, and puts it in force as a whole when it is right; answers what has changed, if anything has.
    /// `at_once`: somebody has asked for it, so nothing is waited for.
    ///
    /// Blocking. Errors: what is wrong with the new, once for each change, and each time `at_once`; the old stays in force.
    fn reload(&self, at_once: bool) -> Result<Option<String>, ReloadError>;

    /// Called after each look: does what time alone makes necessary. Blocking.
    fn look_after(&self) {}
}

/// Something new was found, and is not right. The node goes on with what it has; only an operator can do something about it.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub(super) struct ReloadError {
    /// What is wrong.
    #[source]
    pub(super) source: Box<dyn Error + Send + Sync>,
    /// What to do about it.
    pub(super) remedy: String,
}

/// What was found at the last look: nothing is taken that is not the same at two looks in a row, since a file that is written in place is
/// there by halves meanwhile.
#[derive(Debug)]
pub(super) struct LastLook<T>(Mutex<Option<T>>);

impl<T> Default for LastLook<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: PartialEq> LastLook<T> {
    /// Whether what is `found` now may be taken.
    pub(super) fn is_settled(&self, found: T) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = last.as_ref() == Some(&found);
        *last = Some(found);
        is_same
    }
}

/// Asks for a look at once. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct ReloadBell(Arc<Notify>);

impl ReloadBell {
    /// Asks; who has been asked already is not asked twice.
    pub(super) fn ring(&self) {
        self.0.notify_one();
    }
}

/// All that can be replaced.
#[derive(Debug)]
pub(super) struct Reloads {
    pub(super) sources: Vec<Arc<dyn Reloadable>>,
    pub(super) bell: ReloadBell,
    pub(super) logger: Logger,
}

impl Reloads {
    /// Looks for something new, each second and when asked, for as long as it is polled.
    ///
    /// Cancel: safe; a look under way is finished.
    pub(super) async fn run(self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reloads = Arc::new(self);
        loop {
            let at_once = tokio::select! {
                _ = looks.tick() => false,
                () = reloads.bell.0.notified() => true,
            };
            let look = Arc::clone(&reloads);
            if tokio::task::spawn_blocking(move || look.look(at_once))
                .await
                .is_err()
            {
                error!(
                    reloads.logger,
                    "a look for new files panicked; the old ones stay in force"
                );
            }
        }
    }

    fn look(&self, at_once: bool) {
        if at_once && self.sources.is_empty() {
            info!(self.logger, "asked to reload, and there is nothing that could be");
        }
        for source in &self.sources {
            match source.reload(at_once) {
                Ok(Some(what)) => {
                    info!(self.logger, "reloaded"; "what" => source.name(), "changed" => what);
                }
                Ok(None) if at_once => {
                    info!(self.logger, "nothing to reload: nothing has changed"; "what" => source.name());
                }
                Ok(None) => {}
                Err(error) => {
                    // What is found wrong says all that is behind it by itself.
                    let why = error.to_string();
                    error!(self.logger, "cannot reload; what was in force stays so";
                        "what" => source.name(), "why" => why, "help" => &error.remedy);
                }
            }
            source.look_after();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use slog::{Discard, o};

    use super::*;

    /// Counts looks; panics at the first.
    #[derive(Debug, Default)]
    struct Counted {
        asked: AtomicU64,
        looked: Notify,
        panicked: AtomicU64,
    }

    impl Reloadable for Counted {
        fn name(&self) -> &'static str {
            "counted"
        }

        fn reload(&self, at_once: bool) -> Result<Option<String>, ReloadError> {
            assert!(self.panicked.fetch_add(1, Ordering::SeqCst) > 0, "the first look");
            self.asked.fetch_add(u64::from(at_once), Ordering::SeqCst);
            self.looked.notify_one();
            Ok(None)
        }
    }

    #[tokio::test]
    async fn looks_go_on_after_one_that_panicked_and_whoever_asks_is_heard() {
        let counted = Arc::new(Counted::default());
        let bell = ReloadBell::default();
        let reloads = Reloads {
            sources: vec![counted.clone()],
            bell: bell.clone(),
            logger: Logger::root(Discard, o!()),
        };
        let running = tokio::spawn(reloads.run());
        counted.looked.notified().await;
        bell.ring();
        let heard = async {
            while counted.asked.load(Ordering::SeqCst) == 0 {
                counted.looked.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), heard)
            .await
            .unwrap();
        running.abort();
    }
}
