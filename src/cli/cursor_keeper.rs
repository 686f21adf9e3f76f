//! Commits what `annals consume --cursor` has written, while it goes on.

use std::{future::Future, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{error::Disposition, storage::cursors::CursorName};

use super::{cursor_calls::CursorCalls, error::CliError};

/// Commits come no more often: each is a record's work for the cluster, and so much is read again after a crash.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// A cursor that was taken.
#[derive(Debug)]
pub(super) struct CursorKeeper {
    calls: CursorCalls,
    name: CursorName,
    epoch: u64,
    /// Where it stood when it was taken.
    offset: Option<u64>,
    /// Up to here it is committed, as far as this program knows.
    committed: Option<u64>,
}

impl CursorKeeper {
    /// Takes the cursor: whoever had it stops at its next commit.
    pub(super) async fn take(mut calls: CursorCalls, name: CursorName) -> Result<Self, CliError> {
        let taken = calls.take(name.as_str()).await?.cursor;
        Ok(Self {
            calls,
            name,
            epoch: taken.epoch,
            offset: taken.offset,
            committed: taken.offset,
        })
    }

    /// For another runtime than that on which it was taken: connections do not go along.
    pub(super) fn reconnected(mut self) -> Self {
        self.calls.disconnect();
        self
    }

    /// Where to start; `None`: nobody ever committed.
    pub(super) fn offset(&self) -> Option<u64> {
        self.offset
    }

    /// Commits what is written out by `written` (the next offset to write) while `reading` goes on, and the rest once that and the
    /// writer, who holds the other end, are done. A commit that finds nobody is made good by the next one, but for the last.
    ///
    /// Errors: those of `reading`; the cursor is somebody else's now. Cancel: what was written since the last commit is read again.
    pub(super) async fn keep_while(
        mut self,
        reading: impl Future<Output = Result<(), CliError>>,
        mut written: watch::Receiver<Option<u64>>,
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
    async fn keep(&mut self, written: &mut watch::Receiver<Option<u64>>) -> CliError {
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

    async fn commit(&mut self, offset: Option<u64>) -> Result<(), CliError> {
        let Some(offset) = offset.filter(|offset| Some(*offset) != self.committed) else {
            return Ok(());
        };
        self.calls.commit(self.name.as_str(), self.epoch, offset).await?;
        self.committed = Some(offset);
        Ok(())
    }
}

/// Whether the next commit may find somebody.
fn passes(error: &CliError) -> bool {
    matches!(error, CliError::NoAnswer { .. }) || error.disposition() == Disposition::Retry
}
