//! What LogActor tells operators: what opening the log found, and when the disk runs full.

use slog::{error, info, warn};

use super::{Condition, LogActor, open::Open};
use crate::storage::OpenReport;

impl LogActor {
    pub(super) fn report(&self, report: &OpenReport) {
        let logger = &self.setup.logger;
        info!(logger, "log opened"; "segments" => report.segments, "earliest" => report.earliest.get(),
            "tail" => report.tail.get(), "last_log_index" => report.last_log_index.get());
        if report.cut_bytes > 0 {
            warn!(logger, "cut off what was never synced, and so never acknowledged, behind the last intact frame";
                "bytes" => report.cut_bytes);
        }
        if let Some(damage) = &report.damage {
            error!(logger, "the log is damaged: it is readable up to there and takes no writes; restore the file from \
                a replica or a backup, then restart"; "path" => %damage.path.display(),
                "position" => damage.position.get(), "what" => &damage.what);
        }
        if let Some(missing) = &report.missing {
            error!(logger, "the first segments of the log are missing, and were not trimmed"; "first_log_index" => missing.first.get(),
                "last_log_index" => missing.last.get(), "offset" => missing.offset.get());
        }
    }

    /// Refuses appends while the disk is nearly full, and takes them again when it is not.
    pub(super) fn look_at_free_space(&mut self) {
        let is_of_use = |open: &&mut Open| open.damage.is_none() && !open.fence.is_closed();
        let Some(open) = self.open.as_mut().filter(is_of_use) else {
            return;
        };
        open.unchecked_bytes = 0;
        let floor_bytes = self.setup.free_bytes_min;
        let free_bytes = match open.state.free_bytes() {
            Ok(free_bytes) => free_bytes,
            Err(error) => {
                warn!(self.setup.logger, "cannot tell how much of the disk is free"; "cause" => %error);
                return;
            }
        };
        let full = free_bytes < floor_bytes;
        let was_full = matches!(self.setup.board.condition(), Condition::StorageFull { .. });
        let next = if full {
            Condition::StorageFull {
                free_bytes,
                floor_bytes,
            }
        } else {
            Condition::Writable
        };
        self.setup.board.set(next);
        if full && !was_full {
            warn!(self.setup.logger, "the disk is nearly full: appends are refused until there is room";
                "free_bytes" => free_bytes, "floor_bytes" => floor_bytes);
        } else if was_full && !full {
            info!(self.setup.logger, "the disk has room again: appends are taken"; "free_bytes" => free_bytes);
        }
    }
}
