//! Where a read begins, and how fresh it must be before it does.

use tokio::time::{Instant, timeout_at};

use super::cursor::{blocking_read, out_of_range};
use crate::{
    net::{context::Context, status::Refusal},
    proto::raw::annals::v1::{ReadLevel, start::Position},
    types::{Offset, TimestampMs},
};

/// What must hold on this node before a read begins.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// As the client asked for it.
    pub level: ReadLevel,
    /// Everything below this is readable here.
    pub min_offset: Offset,
}

impl Freshness {
    /// Any committed data will do.
    pub const LOCAL: Self = Self {
        level: ReadLevel::Local,
        min_offset: Offset::ZERO,
    };
    /// Every record acknowledged before the read began.
    pub const LINEARIZABLE: Self = Self {
        level: ReadLevel::Linearizable,
        min_offset: Offset::ZERO,
    };

    /// Waits until it holds.
    ///
    /// Errors: `ReadDeadline`, `ShuttingDown`, and what the committer says.
    /// Cancel: safe.
    pub async fn reach(self, context: &Context, deadline: Instant) -> Result<(), Refusal> {
        let mut needed = self.min_offset;
        if let Some(lease) = self.asks_the_leader() {
            let read_index = timeout_at(deadline, context.parts.committer.read_index(lease))
                .await
                .map_err(|_| Refusal::ReadDeadline { offset: needed })??;
            needed = needed.max(read_index);
        }
        if context.parts.read_path.high_watermark() >= needed {
            return Ok(());
        }
        // Above zero, since the high watermark is below it.
        let last = Offset(needed.get().saturating_sub(1));
        tokio::select! {
            reached = timeout_at(deadline, context.parts.read_path.wait_above(last)) => match reached {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(Refusal::ShuttingDown),
                Err(_) => Err(Refusal::ReadDeadline { offset: needed }),
            },
            () = context.draining.cancelled() => Err(Refusal::ShuttingDown),
        }
    }

    /// Whether the leader has to be asked, and if so, whether its lease will do.
    fn asks_the_leader(self) -> Option<bool> {
        match self.level {
            ReadLevel::Unspecified | ReadLevel::Linearizable => Some(false),
            ReadLevel::Lease => Some(true),
            ReadLevel::Local => None,
        }
    }
}

/// The level that a request asks for; `default` when it leaves it open.
///
/// Errors: `Invalid` for a number that is no level.
pub fn level_or(number: i32, default: ReadLevel) -> Result<ReadLevel, Refusal> {
    match ReadLevel::try_from(number) {
        Ok(ReadLevel::Unspecified) => Ok(default),
        Ok(level) => Ok(level),
        Err(_) => Err(Refusal::invalid(format!(
            "{number} is no read level; see ReadLevel in annals/v1/log.proto"
        ))),
    }
}

/// The offset that a read starts at. `follow`: it may lie ahead.
///
/// Errors: `OutOfRange` when no read can begin there; `Read` when the log cannot be searched.
/// Cancel: safe.
pub async fn resolve(context: &Context, start: Option<Position>, follow: bool) -> Result<Offset, Refusal> {
    let earliest = context.parts.read_path.view().earliest();
    let high_watermark = context.parts.read_path.high_watermark();
    match start {
        None | Some(Position::Earliest(_)) => Ok(earliest),
        Some(Position::Latest(_)) => Ok(high_watermark),
        Some(Position::FromEnd(count)) => {
            Ok(Offset(high_watermark.get().saturating_sub(count)).max(earliest))
        }
        Some(Position::TimestampMs(at)) => {
            blocking_read(context, move |view| {
                view.offset_at(TimestampMs(at), high_watermark)
            })
            .await
        }
        Some(Position::Offset(offset)) => {
            let offset = Offset(offset);
            if offset < earliest || (offset > high_watermark && !follow) {
                return Err(out_of_range(context, offset));
            }
            Ok(offset)
        }
    }
}
