//! What became of a batch, told to the requests that share it. Pure.

use std::ops::Range;

use crate::{
    actors::committer::{Committed, ProposeError},
    net::status::Refusal,
    storage::entry::{Outcome, VoidReason},
    types::Offset,
};

/// The answer to some consecutive requests of a stream.
#[derive(Debug)]
pub enum Answered {
    /// Their records have the offsets of the range.
    Stored {
        /// Offsets of all their records.
        offsets: Range<u64>,
        /// The record count of each request.
        requests: Vec<u32>,
        /// An earlier try had stored them.
        repeated: bool,
    },
    /// They were refused.
    Refused {
        /// Why.
        refusal: Refusal,
        /// How many requests.
        requests: usize,
    },
}

/// Where the records of a committed batch are, and whether an earlier try put them there.
///
/// Errors: `Propose` when it is not committed; `Void` when it has no offsets.
pub fn offsets_of(
    result: Result<Committed, ProposeError>,
    record_count: u32,
) -> Result<(Range<u64>, bool), Refusal> {
    let (base_offset, repeated) = match result?.outcome {
        Outcome::Stored { base_offset } => (base_offset, false),
        Outcome::Void(VoidReason::Repeated { base_offset }) => (base_offset, true),
        Outcome::Void(reason) => return Err(Refusal::Void(reason)),
    };
    Ok((range(base_offset, record_count), repeated))
}

fn range(base_offset: Offset, record_count: u32) -> Range<u64> {
    base_offset.get()..base_offset.plus(u64::from(record_count)).get()
}

/// Answers the requests that were gathered into one batch.
#[must_use]
pub fn answer(requests: Vec<u32>, result: Result<Committed, ProposeError>) -> Answered {
    let record_count = requests.iter().sum();
    match offsets_of(result, record_count) {
        Ok((offsets, repeated)) => Answered::Stored {
            offsets,
            requests,
            repeated,
        },
        Err(refusal) => Answered::Refused {
            refusal,
            requests: requests.len(),
        },
    }
}
