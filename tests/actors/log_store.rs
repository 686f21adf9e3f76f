//! The log as openraft sees it, judged by openraft's own suite of what a store has to do: the real store over a real
//! LogActor.
//!
//! The suite's log may begin anywhere; ours begins with its first entry and has no holes. So where a case begins later, the
//! entries before are there, and purged. The cases about state machines alone (`apply_*`, `last_applied_state`,
//! `snapshot_*`, `transfer_snapshot`) are not run: they apply entries that are in no log, and ours waits until what it
//! applies is synced in its log. In the others a stand-in keeps what was applied.

use std::{future::Future, io, path::Path, sync::Arc};

use annals::{
    actors::raft::LogLink,
    consensus::{
        LogStore, Recovered,
        types::{
            Applied, Proposal, ProposalContent, RaftEntry, RaftLogId, RaftSnapshot, RaftSnapshotMeta,
            RaftStoredMembership, RaftVote, SnapshotManifest, TypeConfig, raft_log_id,
        },
    },
    storage::{
        control::Control,
        entry::{Batch, Entry, Payload},
    },
    types::{LogIndex, Offset, Term, TimestampMs},
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftLogReader, RaftSnapshotBuilder, StorageError,
    storage::{EntryResponder, IOFlushed, RaftLogStorage, RaftStateMachine},
    testing::log::{StoreBuilder, Suite},
};

use crate::support::{lone_log::LoneLog, node::in_time, sim_fs::SimFileSystem};

/// Remembers what was applied last.
#[derive(Clone, Debug, Default)]
struct StandIn {
    applied: Option<RaftLogId>,
    membership: RaftStoredMembership,
}

impl RaftSnapshotBuilder<TypeConfig> for StandIn {
    type SnapshotData = SnapshotManifest;

    async fn build_snapshot(&mut self) -> io::Result<RaftSnapshot> {
        Ok(RaftSnapshot {
            meta: RaftSnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
            },
            snapshot: SnapshotManifest(Bytes::new()),
        })
    }
}

impl RaftStateMachine<TypeConfig> for StandIn {
    type SnapshotData = SnapshotManifest;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, RaftStoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.applied = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                self.membership = RaftStoredMembership::new(Some(entry.log_id), membership);
            }
            if let Some(responder) = responder {
                responder.send(Applied::NoRecords);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, _: &RaftSnapshotMeta, _: SnapshotManifest) -> io::Result<()> {
        Ok(())
    }

    /// What was purged must be in one.
    async fn get_current_snapshot(&mut self) -> io::Result<Option<RaftSnapshot>> {
        let snapshot = self.build_snapshot().await?;
        Ok(self.applied.is_some().then_some(snapshot))
    }
}

/// The suite asks for one; the cases are called by themselves here.
struct NoBuilder;

impl StoreBuilder<TypeConfig, LogStore, StandIn, ()> for NoBuilder {
    async fn build(&self) -> Result<((), LogStore, StandIn), StorageError<TypeConfig>> {
        unreachable!("each case is given its store")
    }
}

type OfStores = Suite<TypeConfig, LogStore, StandIn, NoBuilder, ()>;

async fn open(disk: &SimFileSystem) -> LoneLog {
    LoneLog::open(Arc::new(disk.clone()), Path::new("/log"), 1 << 20).await
}

/// A store over the log as it stands; `purged` of its entries are gone for openraft.
async fn store_over(log: &LoneLog, purged: u64) -> LogStore {
    let standing = log.standing().await;
    let recovered = Recovered {
        last: raft_log_id(standing.last_log_index, standing.last_term),
        purged: raft_log_id(LogIndex(purged), Term::ZERO),
        committed: None,
        membership: RaftStoredMembership::default(),
        vote: None,
    };
    LogStore::over(
        Arc::new(LogLink::new(log.log.clone())),
        log.view.clone(),
        &recovered,
    )
}

/// Gives a case a store whose first entry will be openraft's `first`.
async fn run<F>(case: impl FnOnce(LogStore, StandIn) -> F, first: u64)
where
    F: Future<Output = io::Result<()>>,
{
    let log = open(&SimFileSystem::new(1)).await;
    if first > 0 {
        let blanks = (1..=first).map(|log_index| Entry {
            log_index: LogIndex(log_index),
            term: Term::ZERO,
            timestamp: TimestampMs(0),
            payload: Payload::Blank,
        });
        let stored = in_time("the entries before", log.append(blanks.collect())).await;
        stored.unwrap().unwrap();
    }
    let store = store_over(&log, first).await;
    in_time("the case", case(store, StandIn::default()))
        .await
        .unwrap();
    assert_eq!(log.shut_down().await.exit_code, 0);
}

macro_rules! cases {
    ($($case:ident from $first:literal;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                run(OfStores::$case, $first).await;
            }
        )*
    };
}

cases! {
    last_membership_in_log_initial from 0;
    last_membership_in_log from 1;
    last_membership_in_log_multi_step from 1;
    get_membership_initial from 0;
    get_membership_from_log_and_empty_sm from 1;
    get_membership_from_empty_log_and_sm from 0;
    get_membership_from_log_le_sm_last_applied from 1;
    get_membership_from_log_gt_sm_last_applied_1 from 1;
    get_membership_from_log_gt_sm_last_applied_2 from 1;
    get_initial_state_without_init from 0;
    get_initial_state_membership_from_empty_log_and_sm from 0;
    get_initial_state_membership_from_sm_inlog_is_smaller from 1;
    get_initial_state_membership_from_log_insm_is_smaller from 3;
    get_initial_state_with_state from 0;
    get_initial_state_last_log_gt_sm from 0;
    get_initial_state_last_log_lt_sm from 2;
    get_initial_state_inverted_log_order from 2;
    get_initial_state_conflict_at_same_index from 2;
    get_initial_state_log_ids from 0;
    get_initial_state_re_apply_committed from 2;
    save_vote from 0;
    get_log_entries from 0;
    limited_get_log_entries from 0;
    leader_bounded_stream from 0;
    entries_stream from 0;
    try_get_log_entry from 0;
    log_reader_reads_new_entries from 0;
    initial_logs from 0;
    get_log_state from 0;
    get_log_id from 0;
    last_id_in_log from 0;
    purge_logs_upto_0 from 0;
    purge_logs_upto_5 from 0;
    purge_logs_upto_20 from 0;
    delete_logs_after_11 from 0;
    delete_logs_after_5 from 0;
    delete_logs_after_0 from 0;
    delete_logs_after_none from 0;
    append_to_log from 0;
}

/// One entry of each kind.
fn every_kind() -> Vec<RaftEntry> {
    let log_id = |index| raft_log_id(LogIndex(index), Term(1)).unwrap();
    let proposal = |content| Proposal {
        timestamp: TimestampMs(5),
        content,
    };
    let members = openraft::Membership::new_with_defaults(vec![[1, 2, 3].into(), [1, 2].into()], [4]);
    let batch = Batch {
        producer: None,
        expected_offset: None,
        record_count: 1,
        records: Bytes::from_static(b"\x0a\x03\x0a\x01x"),
    };
    let trim = Control::Trim { below: Offset(1) }.encode();
    [
        EntryPayload::Membership(members),
        EntryPayload::Blank,
        EntryPayload::Normal(proposal(ProposalContent::Records(batch))),
        EntryPayload::Normal(proposal(ProposalContent::Control(trim))),
    ]
    .into_iter()
    .zip(1..)
    .map(|(payload, index)| RaftEntry {
        log_id: log_id(index),
        payload,
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_and_voted_is_there_when_the_log_is_opened_again() {
    let disk = SimFileSystem::new(2);
    let log = open(&disk).await;
    let mut store = store_over(&log, 0).await;
    let vote = RaftVote::new_committed(1, 7);
    store.save_vote(&vote).await.unwrap();
    let entries = every_kind();
    store.append(entries.clone(), IOFlushed::noop()).await.unwrap();
    assert_eq!(
        store.try_get_log_entries(..).await.unwrap(),
        entries,
        "before they are synced"
    );
    assert_eq!(log.shut_down().await.exit_code, 0);

    disk.crash(2);
    let log = open(&disk).await;
    let mut store = store_over(&log, 0).await;
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), entries);
    assert_eq!(store.limited_get_log_entries(1, 3).await.unwrap(), entries[1..3]);
    let last = store.get_log_state().await.unwrap().last_log_id;
    assert_eq!(last, entries.last().map(|entry| entry.log_id));
    let found = log.standing().await.vote.unwrap();
    assert_eq!(
        (found.term.get(), found.voted_for.unwrap().get(), found.committed),
        (1, 7, true)
    );
    log.shut_down().await;
}
