//! No message of a peer makes a node panic, and what the codec accepts of one means the same when it is sent on:
//! `decode(encode(x)) == x`, through bytes.
//!
//! Input: which message, its bytes.

#![no_main]

use std::fmt::Debug;

use annals::{
    actors::peer::{PeerDescription, decode_propose_result, propose_result},
    consensus::{appends::parcel::Parcel, codec, messages::AppendRequest},
    proto::peer,
    storage::Manifest,
    types::LogIndex,
};
use annals_fuzz::seeds;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(init: seeds::plant("peer", seeds()), |input: &[u8]| {
    if let [which, bytes @ ..] = input {
        let check = MESSAGES[usize::from(*which) % MESSAGES.len()];
        check(bytes);
    }
});

/// Every message of `peer.proto` that is sent by itself, and what is stored of them.
const MESSAGES: [fn(&[u8]); 22] = [
    |bytes| check_append(bytes),
    |bytes| comes_back(bytes, codec::decode_append_result, codec::append_result),
    |bytes| {
        let asks_only = peer::VoteRequest::decode(bytes).is_ok_and(|request| request.pre_vote);
        let encode = |request| codec::vote_request("", &request, asks_only);
        comes_back(bytes, |request| codec::decode_vote_request(&request), encode);
    },
    |bytes| {
        comes_back(bytes, codec::decode_vote_response, |response| {
            codec::vote_response(&response)
        })
    },
    |bytes| {
        comes_back(bytes, codec::decode_transfer_request, |request| {
            codec::transfer_request("", &request)
        })
    },
    |bytes| {
        comes_back(bytes, codec::decode_transfer_response, |response| {
            codec::transfer_response(&response)
        })
    },
    |bytes| {
        comes_back(bytes, codec::decode_snapshot_request, |snapshot| {
            codec::snapshot_request("", snapshot)
        })
    },
    |bytes| {
        comes_back(bytes, codec::decode_snapshot_response, |response| {
            codec::snapshot_response(&response)
        })
    },
    |bytes| comes_back(bytes, codec::decode_entry, codec::entry),
    |bytes| check_stored(bytes),
    |bytes| comes_back(bytes, codec::decode_batch, codec::batch),
    |bytes| comes_back(bytes, decode_propose_result, |result| propose_result(7, result)),
    |bytes| {
        comes_back(
            bytes,
            |of: peer::DescribeResponse| Ok::<_, ()>(PeerDescription::from(of)),
            Into::into,
        )
    },
    |bytes| {
        let of = |membership| codec::read_membership(Some(membership));
        comes_back(bytes, of, |membership| codec::membership(&membership));
    },
    |bytes| {
        if let Ok(membership) = codec::decode_membership(bytes) {
            assert_eq!(
                codec::decode_membership(&codec::encode_membership(&membership)),
                Ok(membership)
            );
        }
    },
    |bytes| check_manifest(bytes),
    as_it_is::<peer::EntriesChunk>,
    as_it_is::<peer::ReadIndexResponse>,
    as_it_is::<peer::ReadSegmentRequest>,
    as_it_is::<peer::SegmentChunk>,
    as_it_is::<peer::GreetResponse>,
    |bytes| check_parcels(bytes),
];

fn seeds() -> Vec<Vec<u8>> {
    let vote = Some(peer::Vote {
        term: 3,
        node_id: 1,
        committed: true,
    });
    let log_id = |log_index| Some(peer::LogId { term: 3, log_index });
    let member = |node_id| peer::Member {
        node_id,
        name: "node-0".to_owned(),
        address: "localhost:8400".to_owned(),
    };
    let voters = peer::VoterSet { node_ids: vec![1, 2] };
    let membership = peer::Membership {
        voter_sets: vec![voters.clone(), voters],
        members: vec![member(1), member(2)],
    };
    let producer = Some(peer::Producer {
        id: 1,
        epoch: 2,
        sequence: 3,
    });
    let records = peer::Batch {
        producer,
        expected_offset: Some(4),
        record_count: 1,
        records: b"\x0a\x01x".as_slice().into(),
    };
    let contents = [
        peer::entry::Content::Records(records.clone()),
        peer::entry::Content::Control(b"\x01\x02\0\0\0\0\0\0\0".as_slice().into()),
        peer::entry::Content::Membership(membership.clone()),
        peer::entry::Content::Blank(peer::Blank {}),
    ];
    let entry = |(content, log_index)| peer::Entry {
        term: 3,
        log_index,
        timestamp_ms: 5,
        content: Some(content),
    };
    let entries: Vec<peer::Entry> = contents.into_iter().zip(8..).map(entry).collect();
    let append = peer::AppendRequest {
        log: "default".to_owned(),
        vote,
        previous: log_id(7),
        committed: log_id(6),
        entries: entries.clone(),
    };
    let snapshot = peer::InstallSnapshotRequest {
        vote,
        last: log_id(9),
        membership_at: log_id(2),
        membership: Some(membership.clone()),
        ..peer::InstallSnapshotRequest::default()
    };
    let changed = peer::VoteChanged {
        expected: vote,
        actual: vote,
    };
    let transfer = peer::TransferLeaderResponse {
        refused: Some(peer::transfer_leader_response::Refused::VoteChanged(changed)),
    };
    let void = peer::Void {
        reason: peer::void::Reason::OutOfOrder.into(),
        detail: 5,
    };
    let outcome = Some(peer::committed::Outcome::Void(void));
    let committed = peer::Committed {
        log_index: 3,
        record_count: 1,
        outcome,
    };
    let proposed = peer::ProposeResponse {
        id: 1,
        result: Some(peer::propose_response::Result::Committed(committed)),
    };
    let progress = peer::Progress {
        node_id: 2,
        matched: Some(1),
        last_contact_ms: Some(2),
    };
    let described = peer::DescribeResponse {
        progress: vec![progress],
        member_ids: vec![1, 2],
        ..Default::default()
    };
    let conflict = peer::append_response::Result::Conflict(peer::Conflict { at: log_id(4) });
    let conflict = peer::AppendResponse {
        result: Some(conflict),
        commits_awaited: true,
    };
    let mut seeds = vec![
        (0, append.encode_to_vec()),
        (1, conflict.encode_to_vec()),
        (
            2,
            peer::VoteRequest {
                vote,
                last: log_id(1),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            3,
            peer::VoteResponse {
                vote,
                granted: true,
                last: log_id(1),
            }
            .encode_to_vec(),
        ),
        (
            4,
            peer::TransferLeaderRequest {
                from_leader: vote,
                to_node_id: 2,
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (5, transfer.encode_to_vec()),
        (6, snapshot.encode_to_vec()),
        (7, peer::InstallSnapshotResponse { vote }.encode_to_vec()),
        (10, records.encode_to_vec()),
        (11, proposed.encode_to_vec()),
        (12, described.encode_to_vec()),
        (13, membership.encode_to_vec()),
        (14, membership.encode_to_vec()),
    ];
    let parcels = [
        Parcel::Begin { stream: 1 },
        Parcel::Append {
            stream: 1,
            request: append.encode_to_vec().into(),
        },
        Parcel::Answer {
            stream: 1,
            requests: 1,
            response: conflict,
        },
        Parcel::Over {
            stream: 1,
            why: peer::StreamOver::default(),
        },
        Parcel::Ping,
    ];
    let mut sent = BytesMut::new();
    parcels.iter().for_each(|parcel| parcel.put(&mut sent));
    seeds.push((21, sent.to_vec()));
    for entry in entries {
        seeds.extend([(8, entry.encode_to_vec()), (9, entry.encode_to_vec())]);
    }
    seeds
        .into_iter()
        .map(|(which, bytes)| [&[which], &bytes[..]].concat())
        .collect()
}

/// What `decode` accepts of a message means the same after `encode` and a way through bytes.
fn comes_back<M, T, E>(bytes: &[u8], decode: impl Fn(M) -> Result<T, E>, encode: impl Fn(T) -> M)
where
    M: Message + Default,
    T: Clone + Debug + PartialEq,
    E: Debug + PartialEq,
{
    let Some(meant) = M::decode(bytes).ok().and_then(|message| decode(message).ok()) else {
        return;
    };
    let sent = encode(meant.clone()).encode_to_vec();
    let received = M::decode(&*sent).expect("what is sent is a message");
    assert_eq!(decode(received), Ok(meant));
}

/// A message that nothing is concluded from but its fields.
fn as_it_is<M: Message + Default + Clone + Debug + PartialEq>(bytes: &[u8]) {
    comes_back(bytes, |message: M| Ok::<M, ()>(message), |message| message);
}

/// openraft's requests cannot be compared as a whole.
fn check_append(bytes: &[u8]) {
    let Some(request) = peer::AppendRequest::decode(bytes)
        .ok()
        .and_then(|sent| codec::decode_append_request(sent).ok())
    else {
        return;
    };
    let parts = |of: &AppendRequest| (of.vote, of.prev_log_id, of.leader_commit, of.entries.clone());
    let expected = parts(&request);
    let sent = codec::append_request("", request).encode_to_vec();
    let received = peer::AppendRequest::decode(&*sent).expect("what is sent is a message");
    assert_eq!(
        codec::decode_append_request(received).map(|request| parts(&request)),
        Ok(expected)
    );
}

/// An entry is the same after it was stored, and has the number that it says.
fn check_stored(bytes: &[u8]) {
    let Some(entry) = peer::Entry::decode(bytes)
        .ok()
        .and_then(|sent| codec::decode_entry(sent).ok())
    else {
        return;
    };
    let stored = codec::to_storage_entry(entry.clone());
    assert!(stored.log_index > LogIndex::ZERO);
    assert_eq!(codec::from_storage_entry(stored), Ok(entry));
}

/// What is a parcel comes back as it was, whatever lies behind it.
fn check_parcels(bytes: &[u8]) {
    let mut left = BytesMut::from(bytes);
    while let Ok(Some(parcel)) = Parcel::split(&mut left, 1 << 16) {
        let mut sent = BytesMut::new();
        parcel.put(&mut sent);
        assert_eq!(Parcel::split(&mut sent, 1 << 17), Ok(Some(parcel)));
        assert!(sent.is_empty());
    }
}

fn check_manifest(bytes: &[u8]) {
    let listed = peer::ListSegmentsResponse::decode(bytes).ok();
    if let Some(manifest) = listed.and_then(|listed| Manifest::decode(&listed.manifest).ok()) {
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }
}
