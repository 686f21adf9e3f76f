//! File descriptors: enough for the log whatever clients do.
//!
//! A log that cannot open its next segment stops the node, so connections must never take the last descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slog::{Logger, warn};

/// What the process needs beside sealed segments and connections: the active segment, the next one, indexes being mapped,
/// directories being synced, the listeners, the runtime's own, and connections to the admin listener (160); connections of
/// peers, and those that may still be of peers (64 each); connections to peers (three each).
const RESERVE: u64 = 160 + 128 + 32;

/// Raises the soft limit to the hard one, as far as the system allows; what it is then.
///
/// Many systems start processes with a soft limit of 1024 only for programs that use `select`, which this one does not.
fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// How many connections may be taken: as many as configured, unless the system gives too few descriptors, which is logged
/// with the remedy.
pub(super) fn connections_max(configured: usize, open_files_max: usize, logger: &Logger) -> usize {
    let limit = raise_limit();
    let allowed = allowed(limit, configured, open_files_max);
    let needed = needed(configured, open_files_max);
    if limit.is_some_and(|limit| limit < needed) {
        warn!(logger, "too few file descriptors for what is configured: no more connections are taken than they allow; raise the limit \
            (`ulimit -Hn`, LimitNOFILE= of systemd) or lower limits.connections_max or log.open_files_max";
            "descriptors" => limit, "descriptors_needed" => needed, "open_files_max" => open_files_max, "connections_max" => configured,
            "connections_taken" => allowed);
    }
    allowed
}

/// Descriptors that a node may use which takes as much as it is configured to.
fn needed(configured: usize, open_files_max: usize) -> u64 {
    RESERVE
        .saturating_add(open_files_max as u64)
        .saturating_add(configured as u64)
}

/// `limit`: descriptors there may be; `None`: as many as one likes.
fn allowed(limit: Option<u64>, configured: usize, open_files_max: usize) -> usize {
    let Some(limit) = limit else { return configured };
    let free = limit
        .saturating_sub(RESERVE)
        .saturating_sub(open_files_max as u64);
    configured.min(usize::try_from(free).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_log() {
        assert_eq!(allowed(None, 1024, 512), 1024);
        assert_eq!(allowed(Some(20_000), 1024, 512), 1024);
        assert_eq!(allowed(Some(1024), 1024, 512), 1024 - 512 - 320);
        assert_eq!(allowed(Some(100), 1024, 512), 1);
        assert_eq!(needed(1024, 512), 1024 + 512 + 320);
    }
}
