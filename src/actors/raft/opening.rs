//! From an open log to running consensus.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use actix::prelude::*;
use slog::{Logger, info, warn};
use tokio::sync::watch;

use super::{
    RaftActor, RaftSetup,
    log_link::{LogLink, raft_vote},
    observer::Observer,
};
use crate::{
    actors::{
        log::{Describe, Standing},
        supervision::Reply,
    },
    consensus::{
        Consensus, Recovered, codec,
        start::{Parts, StartFailed},
        types::{Member, Members, RaftMembership, RaftStoredMembership, raft_log_id},
    },
    error::Disposition,
    storage::StoredMembership,
    types::{LogIndex, NodeId, Offset},
};

impl RaftActor {
    /// Waits for the log, and starts consensus over what it holds.
    pub(super) fn open(&mut self, context: &mut Context<Self>) {
        let (reply, standing) = Reply::channel();
        if self.setup.log.post(Describe { reply }).is_err() {
            self.fail(Disposition::Restart, "the log is not there".to_owned(), context);
            return;
        }
        let (setup, observer) = (self.setup.clone(), self.observer());
        if setup.cluster_id.borrow().is_none() {
            // A node that belongs to no cluster yet has no log to wait for; it serves probes meanwhile.
            if let Some(opening) = self.opening.take() {
                opening.send(Ok(()));
            }
        }
        let start = async move {
            let standing = standing.await.map_err(|error| NotStarted::of(&error))?;
            let repairable = is_alone(&standing, &setup).is_ok_and(|alone| !alone);
            let (noted, damage) = (standing.committed.log_index, standing.damage.clone());
            let consensus = setup.consensus.clone();
            let started = consensus.spawn(start(setup, observer, standing)).await;
            match started.map_err(|error| NotStarted::of(&error))? {
                Ok(Some(consensus)) => Ok(Started::Running(consensus)),
                Ok(None) => Ok(Started::ReadOnly(damage.and_then(|damage| damage.segment()))),
                Err(error) => Err(NotStarted {
                    repairable: repairable.then_some(noted),
                    ..NotStarted::of(&error)
                }),
            }
        };
        context.spawn(
            start
                .into_actor(self)
                .map(|started, actor, context| match started {
                    Ok(Started::Running(consensus)) => actor.opened(consensus, context),
                    Ok(Started::ReadOnly(damaged)) => actor.read_only(damaged, context),
                    Err(not_started) => actor.not_started(not_started, context),
                }),
        );
    }

    /// Consensus could not be started. Where that is for damage in sealed segments, and other nodes may hold what is damaged, it
    /// is started once that is repaired.
    fn not_started(&mut self, not_started: NotStarted, context: &mut Context<Self>) {
        let NotStarted { text, repairable } = not_started;
        let damaged = match repairable {
            Some(_) => self.setup.damage.take_now(),
            None => Vec::new(),
        };
        let Some(noted) = repairable.filter(|_| !damaged.is_empty()) else {
            self.fail(Disposition::Restart, text, context);
            return;
        };
        warn!(self.setup.logger, "consensus starts once the log is repaired"; "cause" => text);
        if let Some(opening) = self.opening.take() {
            opening.send(Ok(()));
        }
        self.repair_then_open(damaged, noted, context);
    }

    /// The log is damaged, in that segment if in one: what is left of it is read, and nothing is decided here.
    fn read_only(&mut self, damaged: Option<LogIndex>, context: &mut Context<Self>) {
        warn!(
            self.setup.logger,
            "the log is damaged, so this node takes no part in consensus"
        );
        if let Some(opening) = self.opening.take() {
            opening.send(Ok(()));
        }
        if !self.setup.port.is_lone_reader() {
            self.repair_damaged(damaged, context);
        }
    }
}

/// What came of a start.
enum Started {
    Running(Consensus),
    /// The log is damaged: in that segment, if in one.
    ReadOnly(Option<LogIndex>),
}

/// Consensus could not be started.
struct NotStarted {
    text: String,
    /// Other nodes may hold what this one cannot read; up to here it is known to be committed.
    repairable: Option<LogIndex>,
}

impl NotStarted {
    fn of(error: &dyn std::error::Error) -> Self {
        Self {
            text: error.to_string(),
            repairable: None,
        }
    }
}

/// Starts consensus; `None` when the log cannot be written.
async fn start(
    setup: RaftSetup,
    observer: Observer,
    standing: Standing,
) -> Result<Option<Consensus>, StartFailed> {
    let recovered = recovered(&standing, &setup)?;
    let alone = is_alone(&standing, &setup)?;
    if let Some(missing) = standing.missing.as_ref().filter(|_| alone) {
        return Err(StartFailed::new(missing));
    }
    if alone {
        // All of it is committed: it is on the disk of the only one who has a say. Known now and not only after the
        // election, so that nobody is served a log that looks shorter than what was acknowledged.
        observer.high_watermark.raise(standing.tail);
    }
    if standing.damage.is_some() {
        if alone {
            setup.port.set_lone_reader();
        } else {
            let committed = standing.committed.log_index;
            let known = known_offset(&setup, committed).await?;
            observer.high_watermark.raise(known);
        }
        return Ok(None);
    }
    let consensus = Consensus::start(Parts {
        node_id: setup.node_id,
        cluster_name: setup.cluster_name.clone(),
        timing: setup.timing,
        port: Arc::new(LogLink::new(setup.log.clone())),
        view: setup.view.clone(),
        damage: setup.damage.clone(),
        observer: Arc::new(observer),
        cursors: setup.port.cursors().clone(),
        recovered,
        network: setup.network.clone(),
    })
    .await?;
    tokio::spawn(begin(
        consensus.clone(),
        setup.founding.clone(),
        setup.node_id,
        setup.logger,
    ));
    Ok(Some(consensus))
}

/// Founds the cluster when it is this node's to found, and does not wait for an election that nobody else can win.
async fn begin(
    consensus: Consensus,
    mut founding: watch::Receiver<Option<Members>>,
    node_id: NodeId,
    logger: Logger,
) {
    match consensus.raft.is_initialized().await {
        Ok(true) => {
            let voters = consensus.voters();
            if voters == [node_id] {
                // An error means that consensus has ended, and that is told elsewhere.
                drop(consensus.raft.trigger().elect(false).await);
            }
            return;
        }
        Ok(false) => {}
        Err(_) => return,
    }
    let founded = tokio::select! {
        founded = founding.wait_for(Option::is_some) => founded.ok().and_then(|members| members.clone()),
        // The next life of consensus waits anew.
        () = consensus.ended() => None,
    };
    let Some(members) = founded else { return };
    let names: Vec<_> = members.values().map(|member| member.name.clone()).collect();
    let nodes: BTreeMap<u64, Member> = members
        .into_iter()
        .map(|(id, member)| (id.get(), member))
        .collect();
    match consensus.raft.initialize(nodes).await {
        Ok(()) => info!(logger, "cluster founded"; "members" => names.join(", ")),
        // Somebody was quicker: this node heard of the cluster by an append.
        Err(error) => info!(logger, "the cluster is founded already"; "cause" => %error),
    }
}

/// Whether no other node can have a say in what is committed: the newest membership in the log has no other voter. One
/// that was lost to damage says nothing about the entries before it, which were committed by those who voted then.
fn is_alone(standing: &Standing, setup: &RaftSetup) -> Result<bool, StartFailed> {
    match &standing.membership {
        Some(stored) => {
            let newest = stored_membership(stored)?;
            let mut voters = newest.membership().voter_ids();
            Ok(voters.all(|voter| voter == setup.node_id.get()))
        }
        // A log from before there was consensus.
        None => Ok(standing.vote.is_none()),
    }
}

/// The offset behind the last record that is known to be committed.
async fn known_offset(setup: &RaftSetup, committed: LogIndex) -> Result<Offset, StartFailed> {
    let view = setup.view.load_full();
    let read = tokio::task::spawn_blocking(move || view.next_offset_after(committed));
    let offset = read.await.map_err(|error| StartFailed::new(&error))?;
    offset.map_err(|error| StartFailed::new(&error))
}

/// What the log holds, as openraft has it.
fn recovered(standing: &Standing, setup: &RaftSetup) -> Result<Recovered, StartFailed> {
    let floor = &standing.floor;
    let committed = &standing.committed;
    let membership = match &committed.membership {
        Some(stored) => stored_membership(stored)?,
        // A log from before there was consensus: its one node is the cluster.
        None if standing.last_log_index > LogIndex::ZERO && standing.vote.is_none() => {
            let node = setup.node_id.get();
            let membership = RaftMembership::new_with_defaults(vec![BTreeSet::from([node])], [node]);
            RaftStoredMembership::new(None, membership)
        }
        None => RaftStoredMembership::default(),
    };
    Ok(Recovered {
        last: raft_log_id(standing.last_log_index, standing.last_term),
        purged: raft_log_id(floor.last_log_index(), floor.last_term()),
        committed: raft_log_id(committed.log_index, committed.term),
        membership,
        vote: standing.vote.as_ref().map(raft_vote),
    })
}

fn stored_membership(stored: &StoredMembership) -> Result<RaftStoredMembership, StartFailed> {
    let membership = codec::decode_membership(&stored.bytes).map_err(|error| StartFailed::new(&error))?;
    let log_id = raft_log_id(stored.log_index, stored.term);
    Ok(RaftStoredMembership::new(log_id, membership))
}
