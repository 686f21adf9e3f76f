//! Entries and the batches in them.

use openraft::EntryPayload;

use super::{CodecError, entry_id, membership, nonzero, read_membership};
use crate::{
    consensus::types::{Proposal, ProposalContent, RaftEntry, entry_of},
    proto::peer::{self, entry::Content},
    storage::entry::{Batch, ProducerStamp},
    types::{Offset, TimestampMs},
};

/// An entry as it travels.
#[must_use]
pub fn entry(entry: RaftEntry) -> peer::Entry {
    let (log_index, term) = entry_of(&entry.log_id);
    let (timestamp, content) = match entry.payload {
        EntryPayload::Blank => (TimestampMs(0), Content::Blank(peer::Blank {})),
        EntryPayload::Membership(of) => (TimestampMs(0), Content::Membership(membership(&of))),
        EntryPayload::Normal(Proposal { timestamp, content }) => match content {
            ProposalContent::Records(of) => (timestamp, Content::Records(batch(of))),
            ProposalContent::Control(command) => (timestamp, Content::Control(command)),
        },
    };
    peer::Entry {
        term: term.get(),
        log_index: log_index.get(),
        timestamp_ms: timestamp.0,
        content: Some(content),
    }
}

/// An entry that travelled.
///
/// Errors: it says what no entry says.
pub fn decode_entry(entry: peer::Entry) -> Result<RaftEntry, CodecError> {
    let log_id = entry_id(entry.term, entry.log_index, "entry")?;
    let normal = |content| {
        EntryPayload::Normal(Proposal {
            timestamp: TimestampMs(entry.timestamp_ms),
            content,
        })
    };
    let content = entry.content.ok_or(CodecError::Missing {
        field: "entry.content",
    })?;
    let payload = match content {
        Content::Records(of) => normal(ProposalContent::Records(decode_batch(of)?)),
        Content::Control(command) => normal(ProposalContent::Control(command)),
        Content::Membership(of) => EntryPayload::Membership(read_membership(Some(of))?),
        Content::Blank(peer::Blank {}) => EntryPayload::Blank,
    };
    Ok(RaftEntry { log_id, payload })
}

/// A batch as it travels.
#[must_use]
pub fn batch(batch: Batch) -> peer::Batch {
    peer::Batch {
        producer: batch.producer.map(|stamp| peer::Producer {
            id: stamp.id,
            epoch: stamp.epoch,
            sequence: stamp.sequence,
        }),
        expected_offset: batch.expected_offset.map(Offset::get),
        record_count: batch.record_count,
        records: batch.records,
    }
}

/// A batch that travelled. Its records are not looked into: the node that took them from a client has done that.
///
/// Errors: it says what no batch says.
pub fn decode_batch(batch: peer::Batch) -> Result<Batch, CodecError> {
    let stamp = |of: peer::Producer| {
        Ok(ProducerStamp {
            id: nonzero(of.id, "batch.producer.id")?,
            epoch: of.epoch,
            sequence: of.sequence,
        })
    };
    nonzero(u64::from(batch.record_count), "batch.record_count")?;
    Ok(Batch {
        producer: batch.producer.map(stamp).transpose()?,
        // Like the sequence, any number: what a client may ask for, the sequencer must be able to refuse.
        expected_offset: batch.expected_offset.map(Offset),
        record_count: batch.record_count,
        records: batch.records,
    })
}
