//! Puts a log's consensus together: recovered state in, a running openraft out.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures::{Stream, stream};
use openraft::{
    Config, RaftNetworkFactory, SnapshotPolicy, async_runtime::WatchReceiver, network::NetSnapshot,
};

use super::{
    CursorBoard, DamageBoard, LogStore, Raft, Recovered, StateMachine,
    contradiction::{self, Contradiction},
    gather::Gather,
    log_port::{ApplyObserver, SharedLogPort},
    messages::AppendRequest,
    shared::{OnDamage, Shared},
    state_machine::Applying,
    types::{
        OnComplete, Proposal, RaftEntry, RaftLogId, SnapshotManifest, TypeConfig, WriteResult, entry_of,
        raft_index,
    },
};
use crate::{
    error::causes,
    storage::{LogView, ReadEntriesError},
    types::{LogIndex, NodeId, Offset, Term},
};

/// Entries in one append to a follower; bytes are what bounds it (`LogStore`).
const APPEND_ENTRIES_MAX: u64 = 4096;
/// How long a follower may take to fetch and install segments: a terabyte over a slow line. A follower that is gone shows
/// by its connection long before.
const INSTALL_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// Bytes of entries sent at a time to a node that writes a segment anew.
const ENTRIES_BYTES: usize = 1 << 20;
/// After how long a snapshot is asked for again; it is made within milliseconds.
const SNAPSHOT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How patient consensus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A leader shows itself this often.
    pub heartbeat: Duration,
    /// A follower that hears nothing for this long, and a fifth to three fifths longer at random, stands for election. A leader
    /// that no majority has answered for this long takes no more writes.
    pub election_timeout: Duration,
}

impl Default for Timing {
    /// Ten heartbeats may be missed: a disk or a scheduler that stalls for some hundred milliseconds is no reason for an
    /// election.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
        }
    }
}

/// What consensus is made of.
#[derive(Debug)]
pub struct Parts<N> {
    /// This node.
    pub node_id: NodeId,
    /// The cluster's name, for openraft's own lines.
    pub cluster_name: String,
    /// How patient it is.
    pub timing: Timing,
    /// The log, to write.
    pub port: SharedLogPort,
    /// The log, to read.
    pub view: Arc<ArcSwap<LogView>>,
    /// Where damage is told that is met in it.
    pub damage: DamageBoard,
    /// Hears what is committed.
    pub observer: Arc<dyn ApplyObserver>,
    /// Where committed cursors are shown.
    pub cursors: CursorBoard,
    /// What the log was found to hold.
    pub recovered: Recovered,
    /// The way to the other nodes.
    pub network: N,
}

/// Running consensus.
#[derive(Clone)]
pub struct Consensus {
    /// openraft.
    pub raft: Raft,
    shared: Arc<Shared>,
    gather: Arc<Gather>,
}

/// Consensus could not be started.
#[derive(Debug, thiserror::Error)]
#[error("consensus cannot start: {what}")]
pub struct StartFailed {
    what: String,
}

impl StartFailed {
    /// For this reason.
    #[must_use]
    pub fn new(error: &dyn std::error::Error) -> Self {
        Self { what: causes(error) }
    }
}

impl Consensus {
    /// Starts consensus on the runtime that this is awaited on: its tasks run there.
    ///
    /// Errors: what is on disk contradicts itself, or cannot be read.
    pub async fn start<N>(parts: Parts<N>) -> Result<Self, StartFailed>
    where
        N: RaftNetworkFactory<TypeConfig>,
        N::Network: NetSnapshot<TypeConfig, SnapshotData = SnapshotManifest>,
    {
        let failed = StartFailed::new;
        let config = config(&parts.cluster_name, parts.timing).map_err(|error| failed(&error))?;
        let shared = Arc::new(Shared::new(
            parts.port,
            parts.view,
            parts.damage,
            &parts.recovered,
        ));
        shared.raise_trim_point(shared.view.load().earliest());
        let committed = parts.recovered.committed;
        let committed_index = committed
            .as_ref()
            .map_or(LogIndex::ZERO, |log_id| entry_of(log_id).0);
        let view = shared.view.load_full();
        let next_offset = tokio::task::spawn_blocking(move || view.next_offset_after(committed_index));
        let next_offset = next_offset.await.map_err(|error| failed(&error))?;
        // Damage that is met here is told, so that it is repaired before the next try.
        let cursors = shared.look(move |view| view.cursors_at(committed_index)).await;
        let from = Applying {
            applied: committed,
            membership: parts.recovered.membership,
            next_offset: next_offset.map_err(|error| failed(&error))?,
            cursors: cursors.map_err(|error| failed(&error))?,
        };
        let state_machine = StateMachine::new(shared.clone(), parts.observer, parts.cursors, from);
        let store = LogStore::new(shared.clone());
        let raft = Raft::new(
            parts.node_id.get(),
            Arc::new(config),
            parts.network,
            store,
            state_machine,
        );
        let raft = raft.await.map_err(|error| failed(&error))?;
        let gather = Gather::start(raft.clone(), shared.clone());
        shared.set_patient(true);
        Ok(Self { raft, shared, gather })
    }

    /// Proposes, as the leader. Proposals are numbered in the order of these calls; `then` is called once, or dropped when consensus
    /// ends before it knows.
    pub fn propose(&self, proposal: Proposal, then: OnComplete<WriteResult>) {
        self.gather.propose(proposal, then);
    }

    /// For how long, at `now`, this node's disk has owed a sync: none has come back, and something waits for one.
    #[must_use]
    pub fn sync_due_for(&self, now: Instant) -> Duration {
        self.shared.window.sync_due_for(now)
    }

    /// Bytes of entries that are held in memory, for followers that keep up and because they are not synced yet.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.shared.window.held_bytes()
    }

    /// The last entry applied here, and its changes.
    #[must_use]
    pub fn watch_applied(&self) -> tokio::sync::watch::Receiver<LogIndex> {
        self.shared.watch_applied()
    }

    /// Waits until consensus has ended, whatever ended it.
    ///
    /// Cancel: safe.
    pub async fn ended(&self) {
        let mut metrics = self.raft.server_metrics();
        while self.raft.metrics().borrow_watched().running_state.is_ok() {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// It ends, or has ended: reads of the log that wait for a repair do not wait any longer.
    pub fn close(&self) {
        self.shared.set_patient(false);
    }

    /// The last entry that is known here to be committed, applied or not.
    #[must_use]
    pub fn committed_index(&self) -> LogIndex {
        let committed = self.shared.facts().committed;
        let committed = committed.map_or(LogIndex::ZERO, |committed| entry_of(&committed).0);
        committed.max(self.applied_index())
    }

    /// The last entry applied here.
    #[must_use]
    pub fn applied_index(&self) -> LogIndex {
        let applied = self.shared.applied();
        applied.map_or(LogIndex::ZERO, |(applied, _)| entry_of(&applied).0)
    }

    /// The term of the last entry applied here.
    #[must_use]
    pub fn applied_term(&self) -> Term {
        let applied = self.shared.applied();
        applied.map_or(Term::ZERO, |(applied, _)| entry_of(&applied).1)
    }

    /// Entries of `[from, below)` of this node's log, committed or not, some at a time.
    pub fn entries(
        &self,
        from: LogIndex,
        below: LogIndex,
    ) -> impl Stream<Item = io::Result<Vec<RaftEntry>>> + Send + 'static {
        let shared = self.shared.clone();
        stream::try_unfold(from, move |from| {
            let shared = shared.clone();
            async move {
                let entries = shared
                    .read_raft(from, below, ENTRIES_BYTES, OnDamage::Fail)
                    .await?;
                let next = entries.last().map(|last| entry_of(&last.log_id).0.plus(1));
                Ok(next.map(|next| (entries, next)))
            }
        })
    }

    /// Remembers on disk, without waiting for it, what is committed.
    pub fn note(&self) {
        if let Some((applied, membership)) = self.shared.applied() {
            self.shared.port.note_committed(applied, membership);
        }
    }

    /// Whether what a leader sends contradicts what is committed here.
    ///
    /// Cancel: safe.
    pub async fn contradiction(&self, request: &AppendRequest) -> Option<Contradiction> {
        contradiction::contradiction(&self.shared, request).await
    }

    /// Who votes, as the newest membership in the log has it.
    #[must_use]
    pub fn voters(&self) -> Vec<NodeId> {
        self.raft.voter_ids().map(NodeId).collect()
    }

    /// Lets openraft go of all entries whose records lie below `below`, as far as whole segments of this node do; the log
    /// then drops those. A trim to `below` must be committed, though its entry need not be here yet.
    ///
    /// Errors: consensus has ended, or the log cannot be read. Cancel: safe.
    pub async fn purge_below(&self, below: Offset) -> Result<(), StartFailed> {
        self.shared.raise_trim_point(below);
        let view = self.shared.view.load_full();
        let last = tokio::task::spawn_blocking(move || last_entry_below(&view, below)).await;
        let last = last.map_err(|error| StartFailed::new(&error))?;
        let Some(last) = last.map_err(|error| StartFailed::new(&error))? else {
            return Ok(());
        };
        let upto = raft_index(last);
        let failed = |error: openraft::errors::Fatal<TypeConfig>| StartFailed::new(&error);
        let listed =
            |snapshot: &Option<RaftLogId>| snapshot.as_ref().is_some_and(|last| last.index() >= upto);
        let mut progress = self.raft.metrics();
        while !listed(&progress.borrow_watched().snapshot) {
            // Asked again where another was being made, which may list less.
            self.raft.trigger().snapshot().await.map_err(failed)?;
            let changed = tokio::time::timeout(SNAPSHOT_AGAIN_AFTER, progress.changed()).await;
            if let Ok(Err(error)) = changed {
                return Err(StartFailed::new(&error));
            }
        }
        self.raft.trigger().purge_log(upto).await.map_err(failed)
    }
}

/// The last entry before the last segment that begins at or below an offset; `None` when that is the first one.
///
/// Blocking.
fn last_entry_below(view: &LogView, below: Offset) -> Result<Option<LogIndex>, ReadEntriesError> {
    let firsts = view.segment_firsts();
    let (mut low, mut high) = (0, firsts.len());
    let mut last = None;
    while low < high {
        let middle = usize::midpoint(low, high);
        match view.checkpoint_before(firsts[middle])? {
            Some(before) if before.next_offset() <= below => {
                last = Some(before.last_log_index());
                low = middle + 1;
            }
            _ => high = middle,
        }
    }
    Ok(last.filter(|last| *last > LogIndex::ZERO && low > 1))
}

fn config(cluster_name: &str, timing: Timing) -> Result<Config, openraft::ConfigError> {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // openraft waits for a lease, which is its longest timeout, and then for its timeout: together, 1.2 to 1.6 times the
    // election timeout. Closer together, and on a slow machine two nodes stand at the same time too often. In an election, and
    // while leadership is handed over, there is no lease: then the shortest timeout alone is what a vote may take.
    let election = milliseconds(timing.election_timeout);
    let (shortest, longest) = (election * 2 / 5, election * 4 / 5);
    Config {
        cluster_name: cluster_name.to_owned(),
        heartbeat_interval: milliseconds(timing.heartbeat),
        election_timeout_min: shortest,
        election_timeout_max: longest,
        install_snapshot_timeout: milliseconds(INSTALL_WITHIN),
        max_payload_entries: APPEND_ENTRIES_MAX,
        // Segments are the snapshot: one is listed when a trim or a follower asks for it, and nothing is purged but by a
        // trim.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // A follower is sent entries while its leader syncs them, not after.
        broadcast_submitted_on_append: Some(true),
        // A follower that says so has lost entries that it had, to its disk. Without them it would vote all the same, so the sooner
        // it has them again the better; openraft would otherwise not send them for as long as this node leads.
        allow_log_reversion: Some(true),
        enable_pre_vote: Some(true),
        // A leader that restarts may have lost entries that it had sent and not synced. As the same leader it would make
        // other entries with their ids.
        enable_leader_restore: Some(false),
        quorum_loss_probe_interval: Some(election * 4),
        ..Config::default()
    }
    .validate()
}
