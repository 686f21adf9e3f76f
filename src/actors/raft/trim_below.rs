//! A trim by an operator's command; what it sets free is in `trims`.

use actix::prelude::*;

use super::{ChangeFailed, RaftActor, not_made::not_made, port::not_leader};
use crate::{
    actors::supervision::Reply,
    clock,
    consensus::types::{Proposal, ProposalContent},
    storage::control::Control,
    types::{NodeId, Offset},
};

/// Drop the records below an offset, on every node. Only the leader can.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TrimBelow {
    /// The first offset to keep.
    pub below: Offset,
    /// Answered when that is committed.
    pub reply: Reply<(), ChangeFailed>,
}

impl Handler<TrimBelow> for RaftActor {
    type Result = ();

    fn handle(&mut self, trim: TrimBelow, context: &mut Self::Context) {
        self.trim_below(trim, context);
    }
}

impl RaftActor {
    fn trim_below(&mut self, TrimBelow { below, reply }: TrimBelow, context: &mut Context<Self>) {
        let leader = self.setup.leadership.borrow().leader;
        let leads = leader == Some(self.setup.node_id);
        let Some(consensus) = self.consensus.clone().filter(|_| leads) else {
            let error = not_leader(leader.map(NodeId::get), self.setup.port.route());
            reply.send(Err(error.into()));
            return;
        };
        let proposal = Proposal {
            timestamp: clock::wall(),
            content: ProposalContent::Control(Control::Trim { below }.encode()),
        };
        let written = async move { consensus.raft.client_write(proposal).await };
        let done = self.setup.runtime.spawn(written);
        context.spawn(done.into_actor(self).map(|done, actor, _| match done {
            Ok(Ok(_)) => reply.send(Ok(())),
            Ok(Err(error)) => reply.send(Err(not_made(error, actor.setup.port.route()))),
            Err(_) => {}
        }));
    }
}
