//! The runtime of the verbs that are clients.

use std::future::Future;

use super::error::CliError;

/// Runs a client's work on this thread: one connection keeps no second core busy, and each hand-over between cores
/// would cost some 20 us.
///
/// Errors: `Start`, and those of the work. Blocking: until it is done.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Start)?;
    runtime.block_on(work)
}
