use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::{EntryPayload, raft::StreamAppendError};
use proptest::{collection, option, prelude::*};
use prost::Message;

use super::*;
use crate::{
    consensus::{
        messages::{
            AppendRequest, AppendResponse, AppendResult, SnapshotMeta, SnapshotResponse, TransferRefused,
            TransferRequest, TransferResponse, VoteRequest, VoteResponse, last_of,
        },
        types::{
            Member, Proposal, ProposalContent, RaftEntry, RaftMembership, RaftStoredMembership,
            SnapshotManifest,
        },
    },
    storage::entry::{Batch, ProducerStamp},
    types::{Offset, TimestampMs},
};

fn log_ids() -> impl Strategy<Value = RaftLogId> {
    let of = |(term, index)| raft_log_id(LogIndex(index), Term(term)).unwrap();
    prop_oneof![(0..5_u64, 1..100_u64), (0..=NUMBER_MAX, 1..=NUMBER_MAX)].prop_map(of)
}

fn votes() -> impl Strategy<Value = RaftVote> {
    (0..=NUMBER_MAX, 1..=u64::MAX, any::<bool>()).prop_map(|(term, node_id, committed)| RaftVote {
        leader_id: alias::LeaderIdOf::<TypeConfig> {
            term,
            voted_for: node_id,
        },
        committed,
    })
}

fn memberships() -> impl Strategy<Value = RaftMembership> {
    let member = (any::<String>(), any::<String>()).prop_map(|(name, address)| Member { name, address });
    let members = collection::btree_map(1..=u64::MAX, member, 1..6);
    (members, collection::vec(any::<[bool; 6]>(), 0..3)).prop_map(|(members, sets)| {
        let ids: Vec<u64> = members.keys().copied().collect();
        let voters = |votes: [bool; 6]| {
            let chosen = ids.iter().zip(votes).filter(|(_, votes)| *votes);
            let mut set: BTreeSet<u64> = chosen.map(|(id, _)| *id).collect();
            set.insert(ids[0]);
            set
        };
        RaftMembership::new(sets.into_iter().map(voters).collect(), members).unwrap()
    })
}

fn batches() -> impl Strategy<Value = Batch> {
    let stamp = (1..=u64::MAX, any::<u32>(), any::<u64>());
    let stamp = stamp.prop_map(|(id, epoch, sequence)| ProducerStamp { id, epoch, sequence });
    (
        option::of(stamp),
        option::of(any::<u64>()),
        1..=u32::MAX,
        collection::vec(any::<u8>(), 0..50),
    )
        .prop_map(|(producer, expected, record_count, records)| Batch {
            producer,
            expected_offset: expected.map(Offset),
            record_count,
            records: records.into(),
        })
}

fn payloads() -> impl Strategy<Value = alias::EntryPayloadOf<TypeConfig>> {
    let normal = |(timestamp, content)| {
        EntryPayload::Normal(Proposal {
            timestamp: TimestampMs(timestamp),
            content,
        })
    };
    let control =
        collection::vec(any::<u8>(), 0..20).prop_map(|bytes| ProposalContent::Control(bytes.into()));
    let content = prop_oneof![batches().prop_map(ProposalContent::Records), control];
    prop_oneof![
        4 => (any::<u64>(), content).prop_map(normal),
        1 => memberships().prop_map(EntryPayload::Membership),
        1 => Just(EntryPayload::Blank),
    ]
}

pub(in crate::consensus) fn append_requests() -> impl Strategy<Value = AppendRequest> {
    // Terms rise now and then.
    let entries = collection::vec((payloads(), any::<bool>()), 0..8);
    let fresh = (0..1000_u64, 0..1000_u64);
    (votes(), fresh, option::of(log_ids()), entries).prop_map(
        |(vote, (first, mut term), leader_commit, payloads)| {
            let prev_log_id = raft_log_id(LogIndex(first), Term(term));
            let entry = |(at, (payload, rises)): (usize, (_, bool))| {
                term += u64::from(rises);
                let log_id = raft_log_id(LogIndex(first).plus(at as u64 + 1), Term(term)).unwrap();
                RaftEntry { log_id, payload }
            };
            AppendRequest {
                vote,
                prev_log_id,
                leader_commit,
                entries: payloads.into_iter().enumerate().map(entry).collect(),
            }
        },
    )
}

/// Through bytes, as on the wire.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(&*message.encode_to_vec()).unwrap()
}

proptest! {
    #[test]
    fn an_append_request_comes_back_as_it_was(request in append_requests()) {
        let travelled = sent(&append_request("other", request.clone()));
        prop_assert_eq!(&travelled.log, "other");
        let back = decode_append_request(travelled).unwrap();
        prop_assert_eq!(back.vote, request.vote);
        prop_assert_eq!(back.prev_log_id, request.prev_log_id);
        prop_assert_eq!(back.leader_commit, request.leader_commit);
        prop_assert_eq!(back.entries, request.entries);
    }

    #[test]
    fn an_append_result_comes_back_as_it_was(
        log_id in option::of(log_ids()), vote in votes(), at in log_ids()
    ) {
        let results: [AppendResult; 3] = [
            Ok(log_id),
            Err(StreamAppendError::Conflict(at)),
            Err(StreamAppendError::HigherVote(vote)),
        ];
        for result in results {
            let back = decode_append_result(sent(&append_result(result.clone()))).unwrap();
            prop_assert_eq!(back, result);
        }
    }

    #[test]
    fn an_append_response_comes_back_as_it_was(request in append_requests(), vote in votes(), part in log_ids()) {
        let (previous, last) = (request.prev_log_id, last_of(&request));
        let mut responses = vec![AppendResponse::Success, AppendResponse::HigherVote(vote)];
        if previous.is_some() {
            responses.push(AppendResponse::Conflict);
        }
        if Some(part) != last {
            responses.push(AppendResponse::PartialSuccess(Some(part)));
        }
        for response in responses {
            let travelled = sent(&append_response(response.clone(), previous, last));
            prop_assert_eq!(decode_append_response(travelled, &request).unwrap(), response);
        }
    }

    #[test]
    fn votes_and_their_answers_come_back_as_they_were(
        vote in votes(), last in option::of(log_ids()), pre_vote: bool, transfer: bool, granted: bool
    ) {
        let mut request = VoteRequest::new(vote, last);
        request.leadership_transfer = transfer;
        let travelled = sent(&vote_request("", &request, pre_vote));
        prop_assert_eq!(travelled.pre_vote, pre_vote);
        prop_assert_eq!(decode_vote_request(&travelled).unwrap(), request);
        let response = VoteResponse::new(vote, last, granted);
        prop_assert_eq!(decode_vote_response(sent(&vote_response(&response))).unwrap(), response);
    }

    #[test]
    fn a_transfer_and_its_answers_come_back_as_they_were(
        from in votes(), to in 1..=u64::MAX, last in option::of(log_ids()), actual in votes(), has in option::of(log_ids())
    ) {
        let request = TransferRequest::new(from, to, last);
        let back = decode_transfer_request(sent(&transfer_request("", &request))).unwrap();
        prop_assert_eq!(back, request);
        let responses: [TransferResponse; 3] = [
            Ok(()),
            Err(TransferRefused::VoteChanged { expected: from, actual }),
            Err(TransferRefused::LogNotFlushed { expected: last, actual: has }),
        ];
        for response in responses {
            let back = decode_transfer_response(sent(&transfer_response(&response))).unwrap();
            prop_assert_eq!(back, response);
        }
    }

    #[test]
    fn a_snapshot_comes_back_as_it_was(
        vote in votes(), last in option::of(log_ids()), at in option::of(log_ids()), membership in memberships(),
        manifest in collection::vec(any::<u8>(), 0..50)
    ) {
        let snapshot = Snapshot {
            vote,
            meta: SnapshotMeta {
                last_log_id: last,
                last_membership: RaftStoredMembership::new(at, membership),
            },
            manifest: SnapshotManifest(manifest.into()),
        };
        let back = decode_snapshot_request(sent(&snapshot_request("", snapshot.clone()))).unwrap();
        prop_assert_eq!(back, snapshot);
        let response = SnapshotResponse::new(vote);
        prop_assert_eq!(decode_snapshot_response(sent(&snapshot_response(&response))).unwrap(), response);
    }

    #[test]
    fn a_membership_comes_back_from_its_bytes(membership in memberships()) {
        prop_assert_eq!(decode_membership(&encode_membership(&membership)).unwrap(), membership);
    }

    #[test]
    fn an_entry_comes_back_from_storage(log_id in log_ids(), payload in payloads()) {
        let entry = RaftEntry { log_id, payload };
        let stored = to_storage_entry(entry.clone());
        prop_assert_eq!((stored.log_index, stored.term), entry_of(&log_id));
        prop_assert_eq!(from_storage_entry(stored).unwrap(), entry);
    }

    #[test]
    fn what_makes_no_sense_is_refused_without_a_panic(bytes in collection::vec(any::<u8>(), 0..200)) {
        check_arbitrary(&bytes);
    }

    #[test]
    fn a_request_with_a_changed_byte_is_refused_without_a_panic(
        request in append_requests(), at: prop::sample::Index, to: u8
    ) {
        let mut bytes = append_request("", request).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        check_arbitrary(&bytes);
    }
}

/// Decodes bytes as each message; what is taken can be sent on, and is taken there.
fn check_arbitrary(bytes: &[u8]) {
    fn decoded<M: Message + Default>(bytes: &[u8]) -> M {
        M::decode(bytes).unwrap_or_default()
    }
    if let Ok(request) = decode_append_request(decoded(bytes)) {
        assert!(decode_append_request(append_request("", request)).is_ok());
    }
    if let Ok(result) = decode_append_result(decoded(bytes)) {
        assert!(decode_append_result(append_result(result)).is_ok());
    }
    if let Ok(response) = decode_vote_response(decoded(bytes)) {
        assert_eq!(decode_vote_response(vote_response(&response)), Ok(response));
    }
    if let Ok(request) = decode_vote_request(&decoded(bytes)) {
        assert_eq!(
            decode_vote_request(&vote_request("", &request, false)),
            Ok(request)
        );
    }
    if let Ok(request) = decode_transfer_request(decoded(bytes)) {
        assert_eq!(
            decode_transfer_request(transfer_request("", &request)),
            Ok(request)
        );
    }
    if let Ok(response) = decode_transfer_response(decoded(bytes)) {
        assert_eq!(
            decode_transfer_response(transfer_response(&response)),
            Ok(response)
        );
    }
    if let Ok(request) = decode_snapshot_request(decoded(bytes)) {
        assert_eq!(
            decode_snapshot_request(snapshot_request("", request.clone())),
            Ok(request)
        );
    }
    if let Ok(membership) = decode_membership(bytes) {
        assert_eq!(decode_membership(&encode_membership(&membership)), Ok(membership));
    }
    if let Ok(entry) = decode_entry(decoded(bytes)) {
        assert_eq!(
            from_storage_entry(to_storage_entry(entry.clone()))
                .unwrap()
                .log_id,
            entry.log_id
        );
    }
}

fn heartbeat() -> peer::AppendRequest {
    peer::AppendRequest {
        vote: Some(peer::Vote {
            term: 1,
            node_id: 1,
            committed: true,
        }),
        ..peer::AppendRequest::default()
    }
}

fn blank(term: u64, log_index: u64) -> peer::Entry {
    peer::Entry {
        term,
        log_index,
        timestamp_ms: 0,
        content: Some(peer::entry::Content::Blank(peer::Blank {})),
    }
}

#[test]
fn an_append_request_that_no_leader_sends_is_refused_by_name() {
    assert!(decode_append_request(heartbeat()).is_ok());
    let with = |change: fn(&mut peer::AppendRequest)| {
        let mut request = heartbeat();
        change(&mut request);
        decode_append_request(request).unwrap_err().to_string()
    };
    let cases = [
        (with(|r| r.vote = None), "append.vote is missing"),
        (with(|r| r.vote.as_mut().unwrap().node_id = 0), "append.vote is 0"),
        (
            with(|r| r.vote.as_mut().unwrap().term = u64::MAX),
            "append.vote is 18446744073709551615, which is above 9223372036854775807",
        ),
        (
            with(|r| {
                r.previous = Some(peer::LogId {
                    term: 1,
                    log_index: 0,
                })
            }),
            "append.previous is 0",
        ),
        (
            with(|r| {
                r.committed = Some(peer::LogId {
                    term: 1,
                    log_index: u64::MAX,
                });
            }),
            "append.committed is 18446744073709551615, which is above 9223372036854775807",
        ),
        (
            with(|r| r.entries = vec![blank(1, 2)]),
            "entry 2 of term 1 does not follow on entry 0 of term 0",
        ),
        (
            with(|r| r.entries = vec![blank(2, 1), blank(1, 2)]),
            "entry 2 of term 1 does not follow on entry 1 of term 2",
        ),
        (
            with(|r| {
                r.entries = vec![peer::Entry {
                    content: None,
                    ..blank(1, 1)
                }]
            }),
            "entry.content is missing",
        ),
        (
            with(|r| {
                let content = Some(peer::entry::Content::Records(peer::Batch::default()));
                r.entries = vec![peer::Entry {
                    content,
                    ..blank(1, 1)
                }];
            }),
            "batch.record_count is 0",
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(said, expected);
    }
}

#[test]
fn a_conflict_before_the_first_entry_is_refused() {
    // openraft answers it with a panic.
    let conflict = peer::Conflict { at: None };
    let response = peer::AppendResponse {
        result: Some(peer::append_response::Result::Conflict(conflict)),
        commits_awaited: false,
        storage_full: false,
    };
    assert_eq!(
        decode_append_result(response),
        Err(CodecError::Missing {
            field: "append.conflict"
        })
    );
}

#[test]
fn a_membership_that_nobody_can_vote_in_is_refused() {
    let set = |node_ids: &[u64]| peer::VoterSet {
        node_ids: node_ids.to_vec(),
    };
    let member = |node_id| peer::Member {
        node_id,
        ..peer::Member::default()
    };
    let refused = |voter_sets: Vec<peer::VoterSet>, members: &[u64]| {
        let membership = peer::Membership {
            voter_sets,
            members: members.iter().map(|id| member(*id)).collect(),
        };
        read_membership(Some(membership)).unwrap_err()
    };
    let not_ascending = |field, node_id| CodecError::NotAscending { field, node_id };
    assert!(matches!(
        refused(vec![set(&[])], &[1]),
        CodecError::NoMembership { .. }
    ));
    assert!(matches!(
        refused(vec![set(&[2])], &[1]),
        CodecError::NoMembership { .. }
    ));
    assert_eq!(
        refused(vec![set(&[1, 1])], &[1]),
        not_ascending("membership.voter_sets", 1)
    );
    assert_eq!(refused(vec![], &[2, 1]), not_ascending("membership.members", 1));
    assert_eq!(
        refused(vec![], &[0]),
        CodecError::Zero {
            field: "membership.members"
        }
    );
    assert!(decode_membership(&[0xff]).is_err());
}

#[test]
fn the_bytes_of_a_membership_are_on_disks() {
    let member = Member {
        name: "node-0".to_owned(),
        address: "h:1".to_owned(),
    };
    let membership = RaftMembership::new(vec![BTreeSet::from([7])], BTreeMap::from([(7, member)])).unwrap();
    let bytes: &[u8] = b"\x0a\x03\x0a\x01\x07\x12\x0f\x08\x07\x12\x06node-0\x1a\x03h:1";
    assert_eq!(encode_membership(&membership), bytes);
}

#[test]
fn records_are_not_copied_on_their_way_into_a_message() {
    let records = Bytes::from_static(b"as the producer sent them");
    let payload = EntryPayload::Normal(Proposal {
        timestamp: TimestampMs(1),
        content: ProposalContent::Records(Batch {
            producer: None,
            expected_offset: None,
            record_count: 1,
            records: records.clone(),
        }),
    });
    let log_id = raft_log_id(LogIndex(1), Term(1)).unwrap();
    let message = entry(RaftEntry { log_id, payload });
    let Some(peer::entry::Content::Records(batch)) = message.content else {
        panic!("{message:?}");
    };
    assert_eq!(batch.records.as_ptr(), records.as_ptr());
}
