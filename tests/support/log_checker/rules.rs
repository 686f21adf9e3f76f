//! The promises, each a search for its breach in a file of its own.

mod answered;
mod atomic;
mod below_watermark;
mod committed;
mod failed_is_not_stored;
mod gapless;
mod identical;
mod kept;
mod linearizable;
mod never_backwards;
mod no_phantom;
mod one_value;
mod producer_order;
mod real_time_order;
mod stored_once;
mod watermark_rises;

use super::{
    evidence::Evidence,
    verdict::{Findings, Rule},
};

/// Says what breaks a rule.
pub(super) type Judge = fn(&Evidence<'_>, &mut Findings);

/// All of them, the ones that tell most of what went wrong first.
pub(super) const RULES: [(Rule, Judge); 16] = [
    (Rule::Answered, answered::judge),
    (Rule::OneValue, one_value::judge),
    (Rule::Identical, identical::judge),
    (Rule::Kept, kept::judge),
    (Rule::Committed, committed::judge),
    (Rule::NoPhantom, no_phantom::judge),
    (Rule::FailedIsNotStored, failed_is_not_stored::judge),
    (Rule::StoredOnce, stored_once::judge),
    (Rule::Gapless, gapless::judge),
    (Rule::Atomic, atomic::judge),
    (Rule::RealTimeOrder, real_time_order::judge),
    (Rule::ProducerOrder, producer_order::judge),
    (Rule::Linearizable, linearizable::judge),
    (Rule::NeverBackwards, never_backwards::judge),
    (Rule::BelowWatermark, below_watermark::judge),
    (Rule::WatermarkRises, watermark_rises::judge),
];
