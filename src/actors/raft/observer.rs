//! What committing does to this node, as readers and RaftActor see it.

use crate::{
    actors::{read_path::HighWatermark, supervision::ActorRef},
    consensus::log_port::ApplyObserver,
    types::Offset,
};

use super::{RaftActor, Trimmed};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Observer {
    pub(super) high_watermark: HighWatermark,
    pub(super) raft: ActorRef<RaftActor>,
}

impl ApplyObserver for Observer {
    fn committed(&self, high_watermark: Offset) {
        // After a restart of consensus what is applied anew has been readable before (LOG-3).
        self.high_watermark.raise(high_watermark);
    }

    fn trimmed(&self, below: Offset) {
        // One that is not taken is made good by the next trim, or at the next start.
        drop(self.raft.post(Trimmed { below }));
    }
}
