//! Entries as storage keeps them.

use openraft::EntryPayload;

use super::{CodecError, decode_membership, encode_membership, entry_id};
use crate::{
    consensus::types::{Proposal, ProposalContent, RaftEntry, entry_of},
    storage::entry::{Entry, Payload},
    types::TimestampMs,
};

/// The entry to append. Those that openraft makes itself have no time; storage raises it to that of the entry before.
#[must_use]
pub fn to_storage_entry(entry: RaftEntry) -> Entry {
    let (log_index, term) = entry_of(&entry.log_id);
    let (timestamp, payload) = match entry.payload {
        EntryPayload::Blank => (TimestampMs(0), Payload::Blank),
        EntryPayload::Membership(of) => (TimestampMs(0), Payload::Membership(encode_membership(&of))),
        EntryPayload::Normal(Proposal { timestamp, content }) => match content {
            ProposalContent::Records(batch) => (timestamp, Payload::Records(batch)),
            ProposalContent::Control(command) => (timestamp, Payload::Control(command)),
        },
    };
    Entry {
        log_index,
        term,
        timestamp,
        payload,
    }
}

/// The same the other way.
///
/// Errors: a membership in it is none, or its number is none.
pub fn from_storage_entry(entry: Entry) -> Result<RaftEntry, CodecError> {
    let log_id = entry_id(entry.term.get(), entry.log_index.get(), "entry")?;
    let normal = |content| {
        EntryPayload::Normal(Proposal {
            timestamp: entry.timestamp,
            content,
        })
    };
    let payload = match entry.payload {
        Payload::Records(batch) => normal(ProposalContent::Records(batch)),
        Payload::Control(command) => normal(ProposalContent::Control(command)),
        Payload::Membership(bytes) => EntryPayload::Membership(decode_membership(&bytes)?),
        Payload::Blank => EntryPayload::Blank,
    };
    Ok(RaftEntry { log_id, payload })
}
