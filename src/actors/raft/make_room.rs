//! A follower without room takes no entries, so that the trim which would empty its disk does not come to it either: it asks
//! the leader below which offset the log is trimmed by now, and drops what lies below that ahead of the entry that says so.
//!
//! That trim has been committed, so no node needs those entries, and each drops them sooner or later. This
//! node drops no more than it has applied itself, and by the same way as for a trim of its own log.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use slog::debug;

use super::RaftActor;
use crate::{
    actors::peer::PeerCalls,
    types::{NodeId, Offset},
};

/// How often the leader is asked while there is no room. Retention is looked at less often.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(1);

impl RaftActor {
    /// Asks the leader, where this node takes no entries for want of room.
    pub(super) fn look_for_room(&mut self, context: &mut Context<Self>) {
        let own = self.setup.node_id;
        let leader = self.setup.leadership.borrow().leader;
        let Some(leader) = leader.filter(|leader| *leader != own && !self.setup.port.takes_entries()) else {
            return;
        };
        let calls = PeerCalls::new(Arc::new(self.setup.links.clone()));
        let asked = async move { calls.describe(leader, ASK_EVERY).await };
        let asked = self.setup.runtime.spawn(asked);
        context.spawn(asked.into_actor(self).map(move |said, actor, context| {
            let Ok(Ok(said)) = said else { return };
            actor.make_room(leader, said.trimmed_below, context);
        }));
    }

    /// The leader has trimmed its log below `trimmed`.
    fn make_room(&mut self, leader: NodeId, trimmed: Offset, context: &mut Context<Self>) {
        let below = trimmed.min(*self.setup.high_watermark.subscribe().borrow());
        if below <= self.setup.view.load().earliest() {
            return;
        }
        debug!(self.setup.logger, "no room: what the leader has trimmed is dropped before the trim has come";
            "leader" => leader.get(), "below" => below.get());
        self.purge(below, context);
    }
}
