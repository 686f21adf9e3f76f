//! Commits what `annals consume --cursor` has written, while it goes on.

use std::{future::Future, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{client::HeldCursor, types::Offset};

use super::error::CliError;

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
        let read = tokio::select! {
            read = reading => read,
            lost = self.keep(&mut written) => return Err(lost),
        };
        // Until the writer is done too.
        while written.changed().await.is_ok() {}
        let last = *written.borrow();
        let committed = self.commit(last).await;
        read.and(committed)
    }

    /// Ends only when the cursor is lost.
    async fn keep(&mut self, written: &mut watch::Receiver<Option<Offset>>) -> CliError {
        loop {
            let next = Instant::now() + COMMIT_EVERY;
            let offset = *written.borrow_and_update();
            if let Err(error) = self.commit(offset).await
                && !passes(&error)
            {
                return error;
            }
            sleep_until(next).await;
            if written.changed().await.is_err() {
                // What is left is committed when reading has ended.
                return std::future::pending().await;
            }
        }
    }

    async fn commit(&mut self, offset: Option<Offset>) -> Result<(), CliError> {
        if let Some(offset) = offset.filter(|offset| Some(*offset) != self.0.offset()) {
            self.0.commit(offset).await?;
        }
        Ok(())
    }
}

/// Whether the next commit may find somebody.
fn passes(error: &CliError) -> bool {
    matches!(error, CliError::Client(error) if error.is_retryable())
}
