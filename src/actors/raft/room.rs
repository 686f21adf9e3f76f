//! Whether a majority of the disks has room: a leader that has some itself would go on taking batches which the others are soon without
//! room for, until nothing is committed any more, and a trim neither. So it refuses them as soon as it hears of it, by the answers to its
//! heartbeats, and what room is left there is for the trim.

use std::collections::BTreeSet;

use slog::{info, warn};

use super::RaftActor;
use crate::types::NodeId;

/// Whether those without room leave no majority of the voters.
fn lacks_majority(voters: &[NodeId], full: &BTreeSet<NodeId>) -> bool {
    let with_room = voters.iter().filter(|voter| !full.contains(voter)).count();
    with_room <= voters.len() / 2
}

impl RaftActor {
    /// Looks at what the others said, where this node leads.
    pub(super) fn look_at_room(&self, leads: bool, voters: &[NodeId]) {
        let mut full = self.setup.network.full_peers().get();
        full.retain(|node| voters.contains(node));
        let own = self.setup.port.storage_is_full();
        if own {
            full.insert(self.setup.node_id);
        }
        // Where it is this node's alone, its own condition says so.
        let is_full = leads && !voters.is_empty() && lacks_majority(voters, &full);
        if !self.setup.port.set_majority_full(is_full) {
            return;
        }
        if is_full {
            let full: Vec<_> = full.iter().map(ToString::to_string).collect();
            warn!(self.setup.logger, "the disks of a majority are nearly full: appends are refused until there is room"; "nodes" => full.join(", "));
        } else if leads {
            info!(
                self.setup.logger,
                "the disks of a majority have room again: appends are taken"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_has_room_or_it_has_not() {
        let table = [
            (1, 0, false),
            (1, 1, true),
            (2, 1, true),
            (3, 1, false),
            (3, 2, true),
            (4, 1, false),
            (4, 2, true),
            (5, 2, false),
            (5, 3, true),
        ];
        for (voters, full, lacks) in table {
            let voters: Vec<_> = (1..=voters).map(NodeId).collect();
            let full = voters.iter().copied().take(full).collect();
            assert_eq!(lacks_majority(&voters, &full), lacks, "{voters:?} {full:?}");
        }
    }
}
