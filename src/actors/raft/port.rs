//! The way into consensus, from any thread and without a mailbox: a proposal goes straight to openraft's own queue.
//!
//! RaftActor publishes consensus here while it runs. A hop through its mailbox would carry nothing (ADR 0010).

mod read_index;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use openraft::{ReadPolicy, errors::ClientWriteError};
use tokio::{runtime::Handle, sync::watch};

use super::{Fence, route::LeaderRoute};
use crate::{
    actors::{
        committer::{ChangeCursor, Committed, Committer, Leadership, Propose, ProposeError, ReadIndex},
        log::{Condition, ConditionBoard},
        read_path::ReadPath,
        supervision::PostError,
    },
    clock,
    consensus::{
        Consensus, CursorBoard,
        types::{
            Applied, OnComplete, Proposal, ProposalContent, TypeConfig, WriteResult, entry_of, log_index,
        },
    },
    storage::{control::Control, cursors::CursorVerdict},
    types::{LogIndex, NodeId},
};

/// Proposals that may wait for their commit on a leader. Each is a batch, so this is far above what keeps the disk busy,
/// and below what openraft's queue holds (65,536), so that it never has to wait.
const PROPOSALS_MAX: usize = 16 << 10;

/// See the module. Cheap to clone; outlives restarts of RaftActor.
#[derive(Clone)]
pub struct RaftPort {
    node_id: NodeId,
    running: Arc<ArcSwapOption<Consensus>>,
    in_flight: Arc<AtomicUsize>,
    /// This node is its cluster, and its log is only read: nobody can have committed more.
    lone_reader: Arc<AtomicBool>,
    /// It stands for no election any more, whatever its disk says.
    stood_down: Arc<AtomicBool>,
    majority_full: Arc<AtomicBool>,
    fence: Fence,
    waiting: watch::Receiver<Option<String>>,
    leadership: watch::Receiver<Leadership>,
    board: ConditionBoard,
    read_path: ReadPath,
    route: Arc<dyn LeaderRoute>,
    runtime: Handle,
}

impl fmt::Debug for RaftPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftPort")
            .field("running", &self.running.load().is_some())
            .finish_non_exhaustive()
    }
}

/// What a port is made of.
#[derive(Debug)]
pub struct PortParts {
    /// This node.
    pub node_id: NodeId,
    /// Up once this node was removed from its cluster.
    pub fence: Fence,
    /// For what the node waits while it belongs to no cluster.
    pub waiting: watch::Receiver<Option<String>>,
    /// Who leads, as RaftActor publishes it.
    pub leadership: watch::Receiver<Leadership>,
    /// Whether this node's log takes appends.
    pub board: ConditionBoard,
    /// What can be read here.
    pub read_path: ReadPath,
    /// The way to a leader that is another node.
    pub route: Arc<dyn LeaderRoute>,
    /// Where questions wait for their answers.
    pub runtime: Handle,
}

impl RaftPort {
    /// A port behind which nothing runs yet.
    #[must_use]
    pub fn new(parts: PortParts) -> Self {
        Self {
            node_id: parts.node_id,
            running: Arc::default(),
            in_flight: Arc::default(),
            lone_reader: Arc::default(),
            stood_down: Arc::default(),
            majority_full: Arc::default(),
            fence: parts.fence,
            waiting: parts.waiting,
            leadership: parts.leadership,
            board: parts.board,
            read_path: parts.read_path,
            route: parts.route,
            runtime: parts.runtime,
        }
    }

    pub(super) fn is_lone_reader(&self) -> bool {
        self.lone_reader.load(Ordering::Acquire)
    }

    pub(super) fn set_lone_reader(&self) {
        self.lone_reader.store(true, Ordering::Release);
    }

    pub(super) fn set(&self, consensus: Option<Consensus>) {
        self.running.store(consensus.map(Arc::new));
    }

    /// Consensus, while it runs.
    #[must_use]
    pub fn running(&self) -> Option<Consensus> {
        self.running.load().as_deref().cloned()
    }

    /// Where committed cursors are shown.
    #[must_use]
    pub fn cursors(&self) -> &CursorBoard {
        self.read_path.cursors()
    }

    /// The way to other nodes.
    #[must_use]
    pub fn route(&self) -> &dyn LeaderRoute {
        &*self.route
    }

    /// Who leads.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership.borrow().clone()
    }

    /// Who leads, and its changes.
    #[must_use]
    pub fn subscribe_leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Proposes on this node, which leads or says that it does not. Also what other nodes forward comes here.
    pub fn propose_here(&self, propose: Propose) -> Result<(), PostError<Propose>> {
        if let Some(error) = self.takes_nothing() {
            propose.reply.send(Err(error));
            return Ok(());
        }
        let running = self.running.load();
        let Some(consensus) = &*running else {
            return Err(PostError::Gone(propose));
        };
        let Some(slot) = Slot::take(&self.in_flight) else {
            return Err(PostError::Full(propose));
        };
        let Propose { batch, permit, reply } = propose;
        let record_count = batch.record_count;
        let directory = self.route.clone();
        let on_complete = OnComplete::new(move |result: WriteResult| {
            reply.send(outcome(result, record_count, &*directory));
            drop((permit, slot));
        });
        let proposal = Proposal {
            timestamp: clock::wall(),
            content: ProposalContent::Records(batch),
        };
        // When consensus has ended the reply is dropped: nobody knows.
        consensus.propose(proposal, on_complete);
        Ok(())
    }

    /// The same for what is to be done to a cursor.
    pub fn change_cursor_here(&self, change: ChangeCursor) -> Result<(), PostError<ChangeCursor>> {
        if let Some(error) = self.takes_nothing() {
            change.reply.send(Err(error));
            return Ok(());
        }
        let running = self.running.load();
        let Some(consensus) = &*running else {
            return Err(PostError::Gone(change));
        };
        let Some(slot) = Slot::take(&self.in_flight) else {
            return Err(PostError::Full(change));
        };
        let ChangeCursor { command, reply } = change;
        let directory = self.route.clone();
        let on_complete = OnComplete::new(move |result: WriteResult| {
            reply.send(verdict(result, &*directory));
            drop(slot);
        });
        let proposal = Proposal {
            timestamp: clock::wall(),
            content: ProposalContent::Control(Control::Cursor(command).encode()),
        };
        consensus.propose(proposal, on_complete);
        Ok(())
    }

    /// The entry up to which a read that begins now must see, as the leader, which this node must be.
    ///
    /// Errors: `NotLeader`, `NoLeader`, `Unavailable`. Cancel: safe.
    pub async fn read_index_here(&self, lease: bool) -> Result<LogIndex, ProposeError> {
        let consensus = self.running().ok_or(ProposeError::Unavailable)?;
        let policy = if lease {
            ReadPolicy::LeaseRead
        } else {
            ReadPolicy::ReadIndex
        };
        let linearizer = consensus.raft.get_read_linearizer(policy).await;
        match linearizer {
            Ok(linearizer) => Ok(log_index(linearizer.read_log_id().index())),
            Err(error) => Err(match error.forward_to_leader() {
                Some(forward) => not_leader(forward.leader_id, &*self.route),
                None => ProposeError::NoLeader,
            }),
        }
    }

    /// This node was removed: it stands for no election any more, where others would only have to refuse it.
    pub fn stand_down(&self) {
        self.stood_down.store(true, Ordering::Release);
        self.set_stands(false);
    }

    /// Whether this node stands for election when it hears of no leader. A leader leads on all the same.
    pub(super) fn set_stands(&self, stands: bool) {
        if let Some(consensus) = self.running() {
            let stands = stands && !self.stood_down.load(Ordering::Acquire);
            consensus.raft.runtime_config().elect(stands);
        }
    }

    /// Whether this node takes entries from a leader. While its disk is nearly full it does, since trims come among them; but it
    /// lets half of what is kept free be: at the last byte a write fails, and the node ends.
    pub(super) fn takes_entries(&self) -> bool {
        match self.board.refusal() {
            Some(Condition::StorageFull {
                free_bytes,
                floor_bytes,
            }) => free_bytes >= floor_bytes / 2,
            _ => true,
        }
    }

    /// Why this node takes no writes, if it does not.
    fn takes_nothing(&self) -> Option<ProposeError> {
        let lacks_room = || {
            let is_full = self.majority_full.load(Ordering::Acquire);
            is_full.then_some(ProposeError::MajorityFull)
        };
        let own = || self.board.refusal().map(refused);
        self.removed().or_else(own).or_else(lacks_room)
    }

    /// Whether clients' batches are refused, since a majority has hardly any room for them. A trim is not: the room that is left is for it.
    ///
    /// Answers whether that is news.
    pub(super) fn set_majority_full(&self, is_full: bool) -> bool {
        self.majority_full.swap(is_full, Ordering::AcqRel) != is_full
    }

    /// Whether this node's disk is nearly full.
    pub(super) fn storage_is_full(&self) -> bool {
        matches!(self.board.condition(), Condition::StorageFull { .. })
    }

    fn removed(&self) -> Option<ProposeError> {
        let removed_at = self.fence.removed_at()?;
        Some(ProposeError::Removed {
            log_index: removed_at,
        })
    }

    /// Why nobody leads: a new node has nobody to follow, and others are between two leaders.
    fn no_leader(&self) -> ProposeError {
        match &*self.waiting.borrow() {
            Some(waiting) => ProposeError::NoCluster {
                waiting: waiting.clone(),
            },
            None => ProposeError::NoLeader,
        }
    }

    /// Why what needs a leader is refused while nobody leads. Whoever opens or has failed says so before who leads is a question. A
    /// new node opens nothing yet.
    fn nobody_leads(&self) -> ProposeError {
        match (self.board.condition(), self.no_leader()) {
            (condition @ (Condition::Damaged { .. } | Condition::Failsafe { .. }), _) => refused(condition),
            (_, error @ ProposeError::NoCluster { .. }) => error,
            (condition @ Condition::Opening, _) => refused(condition),
            _ if self.running.load().is_none() => ProposeError::Unavailable,
            (Condition::Writable | Condition::StorageFull { .. }, error) => error,
        }
    }
}

impl Committer for RaftPort {
    fn propose(&self, propose: Propose) -> Result<(), PostError<Propose>> {
        if let Some(error) = self.removed() {
            propose.reply.send(Err(error));
            return Ok(());
        }
        let leader = self.leadership.borrow().leader;
        match leader {
            Some(leader) if leader != self.node_id => self.route.propose(leader, propose),
            Some(_) => self.propose_here(propose),
            None => {
                propose.reply.send(Err(self.nobody_leads()));
                Ok(())
            }
        }
    }

    fn read_index(&self, read: ReadIndex) -> Result<(), PostError<ReadIndex>> {
        let port = self.clone();
        self.runtime.spawn(async move {
            let answer = port.answer_read_index(read.lease).await;
            read.reply.send(answer);
        });
        Ok(())
    }

    fn change_cursor(&self, change: ChangeCursor) -> Result<(), PostError<ChangeCursor>> {
        if let Some(error) = self.removed() {
            change.reply.send(Err(error));
            return Ok(());
        }
        let leader = self.leadership.borrow().leader;
        match leader {
            Some(leader) if leader != self.node_id => {
                let Some(slot) = Slot::take(&self.in_flight) else {
                    return Err(PostError::Full(change));
                };
                let ChangeCursor { command, reply } = change;
                let forwarded = self.route.change_cursor(leader, command);
                self.runtime.spawn(async move {
                    reply.send(forwarded.await);
                    drop(slot);
                });
                Ok(())
            }
            Some(_) => self.change_cursor_here(change),
            None => {
                change.reply.send(Err(self.nobody_leads()));
                Ok(())
            }
        }
    }
}

/// A place among the proposals in flight.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(in_flight: &Arc<AtomicUsize>) -> Option<Self> {
        let taken = in_flight.fetch_add(1, Ordering::AcqRel);
        let slot = Self(in_flight.clone());
        (taken < PROPOSALS_MAX).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What became of a proposal.
fn outcome(
    result: WriteResult,
    record_count: u32,
    directory: &dyn LeaderRoute,
) -> Result<Committed, ProposeError> {
    let response = result.map_err(|error| not_written(&error, directory))?;
    match response.data {
        Applied::Records(outcome) => Ok(Committed {
            log_index: entry_of(&response.log_id).0,
            outcome,
            record_count,
        }),
        Applied::Cursor(_) | Applied::NoRecords => Err(ProposeError::OutcomeUnknown),
    }
}

/// What the log says of what was to be done to a cursor.
fn verdict(result: WriteResult, directory: &dyn LeaderRoute) -> Result<CursorVerdict, ProposeError> {
    let response = result.map_err(|error| not_written(&error, directory))?;
    match response.data {
        Applied::Cursor(verdict) => Ok(verdict),
        Applied::Records(_) | Applied::NoRecords => Err(ProposeError::OutcomeUnknown),
    }
}

fn not_written(error: &ClientWriteError<TypeConfig>, directory: &dyn LeaderRoute) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => not_leader(forward.leader_id, directory),
        // It was in this node's log, and is not any more; whether another node has committed it is not known here.
        ClientWriteError::LogEntryDiscarded(_)
        | ClientWriteError::ChangeMembershipError(_)
        | ClientWriteError::PreconditionFailed(_) => ProposeError::OutcomeUnknown,
    }
}

/// Where to go instead.
pub(super) fn not_leader(leader: Option<u64>, directory: &dyn LeaderRoute) -> ProposeError {
    match leader {
        Some(leader) => {
            let leader = NodeId(leader);
            let address = directory.address_of(leader).unwrap_or_default();
            ProposeError::NotLeader { leader, address }
        }
        None => ProposeError::NoLeader,
    }
}

fn refused(condition: Condition) -> ProposeError {
    match condition {
        Condition::StorageFull {
            free_bytes,
            floor_bytes,
        } => ProposeError::StorageFull {
            free_bytes,
            floor_bytes,
        },
        Condition::Damaged { cause } | Condition::Failsafe { cause } => ProposeError::Failsafe { cause },
        Condition::Opening | Condition::Writable => ProposeError::Unavailable,
    }
}
