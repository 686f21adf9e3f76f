//! What an operator is told about peers and strangers: a line for each change, and for what goes on, one a minute.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use slog::{Logger, debug, error, info, warn};

use crate::types::{ClusterId, NodeId};

use super::{
    Tags,
    inbox::{Strangeness, Stranger},
    joining::{Outcome, Target},
    known::{Change, Known},
};

/// How often the same stranger is worth a line.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Strangers told apart; of more, those that were not told for longest may be told too often.
const TOLD_MAX: usize = 256;
/// A move is not believed until the old address was found dead, which takes 10 to 14 probes; after so many something else is wrong.
const PROBES_TO_MOVE: u32 = 24;
/// Two tries to join are never further apart, so one that met with disbelief is followed by another within this, for as long as that goes on.
const DISBELIEF_RESTS_AT_MOST: Duration = Duration::from_secs(60);

/// Writes the lines, and remembers when.
#[derive(Debug)]
pub(super) struct Report {
    logger: Logger,
    told: BTreeMap<String, Instant>,
    /// Since when peers have not believed this node's address, and when they said so last.
    disbelief: Option<(Instant, Instant)>,
    /// For how long they may, when it has moved.
    moved_within: Duration,
}

impl Report {
    /// Of a node whose peers are probed so often.
    pub(super) fn new(logger: Logger, probe_interval: Duration) -> Self {
        Self {
            logger,
            told: BTreeMap::new(),
            disbelief: None,
            moved_within: probe_interval.saturating_mul(PROBES_TO_MOVE),
        }
    }

    /// What became of a peer.
    pub(super) fn change(
        &mut self,
        change: Change,
        known: &Known,
        own_cluster: Option<ClusterId>,
        now: Instant,
    ) {
        let logger = &self.logger;
        match change {
            Change::Reachable(node_id) => {
                if let Some(peer) = known.get(node_id) {
                    info!(logger, "a peer is there"; "peer" => &peer.tags.node_name,
                        "peer_id" => node_id.get(), "address" => %peer.gossip_address);
                }
            }
            Change::Unreachable(node_id) => {
                if let Some(peer) = known.get(node_id) {
                    warn!(logger, "a peer is out of reach"; "peer" => &peer.tags.node_name,
                        "peer_id" => node_id.get(), "address" => %peer.gossip_address);
                }
            }
            Change::Left(node_id) => info!(logger, "a peer has left"; "peer_id" => node_id.get()),
            Change::Foreign(node_id, other) if self.is_time(&node_id.to_string(), now) => {
                error!(self.logger, "a node of another cluster is ignored"; "stranger_id" => node_id.get(),
                    "its_cluster_id" => %other, "own_cluster_id" => own_cluster.map(|id| id.to_string()));
            }
            Change::Full(node_id) if self.is_time(&node_id.to_string(), now) => {
                error!(self.logger, "too many peers, one is ignored"; "node_id" => node_id.get());
            }
            Change::Foreign(..) | Change::Full(_) => {}
        }
    }

    /// A node that is not let in.
    pub(super) fn stranger(
        &mut self,
        id: &str,
        stranger: &Stranger,
        was_peer: bool,
        own: &Tags,
        now: Instant,
    ) {
        if !self.is_time(id, now) && !was_peer {
            return;
        }
        let shown = |id: Option<ClusterId>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        match &stranger.why {
            Strangeness::Foreign(tags) => {
                warn!(self.logger, "a node of another cluster is ignored"; "stranger" => &tags.node_name,
                    "stranger_id" => tags.node_id.get(), "address" => %stranger.address,
                    "its_cluster" => &tags.cluster_name, "its_cluster_id" => shown(tags.cluster_id),
                    "own_cluster" => &own.cluster_name, "own_cluster_id" => shown(own.cluster_id));
            }
            Strangeness::Unreadable(error) => {
                warn!(self.logger, "a node that says nothing readable about itself is ignored";
                    "address" => %stranger.address, "error" => %error);
            }
        }
    }

    /// How a round of joining ended; told at the first, second, fourth, eighth in a row.
    pub(super) fn round(&self, outcomes: &[(Target, Outcome)], attempt: u32) {
        for (target, outcome) in outcomes {
            let target = match target {
                Target::Seed(seed) => seed.clone(),
                Target::Peer(address) => address.to_string(),
            };
            match outcome {
                Outcome::Met => {}
                Outcome::Joined => debug!(self.logger, "joined"; "target" => target),
                Outcome::Failed(error) if attempt.is_power_of_two() => {
                    warn!(self.logger, "cannot join, and goes on trying; a node that is down or another gossip key would \
                        explain it"; "target" => target, "attempt" => attempt, "error" => error);
                }
                Outcome::Failed(error) => {
                    debug!(self.logger, "cannot join"; "target" => target, "error" => error);
                }
            }
        }
    }

    /// Peers do not believe this node's address. Told when that goes on for too long for a move.
    pub(super) fn mistaken(&mut self, own: NodeId, held: SocketAddr, now: Instant) {
        let goes_on = |(_, last): &(Instant, Instant)| now.duration_since(*last) < DISBELIEF_RESTS_AT_MOST;
        let since = self.disbelief.filter(goes_on).map_or(now, |(since, _)| since);
        self.disbelief = Some((since, now));
        if now.duration_since(since) >= self.moved_within && self.is_time("this node", now) {
            error!(self.logger, "another process uses this node's id; was its data directory copied?";
                "node_id" => own.get(), "address" => %held);
        }
    }

    fn is_time(&mut self, about: &str, now: Instant) -> bool {
        if let Some(last) = self.told.get(about)
            && now.duration_since(*last) < AGAIN_AFTER
        {
            return false;
        }
        if self.told.len() >= TOLD_MAX {
            let oldest = self.told.iter().min_by_key(|(_, last)| **last);
            if let Some(about) = oldest.map(|(about, _)| about.clone()) {
                self.told.remove(&about);
            }
        }
        self.told.insert(about.to_owned(), now);
        true
    }
}
