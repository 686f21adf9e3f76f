//! Whom to join, and when to try again. memberlist joins once and does not come back to it; this does. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use crate::types::NodeId;

use super::{PeerTable, Presence, peers_file::Remembered};

/// Somebody to join.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A seed of the configuration, `host:port`; its name is looked up anew at each try.
    Seed(String),
    /// A node that was a peer once.
    Peer(SocketAddr),
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was there already, or is this node itself.
    Met,
    /// States were exchanged. Whether a peer comes of it, the table tells.
    Joined,
    /// Why not.
    Failed(String),
}

/// Remembers who was met, and how often it was tried.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// Rounds in a row that left somebody to be joined.
    attempt: u32,
    rounds: u64,
    met: BTreeSet<String>,
    /// Others hold another address for this node: until they have found out that nobody is there they refuse this one, and
    /// from here all looks well.
    is_mistaken: bool,
}

impl Joining {
    /// Whom to join: seeds that were not met, peers that are out of reach, and whoever was remembered and not seen since.
    pub(super) fn targets(
        &self,
        seeds: &[String],
        remembered: &BTreeMap<NodeId, Remembered>,
        table: &PeerTable,
    ) -> Vec<Target> {
        let taken: BTreeSet<SocketAddr> = table.reachable().map(|(_, peer)| peer.gossip_address).collect();
        let seeds = || seeds.iter().filter(|seed| !self.met.contains(*seed)).cloned();
        // A peer that is a seed too is tried once, and told of once.
        let seeded: BTreeSet<SocketAddr> = seeds().filter_map(|seed| seed.parse().ok()).collect();
        let lost = table
            .iter()
            .filter(|(_, peer)| peer.presence == Presence::Unreachable)
            .map(|(_, peer)| peer.gossip_address);
        let not_seen = remembered
            .iter()
            .filter(|(node_id, _)| table.get(**node_id).is_none())
            .map(|(_, node)| node.address);
        // A node that was wiped comes back under another id at the same address.
        let peers: BTreeSet<SocketAddr> = lost
            .chain(not_seen)
            .filter(|address| self.is_mistaken || !taken.contains(address))
            .chain(taken.iter().copied().filter(|_| self.is_mistaken))
            .filter(|address| !seeded.contains(address))
            .collect();
        seeds()
            .map(Target::Seed)
            .chain(peers.into_iter().map(Target::Peer))
            .collect()
    }

    /// Whether nobody was asked yet: then there is no wait, and silence means nothing.
    pub(super) fn is_first(&self) -> bool {
        self.rounds == 0
    }

    /// Whether a try must reach those that seem to be there already.
    pub(super) fn is_mistaken(&self) -> bool {
        self.is_mistaken
    }

    /// Others hold another address for this node.
    pub(super) fn mistaken(&mut self) {
        self.is_mistaken = true;
    }

    /// A round begins; a mistake that persists will be noticed in it again.
    pub(super) fn begin(&mut self) {
        self.is_mistaken = false;
    }

    /// A round has ended. Answers how many were in a row by now, this one among them.
    pub(super) fn end(&mut self, outcomes: &[(Target, Outcome)]) -> u32 {
        self.rounds += 1;
        self.attempt = self.attempt.saturating_add(1);
        for (target, outcome) in outcomes {
            if let (Target::Seed(seed), Outcome::Met) = (target, outcome) {
                self.met.insert(seed.clone());
            }
        }
        self.attempt
    }

    /// Nobody is left to be joined.
    pub(super) fn rest(&mut self) {
        self.rounds = self.rounds.max(1);
        self.attempt = 0;
    }

    /// A peer was lost: who was met proves nothing any more, and it is worth to try soon.
    pub(super) fn start_over(&mut self) {
        self.attempt = 0;
        self.met.clear();
    }

    /// How long to wait before the next round: `min`, doubled for each round in a row up to `max`, spread over its upper
    /// half by `jitter` in `[0, 1)`, so that nodes which lost each other do not try in step.
    pub(super) fn wait(&self, min: Duration, max: Duration, jitter: f64) -> Duration {
        if self.is_first() {
            return Duration::ZERO;
        }
        let factor = 1_u32
            .checked_shl(self.attempt.saturating_sub(1))
            .unwrap_or(u32::MAX);
        min.saturating_mul(factor).min(max).mul_f64(0.5 + jitter / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actors::membership::{Peer, Standing, Tags},
        clock,
    };

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn peer(node_id: u64, port: u16, presence: Presence) -> Peer {
        Peer {
            tags: Tags {
                node_id: NodeId(node_id),
                node_name: format!("node-{node_id}"),
                cluster_name: "annals".to_owned(),
                cluster_id: None,
                rpc_address: None,
                standing: Standing::Member,
                has_data: false,
                program_version: "0.1.0".to_owned(),
            },
            gossip_address: address(port),
            presence,
            since: clock::now(),
        }
    }

    fn remembered(nodes: &[(u64, u16)]) -> BTreeMap<NodeId, Remembered> {
        let node = |(node_id, port): &(u64, u16)| {
            let remembered = Remembered {
                address: address(*port),
                name: format!("node-{node_id}"),
            };
            (NodeId(*node_id), remembered)
        };
        nodes.iter().map(node).collect()
    }

    fn seeds(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn seed(name: &str) -> Target {
        Target::Seed(name.to_owned())
    }

    #[test]
    fn seeds_and_remembered_nodes_are_joined_until_they_are_seen() {
        let mut joining = Joining::default();
        let seeds = seeds(&["a:1", "b:1"]);
        let nodes = remembered(&[(1, 11), (2, 12)]);
        let nobody = PeerTable::default();
        assert_eq!(
            joining.targets(&seeds, &nodes, &nobody),
            [
                seed("a:1"),
                seed("b:1"),
                Target::Peer(address(11)),
                Target::Peer(address(12))
            ]
        );
        joining.end(&[(seed("a:1"), Outcome::Met), (seed("b:1"), Outcome::Joined)]);
        // One moved, the other is out of reach at the address it had last.
        let table = [
            peer(1, 21, Presence::Reachable),
            peer(2, 22, Presence::Unreachable),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            joining.targets(&seeds, &nodes, &table),
            [seed("b:1"), Target::Peer(address(22))]
        );
    }

    /// "cannot join" was logged twice for the same try.
    #[test]
    fn a_peer_that_is_a_seed_too_is_joined_once() {
        let seeds = seeds(&["127.0.0.1:11", "127.0.0.1:12"]);
        let nodes = remembered(&[(1, 11)]);
        let table = [peer(2, 12, Presence::Unreachable)].into_iter().collect();
        let mut joining = Joining::default();
        assert_eq!(
            joining.targets(&seeds, &nodes, &table),
            [seed("127.0.0.1:11"), seed("127.0.0.1:12")]
        );
        // One that was met, and is lost, is looked for as what it is.
        joining.end(&[(seed("127.0.0.1:12"), Outcome::Met)]);
        assert_eq!(
            joining.targets(&seeds, &nodes, &table),
            [seed("127.0.0.1:11"), Target::Peer(address(12))]
        );
    }

    #[test]
    fn nodes_that_left_and_addresses_that_others_have_now_are_not_joined() {
        let table = [
            peer(1, 11, Presence::Left),
            peer(2, 12, Presence::Unreachable),
            peer(3, 12, Presence::Reachable),
        ]
        .into_iter()
        .collect();
        let nodes = remembered(&[(1, 11), (2, 12)]);
        assert_eq!(Joining::default().targets(&[], &nodes, &table), []);
    }

    #[test]
    fn a_loss_makes_all_seeds_worth_a_try_again() {
        let mut joining = Joining::default();
        let seeds = seeds(&["a:1"]);
        joining.end(&[(seed("a:1"), Outcome::Met)]);
        let nobody = (BTreeMap::new(), PeerTable::default());
        assert_eq!(joining.targets(&seeds, &nobody.0, &nobody.1), []);
        joining.start_over();
        assert_eq!(joining.targets(&seeds, &nobody.0, &nobody.1), [seed("a:1")]);
    }

    #[test]
    fn a_node_whose_address_others_do_not_believe_joins_those_that_seem_to_be_there() {
        let mut joining = Joining::default();
        let table = [peer(1, 11, Presence::Reachable)].into_iter().collect();
        joining.mistaken();
        assert_eq!(
            joining.targets(&[], &BTreeMap::new(), &table),
            [Target::Peer(address(11))]
        );
        joining.begin();
        assert_eq!(joining.targets(&[], &BTreeMap::new(), &table), []);
    }

    #[test]
    fn the_first_round_comes_at_once_and_the_wait_doubles_to_30_s() {
        let (min, max) = (Duration::from_millis(500), Duration::from_secs(30));
        let mut joining = Joining::default();
        let almost_one = 1.0 - f64::EPSILON;
        assert_eq!(joining.wait(min, max, almost_one), Duration::ZERO);
        let mut waits = Vec::new();
        for _ in 0..8 {
            joining.end(&[]);
            waits.push(
                joining
                    .wait(min, max, almost_one)
                    .as_millis()
                    .next_multiple_of(500),
            );
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(joining.wait(min, max, 0.0), Duration::from_secs(15));
        joining.rest();
        assert_eq!(joining.wait(min, max, 0.0), Duration::from_millis(250));
        for _ in 0..100 {
            joining.end(&[]);
        }
        assert_eq!(joining.wait(min, max, 0.0), Duration::from_secs(15));
    }
}
