//! Proposals while the leader's disk is busy: consensus of one voter over a real log, whose disk syncs when a test lets it.
//!
//! One thread runs all of consensus, and a test goes on only when that has nothing left to do: what is not at the log then
//! waits for the disk.

use std::{
    collections::BTreeMap,
    fmt,
    future::ready,
    io, mem,
    path::Path,
    sync::{Arc, Mutex},
};

use annals::{
    actors::raft::LogLink,
    consensus::{
        Consensus, CursorBoard, DamageBoard, PeerNetworks, Recovered, Timing,
        links::{Lane, LinkError, PeerChannel, PeerLinks},
        log_port::{ApplyObserver, LogPort, OnAppended},
        start::Parts,
        types::{
            Member, OnComplete, Proposal, ProposalContent, RaftLogId, RaftStoredMembership, RaftVote,
            WriteResult, log_index,
        },
    },
    storage::entry::{Batch, Entry},
    types::{LogIndex, NodeId, Offset, TimestampMs},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::sync::oneshot;

use crate::support::{
    hooked_fs::{Gate, HookedFileSystem},
    lone_log::LoneLog,
    node::{in_time, until},
    sim_fs::{CallKind, SimFileSystem},
};

/// The only voter.
const NODE: NodeId = NodeId(1);
/// A proposal of so many bytes waits for nobody.
const LARGE_BYTES: usize = 16 << 10;
/// Proposals that wait together; all of them are far less than that.
const MANY: u64 = 20;

/// The way to the log, which notes how many entries each append carries.
#[derive(Debug)]
struct NotedLink {
    link: LogLink,
    appends: Mutex<Vec<usize>>,
    /// What happens when a vote is to be saved, which fails then.
    at_vote: AtVote,
}

/// Something that is done once.
#[derive(Default)]
struct AtVote(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl AtVote {
    fn set(&self, act: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(act));
    }

    fn take(&self) -> Option<Box<dyn FnOnce() + Send>> {
        self.0.lock().unwrap().take()
    }
}

impl fmt::Debug for AtVote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtVote")
    }
}

impl LogPort for NotedLink {
    fn append(&self, entries: Vec<Entry>, then: OnAppended) {
        self.appends.lock().unwrap().push(entries.len());
        self.link.append(entries, then);
    }

    fn save_vote(&self, vote: RaftVote) -> BoxFuture<'static, io::Result<()>> {
        if let Some(act) = self.at_vote.take() {
            act();
            return ready(Err(io::Error::other("on purpose"))).boxed();
        }
        self.link.save_vote(vote)
    }

    fn truncate(&self, from: LogIndex) -> BoxFuture<'static, io::Result<()>> {
        self.link.truncate(from)
    }

    fn trim(&self, below: Offset, last: LogIndex) -> BoxFuture<'static, io::Result<()>> {
        self.link.trim(below, last)
    }

    fn note_committed(&self, applied: RaftLogId, membership: RaftStoredMembership) {
        self.link.note_committed(applied, membership);
    }

    fn set_trim_point(&self, below: Offset) {
        self.link.set_trim_point(below);
    }

    fn install(&self, manifest: Bytes) -> BoxFuture<'static, io::Result<bool>> {
        self.link.install(manifest)
    }
}

/// There are no peers.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl PeerLinks for Nowhere {
    async fn channel(&self, _: NodeId, _: Lane) -> Result<PeerChannel, LinkError> {
        Err(LinkError::Gone)
    }
}

/// Nobody wants to know what is committed.
#[derive(Debug)]
struct Nobody;

impl ApplyObserver for Nobody {
    fn committed(&self, _: Offset) {}

    fn trimmed(&self, _: Offset) {}
}

/// What becomes of a proposal; an error where that is not known.
type Answer = oneshot::Receiver<WriteResult>;

/// A leader that is its own majority.
struct Leader {
    consensus: Consensus,
    log: LoneLog,
    link: Arc<NotedLink>,
    gate: Arc<Gate>,
    disk: SimFileSystem,
}

impl Leader {
    /// It has no members yet, and so nobody to lead.
    async fn started() -> Self {
        let (disk, gate) = (SimFileSystem::new(1), Gate::new());
        let hooked = Arc::new(HookedFileSystem::new(disk.clone(), gate.clone()));
        let log = LoneLog::open(hooked, Path::new("/log"), 1 << 20).await;
        let link = Arc::new(NotedLink {
            link: LogLink::new(log.log.clone()),
            appends: Mutex::default(),
            at_vote: AtVote::default(),
        });
        let starting = Consensus::start(Parts {
            node_id: NODE,
            cluster_name: "annals".to_owned(),
            timing: Timing::default(),
            port: link.clone(),
            view: log.view.clone(),
            damage: DamageBoard::default(),
            cursors: CursorBoard::default(),
            observer: Arc::new(Nobody),
            recovered: Recovered {
                last: None,
                purged: None,
                committed: None,
                membership: RaftStoredMembership::default(),
                vote: None,
            },
            network: PeerNetworks::new(NODE, Arc::new(Nowhere)),
        });
        let consensus = in_time("consensus to start", starting).await.unwrap();
        Self {
            consensus,
            log,
            link,
            gate,
            disk,
        }
    }

    /// It leads, its disk has nothing to do, and nothing that it appended so far is noted.
    async fn new() -> Self {
        let leader = Self::started().await;
        leader.consensus.raft.initialize(only_voter()).await.unwrap();
        // Its own term's first entry is synced then, so that there is nothing to wait for any more.
        until("it to lead", async || leader.consensus.applied_term().get() > 0).await;
        leader.link.appends.lock().unwrap().clear();
        leader
    }

    /// The same, while it syncs a first proposal, which takes until the gate is opened.
    async fn busy() -> (Self, Answer) {
        let leader = Self::new().await;
        leader.gate.close();
        let first = leader.propose(1);
        until("the disk hangs", async || leader.gate.waiting() > 0).await;
        leader.rests().await;
        assert_eq!(leader.appends(), [1]);
        (leader, first)
    }

    /// Proposes records of so many bytes.
    fn propose(&self, bytes: usize) -> Answer {
        let (sender, answer) = oneshot::channel();
        let then = OnComplete::new(move |result| drop(sender.send(result)));
        self.consensus.propose(proposal(bytes), then);
        answer
    }

    /// Waits until openraft has done what it was told before: its queue keeps the order, and by its second answer it has
    /// carried out what came before the first.
    async fn rests(&self) {
        for _ in 0..2 {
            let answered = self.consensus.raft.with_raft_state(|_| ());
            in_time("openraft to answer", answered).await.unwrap();
        }
    }

    /// How many entries each append has brought to the log, in order.
    fn appends(&self) -> Vec<usize> {
        self.link.appends.lock().unwrap().clone()
    }

    /// Ends all.
    async fn stop(self) {
        self.gate.open();
        self.consensus.raft.shutdown().await.unwrap();
        assert_eq!(self.log.shut_down().await.exit_code, 0);
    }
}

fn only_voter() -> BTreeMap<u64, Member> {
    BTreeMap::from([(NODE.get(), Member::default())])
}

/// Records of so many bytes.
fn proposal(bytes: usize) -> Proposal {
    let batch = Batch {
        producer: None,
        expected_offset: None,
        record_count: 1,
        records: vec![b'.'; bytes].into(),
    };
    Proposal {
        timestamp: TimestampMs(1),
        content: ProposalContent::Records(batch),
    }
}

/// The entry that carries a proposal, once that is committed.
async fn committed(answer: Answer) -> LogIndex {
    let result = in_time("an answer", answer).await.unwrap();
    log_index(result.unwrap().log_id.index())
}

/// Nobody was told that the proposal is committed.
async fn is_answered(answer: Answer) {
    match in_time("an answer", answer).await {
        // Dropped: nobody knows.
        Err(_) | Ok(Err(_)) => {}
        Ok(Ok(committed)) => panic!("it was not synced: {committed:?}"),
    }
}

#[tokio::test]
async fn a_proposal_that_finds_the_disk_idle_goes_at_once() {
    let (leader, first) = Leader::busy().await;
    assert_eq!(leader.appends(), [1]);
    leader.gate.open();
    let first = committed(first).await;
    for number in 1..=3 {
        let next = committed(leader.propose(1)).await;
        assert_eq!(next, first.plus(number));
    }
    assert_eq!(leader.appends(), [1; 4]);
    leader.stop().await;
}

#[tokio::test]
async fn what_is_proposed_while_the_disk_is_busy_is_appended_at_once_when_it_is_not_and_in_order() {
    let (leader, first) = Leader::busy().await;
    let mut waiting = Vec::new();
    for _ in 0..MANY {
        waiting.push(leader.propose(1));
        leader.rests().await;
        assert_eq!(leader.appends(), [1], "it cannot be synced before what hangs");
    }
    leader.gate.open();
    let first = committed(first).await;
    for (answer, number) in waiting.into_iter().zip(1..) {
        assert_eq!(committed(answer).await, first.plus(number));
    }
    assert_eq!(leader.appends(), [1, MANY as usize]);
    leader.stop().await;
}

#[tokio::test]
async fn a_large_proposal_goes_though_the_disk_is_busy_behind_all_that_waits() {
    let (leader, first) = Leader::busy().await;
    let small = leader.propose(LARGE_BYTES / 2);
    leader.rests().await;
    assert_eq!(leader.appends(), [1]);
    let large = leader.propose(LARGE_BYTES);
    leader.rests().await;
    assert_eq!(leader.appends(), [1, 2]);
    // What has gone counts no more.
    let next = leader.propose(LARGE_BYTES / 2);
    leader.rests().await;
    assert_eq!(leader.appends(), [1, 2]);
    let filled_up = leader.propose(LARGE_BYTES / 2);
    leader.rests().await;
    assert_eq!(leader.appends(), [1, 2, 2]);
    leader.gate.open();
    let first = committed(first).await;
    for (answer, number) in [small, large, next, filled_up].into_iter().zip(1..) {
        assert_eq!(committed(answer).await, first.plus(number));
    }
    leader.stop().await;
}

#[tokio::test]
async fn a_disk_that_fails_leaves_no_proposal_without_an_answer() {
    let (leader, first) = Leader::busy().await;
    let waiting: Vec<_> = (0..MANY).map(|_| leader.propose(1)).collect();
    leader.rests().await;
    assert_eq!(leader.appends(), [1]);
    leader.disk.fail_nth(CallKind::Sync, 1, io::ErrorKind::Other);
    leader.gate.open();
    is_answered(first).await;
    for answer in waiting {
        is_answered(answer).await;
    }
    in_time("the end of consensus", leader.consensus.ended()).await;
    is_answered(leader.propose(1)).await;
    leader.log.ended().await;
}

#[tokio::test]
async fn consensus_that_ends_while_the_disk_is_busy_leaves_no_proposal_without_an_answer() {
    let (leader, first) = Leader::busy().await;
    let waiting: Vec<_> = (0..MANY).map(|_| leader.propose(1)).collect();
    leader.rests().await;
    assert_eq!(leader.appends(), [1]);
    leader.consensus.raft.shutdown().await.unwrap();
    let Leader {
        consensus, gate, log, ..
    } = leader;
    drop(consensus);
    is_answered(first).await;
    for answer in waiting {
        is_answered(answer).await;
    }
    gate.open();
    assert_eq!(log.shut_down().await.exit_code, 0);
}

/// Proposes when it is dropped, and says so.
struct ProposesAgain {
    consensus: Consensus,
    proposed: Option<oneshot::Sender<()>>,
}

impl Drop for ProposesAgain {
    fn drop(&mut self) {
        self.consensus
            .propose(proposal(LARGE_BYTES), OnComplete::new(|_| ()));
        if let Some(proposed) = self.proposed.take() {
            proposed.send(()).unwrap_or_default();
        }
    }
}

/// The bug: whoever proposes while consensus ends waits inside of openraft for that end. Dropped half-way, that wait was nobody's any more, and
/// who asked next why consensus had ended panicked there, with the connection that it served.
#[tokio::test]
async fn a_proposal_that_meets_the_end_of_consensus_half_way_leaves_others_their_answer() {
    let leader = Leader::started().await;
    // A vote that cannot be saved ends openraft's core. What is in its queue is dropped on the way, when the queue is closed and the
    // core not yet over; and who hears of that proposes again.
    let (proposed, again) = oneshot::channel();
    let consensus = leader.consensus.clone();
    leader.link.at_vote.set(move || {
        let proposes = ProposesAgain {
            consensus: consensus.clone(),
            proposed: Some(proposed),
        };
        // Were it answered it would not have met the end.
        let then = OnComplete::new(move |_: WriteResult| mem::forget(proposes));
        consensus.propose(proposal(LARGE_BYTES), then);
    });
    drop(leader.consensus.raft.initialize(only_voter()).await);
    in_time("the second proposal", again).await.unwrap();
    for _ in 0..2 {
        let asked = leader.consensus.raft.with_raft_state(|_| ());
        in_time("why it ended", asked).await.unwrap_err();
    }
    in_time("the end of consensus", leader.consensus.ended()).await;
    let Leader { consensus, log, .. } = leader;
    drop(consensus);
    assert_eq!(log.shut_down().await.exit_code, 0);
}
