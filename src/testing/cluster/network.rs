//! The links between the nodes of a cluster, cut and healed.
//!
//! What is cut is what decides: consensus, the entries on their way to followers, batches on their way to the leader. Gossip goes on, which
//! decides nothing (G7), and so do clients, at every node.

use super::TestCluster;
use crate::testing::{Cut, LinkFaults};

impl TestCluster {
    /// Cuts a node off from all others, in both directions, as when its packets are lost: nobody is told.
    ///
    /// Panics: it has never run.
    pub fn cut(&self, number: usize) {
        self.isolate(number, Cut::Hang);
    }

    /// Cuts a node off from all others, in both directions, in this way.
    ///
    /// Panics: it has never run.
    pub fn isolate(&self, number: usize, how: Cut) {
        for other in self.others(number) {
            self.faults.part(self.id(number), self.id(other), how);
        }
    }

    /// Cuts what `from` asks of `to`, and the answers to it; what `to` asks of `from` goes on.
    ///
    /// Panics: one of them has never run.
    pub fn cut_link(&self, from: usize, to: usize, how: Cut) {
        self.faults.cut(self.id(from), self.id(to), how);
    }

    /// Parts the nodes into groups, as when packets between them are lost: within a group all is well, between groups nothing
    /// moves. Nodes that are in no group are one more group.
    ///
    /// Panics: one of them has never run.
    pub fn partition(&self, groups: &[&[usize]]) {
        let group_of = |number: usize| groups.iter().position(|group| group.contains(&number));
        for number in groups.iter().flat_map(|group| group.iter().copied()) {
            for other in self.others(number) {
                if group_of(number) == group_of(other) {
                    self.mend(number, other);
                } else {
                    self.faults.part(self.id(number), self.id(other), Cut::Hang);
                }
            }
        }
    }

    /// Heals all links of a node, in both directions.
    ///
    /// Panics: it has never run.
    pub fn heal(&self, number: usize) {
        for other in self.others(number) {
            self.mend(number, other);
        }
    }

    /// Heals every link.
    pub fn heal_all(&self) {
        self.faults.heal_all();
    }

    /// The links, by the ids of nodes.
    #[must_use]
    pub fn faults(&self) -> &LinkFaults {
        &self.faults
    }

    /// Whether both nodes reach each other.
    pub(super) fn reach_each_other(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.id(one), self.id(other));
        let cuts = [self.faults.cut_of(one, other), self.faults.cut_of(other, one)];
        one == other || cuts.iter().all(Option::is_none)
    }

    fn mend(&self, one: usize, other: usize) {
        self.faults.heal(self.id(one), self.id(other));
        self.faults.heal(self.id(other), self.id(one));
    }
}
