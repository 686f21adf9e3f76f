//! This node's part in gossip.
//!
//! Owns     the running memberlist, the model of the peers, the tries to join, the file `peers`.
//! Accepts  Members, Leave, Forget, Heartbeat.
//! Emits    nothing; publishes the table of peers on the PeerBoard.
//! Limits   256 peers; one read, one round of joining and one write of the file at a time; no queue: memberlist's news are a
//!          flag, and whoever looks reads everything.
//! Fails    a panic, here or in memberlist, restarts it alone: it listens at the same port again and rejoins. The table
//!          stands meanwhile as it was.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use actix::prelude::*;
use slog::{Logger, info, warn};
use tokio::sync::watch;

use crate::{
    actors::supervision::{Heartbeat, Lifeline, Reply, Unanswered},
    clock,
    error::{Disposition, causes},
    types::NodeId,
};

use super::{
    Forget, Leave, Members, MembershipSetup, OwnTags, PeerBoard, Standing, Tags,
    gossip::{Gossip, GossipError, View},
    joining::{Joining, Outcome, Target},
    known::{Change, Known},
    messages::Stop,
    peers_file::{self, Remembered},
    report::Report,
};

/// See the module.
#[derive(Debug)]
pub struct MembershipActor {
    /// `None` when the node has left.
    gossip: Option<Gossip>,
    setup: Arc<MembershipSetup>,
    own: OwnTags,
    changes: watch::Receiver<Tags>,
    board: PeerBoard,
    known: Known,
    joining: Joining,
    /// The round of joining that waits for its time.
    next_round: Option<SpawnHandle>,
    is_joining: bool,
    /// Whom to look for after a restart of the process: what the file says, or will say.
    remembered: BTreeMap<NodeId, Remembered>,
    written: BTreeMap<NodeId, Remembered>,
    is_writing: bool,
    report: Report,
    logger: Logger,
    lifeline: Lifeline,
}

impl Actor for MembershipActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.watch_gossip(ctx);
        self.watch_own_tags(ctx);
        self.join_later(ctx);
    }
}

impl Drop for MembershipActor {
    fn drop(&mut self) {
        if let Some(gossip) = &self.gossip {
            gossip.close_later();
        }
    }
}

impl Handler<Members> for MembershipActor {
    type Result = ();

    fn handle(&mut self, message: Members, _: &mut Context<Self>) {
        message.reply.send(Ok(self.known.table()));
    }
}

impl Handler<Leave> for MembershipActor {
    type Result = ();

    fn handle(&mut self, message: Leave, ctx: &mut Context<Self>) {
        self.leave(message.reply, ctx);
    }
}

impl Handler<Forget> for MembershipActor {
    type Result = ();

    fn handle(&mut self, Forget(node_id): Forget, ctx: &mut Context<Self>) {
        self.forget(node_id, ctx);
    }
}

impl Handler<Stop> for MembershipActor {
    type Result = ();

    fn handle(&mut self, message: Stop, ctx: &mut Context<Self>) {
        self.stop(message.reply, ctx);
    }
}

impl Handler<Heartbeat> for MembershipActor {
    type Result = ();

    fn handle(&mut self, _: Heartbeat, _: &mut Context<Self>) {
        self.lifeline.beat();
    }
}

#[cfg(feature = "fault-injection")]
impl Handler<crate::actors::supervision::Sabotage> for MembershipActor {
    type Result = ();

    fn handle(&mut self, sabotage: crate::actors::supervision::Sabotage, _: &mut Context<Self>) {
        sabotage.strike();
    }
}

impl MembershipActor {
    /// The actor of a memberlist that runs, or of none when the node has left. `remembered` is what the file says.
    pub(super) fn new(
        setup: Arc<MembershipSetup>,
        gossip: Option<Gossip>,
        own: OwnTags,
        board: PeerBoard,
        remembered: BTreeMap<NodeId, Remembered>,
        lifeline: Lifeline,
    ) -> Self {
        let logger = setup.logger.clone();
        let report = Report::new(logger.clone(), setup.timing.probe_interval);
        Self {
            gossip,
            setup,
            changes: own.subscribe(),
            known: Known::new(&board.directory().table()),
            own,
            board,
            joining: Joining::default(),
            next_round: None,
            is_joining: false,
            written: remembered.clone(),
            remembered,
            is_writing: false,
            report,
            logger,
            lifeline,
        }
    }

    /// Waits for news of gossip, again and again.
    fn watch_gossip(&self, ctx: &mut Context<Self>) {
        let Some(gossip) = self.gossip.clone() else { return };
        let next = async move { gossip.next_view().await }.into_actor(self);
        ctx.spawn(next.map(|view, actor, ctx| {
            if let Some(view) = actor.unless_broken(view, ctx) {
                actor.take_in(&view, ctx);
                actor.watch_gossip(ctx);
            }
        }));
    }

    /// Waits until this node says something else about itself, again and again.
    fn watch_own_tags(&self, ctx: &mut Context<Self>) {
        let Some(gossip) = self.gossip.clone() else { return };
        let mut changes = self.changes.clone();
        let spread = async move {
            // The actor holds the sender.
            drop(changes.changed().await);
            (gossip.spread().await, changes)
        };
        ctx.spawn(spread.into_actor(self).map(|(spread, changes), actor, ctx| {
            actor.changes = changes;
            if actor.unless_broken(spread, ctx).is_some() {
                // The cluster's id decides who is a peer.
                actor.look_again();
                actor.watch_own_tags(ctx);
            }
        }));
    }

    fn take_in(&mut self, view: &View, ctx: &mut Context<Self>) {
        for (id, stranger) in &view.strangers {
            let was_peer = id.parse().is_ok_and(|id| self.known.remove(NodeId(id)));
            self.report
                .stranger(id, stranger, was_peer, &self.own.get(), clock::now());
        }
        self.mistaken(view.mistaken_for);
        let own_cluster = self.own.get().cluster_id;
        let is_complete = !self.joining.is_first();
        let changes = self
            .known
            .observe(&view.seen, own_cluster, is_complete, clock::now());
        for change in &changes {
            self.report
                .change(*change, &self.known, own_cluster, clock::now());
        }
        let table = self.known.table();
        if changes
            .iter()
            .any(|change| matches!(change, Change::Unreachable(_)))
        {
            self.start_over(ctx);
        }
        peers_file::remember(&mut self.remembered, &table);
        self.board.publish(table);
        self.write_later(ctx);
        self.join_later(ctx);
    }

    /// Others hold another address for this node: it moved, and they have not found that out yet.
    fn mistaken(&mut self, held: Option<SocketAddr>) {
        if let Some(held) = held {
            self.joining.mistaken();
            self.report
                .mistaken(self.setup.identity.node_id, held, clock::now());
        }
    }

    /// Reads gossip's state although nothing changed there.
    fn look_again(&self) {
        if let Some(gossip) = &self.gossip {
            gossip.wake();
        }
    }

    /// A peer was lost: tries to join begin anew, and soon.
    fn start_over(&mut self, ctx: &mut Context<Self>) {
        self.joining.start_over();
        if let Some(waiting) = self.next_round.take() {
            ctx.cancel_future(waiting);
        }
    }

    /// Sees to it that a round of joining comes, when there is anybody to be joined.
    fn join_later(&mut self, ctx: &mut Context<Self>) {
        if self.is_joining || self.next_round.is_some() || self.gossip.is_none() {
            return;
        }
        if self.targets().is_empty() {
            let was_first = self.joining.is_first();
            self.joining.rest();
            if was_first {
                self.look_again();
            }
            return;
        }
        let timing = &self.setup.timing;
        let wait = self
            .joining
            .wait(timing.join_wait_min, timing.join_wait_max, rand::random());
        self.next_round = Some(ctx.run_later(wait, |actor, ctx| {
            actor.next_round = None;
            actor.join(ctx);
        }));
    }

    fn targets(&self) -> Vec<Target> {
        self.joining
            .targets(&self.setup.cluster.seeds, &self.remembered, &self.known.table())
    }

    fn join(&mut self, ctx: &mut Context<Self>) {
        let (targets, insist) = (self.targets(), self.joining.is_mistaken());
        let Some(gossip) = self.gossip.clone() else { return };
        self.is_joining = true;
        self.joining.begin();
        let table = self.known.table();
        let reachable = table.reachable().map(|(_, peer)| peer.gossip_address).collect();
        let round = async move { gossip.join(targets, reachable, insist).await };
        ctx.spawn(round.into_actor(self).map(|ended, actor, ctx| {
            actor.is_joining = false;
            if let Some((outcomes, mistaken_for)) = actor.unless_broken(ended, ctx) {
                actor.mistaken(mistaken_for);
                actor.joined(&outcomes, ctx);
            }
        }));
    }

    fn joined(&mut self, outcomes: &[(Target, Outcome)], ctx: &mut Context<Self>) {
        let was_first = self.joining.is_first();
        let attempt = self.joining.end(outcomes);
        self.report.round(outcomes, attempt);
        if was_first {
            // Who does not show up now is out of reach.
            self.look_again();
        }
        self.join_later(ctx);
    }

    fn forget(&mut self, node_id: NodeId, ctx: &mut Context<Self>) {
        let is_known = self.known.get(node_id).is_some();
        if self.known.forget(node_id) || !is_known {
            info!(self.logger, "a peer is forgotten"; "node_id" => node_id.get());
            self.remembered.remove(&node_id);
            self.board.publish(self.known.table());
            self.write_later(ctx);
        }
    }

    /// Writes the file, unless it says all that already.
    fn write_later(&mut self, ctx: &mut Context<Self>) {
        if self.is_writing || self.written == self.remembered {
            return;
        }
        self.is_writing = true;
        let (setup, peers) = (Arc::clone(&self.setup), self.remembered.clone());
        self.written.clone_from(&peers);
        let write = self
            .setup
            .runtime
            .spawn_blocking(move || peers_file::store(setup.file_system.as_ref(), &setup.data_dir, &peers));
        ctx.spawn(write.into_actor(self).map(|written, actor, ctx| {
            actor.is_writing = false;
            if let Ok(Err(error)) = &written {
                // It is a cache; the disk's troubles are the log's to act on.
                warn!(actor.logger, "cannot write the file of peers"; "error" => causes(error));
            }
            actor.write_later(ctx);
        }));
    }

    fn leave(&mut self, reply: Reply<(), Unanswered>, ctx: &mut Context<Self>) {
        info!(self.logger, "leaving the cluster");
        self.own.set_standing(Standing::Leaving);
        if let Some(waiting) = self.next_round.take() {
            ctx.cancel_future(waiting);
        }
        let gossip = self.gossip.take();
        let table = self.known.table();
        let peers: Vec<SocketAddr> = table.reachable().map(|(_, peer)| peer.gossip_address).collect();
        let leave = async move {
            if let Some(gossip) = gossip {
                drop(gossip.leave(peers).await);
            }
            reply.send(Ok(()));
        };
        ctx.spawn(leave.into_actor(self));
    }

    fn stop(&mut self, reply: Reply<(), Unanswered>, ctx: &mut Context<Self>) {
        self.lifeline.retire();
        let gossip = self.gossip.clone();
        let close = async move {
            if let Some(gossip) = gossip {
                gossip.close().await;
            }
            reply.send(Ok(()));
        };
        ctx.spawn(close.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }

    /// What gossip answered; when it is broken, this actor is too, and ends.
    fn unless_broken<T>(&mut self, answer: Result<T, GossipError>, ctx: &mut Context<Self>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.lifeline.fail(Disposition::Restart, causes(&error));
                ctx.stop();
                None
            }
        }
    }
}
