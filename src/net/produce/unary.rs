//! One request, one batch, one answer.

use std::ops::Range;

use tokio::time::{Instant, timeout_at};

use super::{answers::offsets_of, gather::Item};
use crate::net::{context::Context, status::Refusal};

/// Where the records of a request are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Their offsets.
    pub offsets: Range<u64>,
    /// An earlier try had stored them.
    pub repeated: bool,
}

/// Appends a checked request, and waits for its commit until `deadline`.
///
/// Errors: `Overloaded` at once when there is no room; `ProduceDeadline`; `Propose` and `Void` as the log decides.
/// Cancel: the batch may be stored all the same.
pub async fn produce(context: &Context, item: Item, deadline: Instant) -> Result<Produced, Refusal> {
    let permit = context.admission.try_take(item.bytes())?;
    let batch = item.into_batch()?;
    let record_count = batch.record_count;
    let answer = context.parts.committer.propose(batch, Some(permit))?;
    let result = timeout_at(deadline, answer)
        .await
        .map_err(|_| Refusal::ProduceDeadline)?;
    let (offsets, repeated) = offsets_of(result, record_count)?;
    Ok(Produced { offsets, repeated })
}
