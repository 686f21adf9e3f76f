//! Memberships: in messages, and as the content of membership frames.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use super::{CodecError, nonzero};
use crate::{
    consensus::types::{Member, RaftMembership},
    proto::peer,
};

/// A membership as it travels.
#[must_use]
pub fn membership(membership: &RaftMembership) -> peer::Membership {
    let voter_set = |ids: &BTreeSet<u64>| peer::VoterSet {
        node_ids: ids.iter().copied().collect(),
    };
    let member = |(node_id, member): (&u64, &Member)| peer::Member {
        node_id: *node_id,
        name: member.name.clone(),
        address: member.address.clone(),
    };
    peer::Membership {
        voter_sets: membership.get_joint_config().iter().map(voter_set).collect(),
        members: membership.nodes().map(member).collect(),
    }
}

/// A membership that travelled.
///
/// Errors: it is missing, or nobody could vote in it.
pub fn read_membership(membership: Option<peer::Membership>) -> Result<RaftMembership, CodecError> {
    let membership = membership.ok_or(CodecError::Missing { field: "membership" })?;
    let mut voter_sets = Vec::with_capacity(membership.voter_sets.len());
    for set in membership.voter_sets {
        let mut last = 0;
        for node_id in &set.node_ids {
            last = ascending(*node_id, last, "membership.voter_sets")?;
        }
        voter_sets.push(set.node_ids.into_iter().collect::<BTreeSet<u64>>());
    }
    let (mut members, mut last) = (BTreeMap::new(), 0);
    for peer::Member {
        node_id,
        name,
        address,
    } in membership.members
    {
        last = ascending(node_id, last, "membership.members")?;
        members.insert(node_id, Member { name, address });
    }
    RaftMembership::new(voter_sets, members).map_err(|error| CodecError::NoMembership {
        why: error.to_string(),
    })
}

/// A membership as the log's frames hold it. A protobuf message, so that fields can be added.
#[must_use]
pub fn encode_membership(of: &RaftMembership) -> Bytes {
    membership(of).encode_to_vec().into()
}

/// Reads what [`encode_membership`] made.
///
/// Errors: the bytes are no membership.
pub fn decode_membership(bytes: &[u8]) -> Result<RaftMembership, CodecError> {
    let decoded = peer::Membership::decode(bytes).map_err(|source| CodecError::Undecodable {
        message: "membership",
        source,
    })?;
    read_membership(Some(decoded))
}

/// `node_id`, which must be above `last`; `last` is 0 before the first.
fn ascending(node_id: u64, last: u64, field: &'static str) -> Result<u64, CodecError> {
    if nonzero(node_id, field)? <= last {
        return Err(CodecError::NotAscending { field, node_id });
    }
    Ok(node_id)
}
