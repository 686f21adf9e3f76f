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
    types::{LogIndex, NodeId},
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
            let standing = standing.await.map_err(|error| error.to_string())?;
            let runtime = setup.runtime.clone();
            let started = runtime.spawn(start(setup, observer, standing)).await;
            let started = started.map_err(|error| error.to_string())?;
            started.map_err(|error| error.to_string())
        };
        context.spawn(
            start
                .into_actor(self)
                .map(|started, actor, context| match started {
                    Ok(Some(consensus)) => actor.opened(consensus, context),
                    Ok(None) => actor.read_only(context),
                    Err(text) => actor.fail(Disposition::Restart, text, context),
                }),
        );
    }

    /// The log is damaged: what is left of it is read, and nothing is decided here.
    fn read_only(&mut self, context: &mut Context<Self>) {
        warn!(
            self.setup.logger,
            "the log is damaged, so this node takes no part in consensus"
        );
        if let Some(opening) = self.opening.take() {
            opening.send(Ok(()));
        }
        if !self.setup.port.is_lone_reader() {
            self.repair_end(context);
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
    if standing.damage.is_some() {
        // Alone, all that is left is committed: it was written once, and nobody else can say otherwise. Among others only
        // what is known to be.
        let alone = recovered.membership.membership().voter_ids().count() <= 1;
        if alone {
            observer.high_watermark.raise(standing.tail);
            setup.port.set_lone_reader();
        }
        return Ok(None);
    }
    let consensus = Consensus::start(Parts {
        node_id: setup.node_id,
        cluster_name: setup.cluster_name.clone(),
        timing: setup.timing,
        port: Arc::new(LogLink {
            log: setup.log.clone(),
        }),
        view: setup.view.clone(),
        observer: Arc::new(observer),
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
    let Ok(members) = founding
        .wait_for(Option::is_some)
        .await
        .map(|members| members.clone())
    else {
        return;
    };
    let members = members.unwrap_or_default();
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
