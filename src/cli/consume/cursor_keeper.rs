//! Commits what `annals consume --cursor` has written, while it goes on.

use std::{future::Future, pin::pin, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{cli::error::CliError, client::HeldCursor, types::Offset};

/// Commits come no more often: each is a record's work for the cluster, and so much is read again after a crash.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// A cursor that was taken.
#[derive(Debug)]
pub(super) struct CursorKeeper(HeldCursor);

impl CursorKeeper {
    /// Nothing is committed yet.
    pub(super) fn of(cursor: HeldCursor) -> Self {
        Self(cursor)
    }

    /// Commits what is written out by `written` (the next offset to write) while `reading` goes on, and the rest once that and the
    /// writer, who holds the other end, are done. A commit that finds nobody is made good by the next one, but for the last.
    ///
    /// Errors: those of `reading`; the cursor is somebody else's now. Cancel: what was written since the last commit is read again.
    pub(super) async fn keep_while(
        mut self,
        reading: impl Future<Output = Result<(), CliError>>,
        mut written: watch::Receiver<Option<Offset>>,
    ) -> Result<(), CliError> {
        let mut reading = pin!(reading);
        let mut read = None;
        while read.is_none() {
            let next = Instant::now() + COMMIT_EVERY;
            let offset = *written.borrow_and_update();
            let committed = {
                // It is never dropped: it could be done late, and then take back what the next one has said.
                let mut committing = pin!(self.commit(offset));
                loop {
                    tokio::select! {
                        committed = &mut committing => break committed,
                        ended = &mut reading, if read.is_none() => read = Some(ended),
                    }
                }
            };
            if let Err(error) = committed
                && !passes(&error)
            {
                return Err(error);
            }
            if read.is_none() {
                tokio::select! {
                    ended = &mut reading => read = Some(ended),
                    () = news(next, &mut written) => {}
                }
            }
        }
        // Until the writer is done too.
        while written.changed().await.is_ok() {}
        let last = *written.borrow();
        let committed = self.commit(last).await;
        read.unwrap_or(Ok(())).and(committed)
    }

    async fn commit(&mut self, offset: Option<Offset>) -> Result<(), CliError> {
        if let Some(offset) = offset.filter(|offset| Some(*offset) != self.0.offset()) {
            self.0.commit(offset).await?;
        }
        Ok(())
    }
}

/// Waits until then, and until more was written.
async fn news(then: Instant, written: &mut watch::Receiver<Option<Offset>>) {
    sleep_until(then).await;
    if written.changed().await.is_err() {
        // The writer has ended; what is left is committed when reading has, too.
        std::future::pending::<()>().await;
    }
}

/// Whether the next commit may find somebody.
fn passes(error: &CliError) -> bool {
    matches!(error, CliError::Client(error) if error.is_retryable())
}
