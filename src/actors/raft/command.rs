//! A change of the membership by an operator's command: allowed by who answers now, made, and waited for, but not for ever.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use slog::{Logger, info};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use super::{
    ChangeFailed, ClusterBoard, MemberChange, RaftPort,
    members::{CHANGE_WAITS_FOR, make_change, place_of},
    quorum::can_do_without,
};
use crate::{
    actors::{committer::ProposeError, peer::PeerCalls, replicator::Replicators},
    clock,
    consensus::{Consensus, types::Member},
    types::NodeId,
};

/// Who does not answer within this counts as down: far more than a round trip, also on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// When a node that is to be added and did not answer is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What it takes to carry out a command.
pub(super) struct Command {
    pub(super) own: NodeId,
    pub(super) consensus: Consensus,
    pub(super) links: Replicators,
    pub(super) calls: PeerCalls,
    pub(super) cluster: ClusterBoard,
    pub(super) port: RaftPort,
    pub(super) runtime: Handle,
    pub(super) logger: Logger,
}

impl Command {
    /// Ends when the change is committed, or it is known that it will not be soon.
    ///
    /// Errors: it would be wrong; a majority does not confirm it. Cancel: it may go on.
    pub(super) async fn carry_out(self, change: MemberChange) -> Result<(), ChangeFailed> {
        let refused = |why: String| ChangeFailed::Refused { why };
        let is_removal = matches!(change, MemberChange::Remove { .. });
        if let MemberChange::Remove { node } = &change {
            // That somebody was heard of a moment ago is not enough: without it nothing would be committed any more, this
            // change among it.
            let up = self.who_answers().await;
            can_do_without(*node, &self.cluster.state(), |other| up.contains(&other)).map_err(refused)?;
        }
        if let MemberChange::Add { node, member, .. } = &change {
            self.until_it_answers(*node, member).await.map_err(refused)?;
        }
        info!(self.logger, "membership changes by command"; "change" => ?change);
        // Apart, since a change that is given up between its two steps would stay half made.
        let made = self
            .runtime
            .spawn(make_change(self.consensus.clone(), self.port.clone(), change));
        let made = match is_removal {
            true => match timeout(CHANGE_WAITS_FOR, made).await {
                Ok(made) => made,
                Err(_) => return Err(self.unconfirmed().await),
            },
            // A learner may have much to catch up on before it votes.
            false => made.await,
        };
        match made {
            Ok(made) => made,
            Err(_) => Err(ChangeFailed::NotHere(ProposeError::OutcomeUnknown)),
        }
    }

    /// Waits until a node that is no member yet answers where it is to be found from then on, as who it is: nobody else becomes one (G7, SEC-1).
    ///
    /// Errors: it does not, and why.
    async fn until_it_answers(&self, node: NodeId, member: &Member) -> Result<(), String> {
        if self.cluster.state().members.contains_key(&node) {
            return Ok(());
        }
        let give_up = clock::now() + ANSWER_WITHIN;
        loop {
            let problem = match self.links.prove(node, place_of(member)).await {
                Ok(()) => return Ok(()),
                Err(problem) => problem,
            };
            if clock::now() >= give_up {
                let name = &member.name;
                return Err(format!(
                    "{name} does not answer this node, and nobody is taken in who does not: {problem}"
                ));
            }
            sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// This node, and the voters that answer a question of this moment.
    async fn who_answers(&self) -> BTreeSet<NodeId> {
        let state = self.cluster.state();
        let voters = state.members.iter().filter(|(_, member)| member.voter);
        let others = voters.map(|(node, _)| *node).filter(|node| *node != self.own);
        let asked = others.map(|node| async move {
            let answer = self.calls.describe(node, ANSWER_WITHIN).await;
            answer.is_ok().then_some(node)
        });
        let mut up: BTreeSet<_> = join_all(asked).await.into_iter().flatten().collect();
        up.insert(self.own);
        up
    }

    async fn unconfirmed(&self) -> ChangeFailed {
        let up = self.who_answers().await;
        let state = self.cluster.state();
        let silent = state
            .members
            .iter()
            .filter(|(node, member)| member.voter && !up.contains(node));
        ChangeFailed::Unconfirmed {
            waited: CHANGE_WAITS_FOR,
            silent: silent.map(|(_, member)| member.member.name.clone()).collect(),
        }
    }
}
