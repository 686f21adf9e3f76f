//! Leadership goes to another node: by an operator's command, because this node is stopped, or because its disk should not lead.

use std::time::Duration;

use actix::prelude::*;
use futures::{StreamExt, stream::FuturesUnordered};
use openraft::async_runtime::WatchReceiver;
use slog::info;

use super::{ChangeFailed, RaftActor, not_made::unknown, port::not_leader};
use crate::{
    actors::{peer::PeerCalls, supervision::Reply},
    consensus::Consensus,
    types::{LogIndex, NodeId},
};

/// The one who is to lead is asked again after this: it gives up when what it lacks is not on its disk within some hundred
/// milliseconds, and meanwhile this node takes nothing new, so that the next time it lacks less.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long a hand-over may take: a round trip, a sync and an election that is not contested.
const WITHIN: Duration = Duration::from_secs(2);
/// How long a node may take to say whether it should lead: longer than any round trip that heartbeats allow.
const ASKED_WITHIN: Duration = Duration::from_millis(500);

/// Let another node lead.
#[derive(Message)]
#[rtype(result = "()")]
pub struct HandOver {
    /// Which; `None`: whoever is furthest, of those that may lead if there are any.
    pub to: Option<NodeId>,
    /// Answered when this node leads no more, with who leads then.
    pub reply: Reply<Option<NodeId>, ChangeFailed>,
}

/// A voter within reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    node: NodeId,
    /// The last entry on its disk for certain.
    pub(super) matched: LogIndex,
}

/// Asks candidates about themselves.
#[derive(Clone, Debug)]
pub(super) struct CandidateCalls(PeerCalls);

impl CandidateCalls {
    /// Who of them says of itself that it may lead, and is furthest.
    ///
    /// Cancel: safe.
    pub(super) fn fittest(
        self,
        candidates: Vec<Candidate>,
    ) -> impl Future<Output = Option<NodeId>> + Send + 'static {
        let asked: FuturesUnordered<_> = candidates
            .into_iter()
            .map(move |candidate| {
                let calls = self.0.clone();
                async move {
                    let said = calls.describe(candidate.node, ASKED_WITHIN).await;
                    said.ok().filter(|said| said.unfit.is_empty()).map(|_| candidate)
                }
            })
            .collect();
        async move {
            let fit: Vec<Candidate> = asked.filter_map(std::future::ready).collect().await;
            furthest(&fit)
        }
    }
}

fn furthest(candidates: &[Candidate]) -> Option<NodeId> {
    let furthest = candidates.iter().max_by_key(|candidate| candidate.matched);
    furthest.map(|candidate| candidate.node)
}

impl RaftActor {
    pub(super) fn candidate_calls(&self) -> CandidateCalls {
        CandidateCalls(PeerCalls::new(std::sync::Arc::new(self.setup.links.clone())))
    }

    /// The other voters within reach.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let (own, state) = (self.setup.node_id, self.setup.cluster.state());
        let peers = self.setup.directory.table();
        let reachable =
            |node: NodeId| peers.get(node).is_none_or(|peer| peer.is_reachable()) && self.is_heard(node);
        let others = state
            .members
            .iter()
            .filter(|(node, member)| **node != own && member.voter && reachable(**node));
        others
            .map(|(node, member)| Candidate {
                node: *node,
                matched: member.matched.unwrap_or(LogIndex::ZERO),
            })
            .collect()
    }

    /// Lets another node lead, unless nobody else can.
    pub(super) fn hand_over(&mut self, message: HandOver, context: &mut Context<Self>) {
        let HandOver { to, reply } = message;
        let own = self.setup.node_id;
        let leader = self.setup.leadership.borrow().leader;
        let Some(consensus) = self.consensus.clone().filter(|_| leader == Some(own)) else {
            let leader = leader.map(NodeId::get);
            reply.send(Err(not_leader(leader, self.setup.port.route()).into()));
            return;
        };
        let mut candidates = self.candidates();
        candidates.retain(|candidate| to.is_none_or(|to| to == candidate.node));
        let Some(furthest) = furthest(&candidates) else {
            let why = match to {
                Some(to) => format!("node {to} cannot lead now: it is no voter, or out of reach"),
                None => "no other voter is within reach".to_owned(),
            };
            reply.send(Err(ChangeFailed::Refused { why }));
            return;
        };
        let (calls, logger) = (self.candidate_calls(), self.setup.logger.clone());
        let transferred = self.setup.runtime.spawn(async move {
            let fittest = match to {
                Some(_) => None,
                None => calls.fittest(candidates).await,
            };
            let target = fittest.unwrap_or(furthest);
            info!(logger, "handing leadership over"; "to" => target.get());
            transfer(consensus, own, target).await
        });
        context.spawn(
            transferred
                .into_actor(self)
                .map(move |transferred, _, _| match transferred {
                    Ok(Ok(Some(leader))) if to.is_some_and(|to| to != leader) => {
                        let why =
                            format!("the node that was asked for did not take over; node {leader} leads now");
                        reply.send(Err(ChangeFailed::Refused { why }));
                    }
                    Ok(Ok(leader)) => reply.send(Ok(leader)),
                    Ok(Err(error)) => reply.send(Err(error)),
                    Err(_) => {}
                }),
        );
    }
}

/// Waits until this node leads no more, and as long for the new leader to show.
async fn transfer(consensus: Consensus, own: NodeId, to: NodeId) -> Result<Option<NodeId>, ChangeFailed> {
    let mut metrics = consensus.raft.server_metrics();
    let mut asks = tokio::time::interval(AGAIN_AFTER);
    let led = async {
        loop {
            tokio::select! {
                _ = asks.tick() => {
                    // Where this node leads no more it is not heeded.
                    let asked = consensus.raft.trigger().transfer_leader(to.get()).await;
                    // Consensus has ended.
                    asked.map_err(|_| unknown())?;
                }
                changed = metrics.changed() => if changed.is_err() {
                    return Ok(None);
                },
            }
            let leader = metrics.borrow_watched().current_leader;
            if leader.is_some_and(|leader| leader != own.get()) {
                return Ok(leader.map(NodeId));
            }
        }
    };
    let in_time = tokio::time::timeout(WITHIN, led).await;
    in_time.unwrap_or_else(|_| {
        let why = format!("node {to} did not take over within {WITHIN:?}");
        Err(ChangeFailed::Refused { why })
    })
}
