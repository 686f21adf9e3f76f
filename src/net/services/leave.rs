//! A node leaves its cluster for good, by its own wish: it has the leader remove it.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Code, Status};

use super::cluster_v1::{elsewhere, found, hand_over, port_of};
use crate::{
    actors::{committer::ProposeError, peer::PeerError, raft::ChangeFailed},
    net::{
        cluster::{self, ClusterPort},
        context::Context,
        status::Refusal,
    },
    proto::raw::annals::v1::{self, Role},
    types::NodeId,
};

/// When the leader is asked again that could not answer yet.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long a node that hands leadership over in order to go waits for the one that takes it.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// Has this node removed by the leader, which it is not (any more) then. It notices by itself that it was, and goes. One that
/// was removed already has nothing to leave, and is answered so.
///
/// Errors: it is not a member of more than itself; no leader is found, or it refuses; nobody knows. Cancel: it may be removed
/// or not.
pub(super) async fn leave(context: &Context, deadline: Instant) -> Result<v1::LeaveResponse, Status> {
    let port = port_of(context)?;
    if port.fence.removed_at().is_some() {
        return Ok(v1::LeaveResponse {
            header: Some(context.header()),
            server: Some(outsider(context)),
            unchanged: true,
        });
    }
    let before = found(
        cluster::view(context, port, true).await,
        context.parts.identity.node_id,
    );
    let mut removed = port.fence.subscribe();
    tokio::select! {
        gone = ask_to_be_removed(context, port, deadline) => gone?,
        // It noticed before it was answered, or an operator was quicker.
        Ok(_) = removed.wait_for(Option::is_some) => {}
    }
    // That it says so in gossip too, and is fenced, is a matter of a moment.
    drop(timeout_at(deadline, removed.wait_for(Option::is_some)).await);
    Ok(v1::LeaveResponse {
        header: Some(context.header()),
        server: before,
        unchanged: false,
    })
}

/// This node as it is once it belongs nowhere.
fn outsider(context: &Context) -> v1::Server {
    let identity = &context.parts.identity;
    v1::Server {
        node_id: identity.node_id.get(),
        name: identity.node_name.clone(),
        address: context.rpc_address.clone(),
        role: Role::Outsider.into(),
        presence: v1::Presence::Reachable.into(),
        answered: true,
        ..v1::Server::default()
    }
}

async fn ask_to_be_removed(context: &Context, port: &ClusterPort, deadline: Instant) -> Result<(), Status> {
    let own = context.parts.identity.node_id;
    let mut leadership = context.parts.leadership.clone();
    if port.waiting.borrow().is_some() {
        return Err(Refusal::Propose(elsewhere(port, None)).into());
    }
    if port.board.state().members.len() <= 1 {
        let why = "this node is the whole cluster, so there is nobody to leave; stop it instead".to_owned();
        return Err(Refusal::Change(ChangeFailed::Refused { why }).into());
    }
    if leadership.borrow().leader == Some(own) {
        hand_over(context, None, deadline).await?;
    }
    let is_other = |leader: Option<NodeId>| leader.is_some_and(|leader| leader != own);
    loop {
        let taken = timeout(
            TAKEN_WITHIN,
            leadership.wait_for(|leadership| is_other(leadership.leader)),
        );
        let leader = match taken.await {
            Ok(Ok(leadership)) => leadership.leader,
            Ok(Err(_)) | Err(_) => None,
        };
        let Some(leader) = leader else {
            return Err(Refusal::Propose(ProposeError::NoLeader).into());
        };
        let within = deadline.saturating_duration_since(Instant::now());
        match port.calls.leave(leader, within).await {
            Ok(()) => return Ok(()),
            // One that was just elected says so once it has committed something. One for which this node is no member (any more) does not
            // listen to it; then this node is about to find out.
            Err(PeerError::Call { status, .. })
                if matches!(status.code(), Code::Unavailable | Code::PermissionDenied) =>
            {
                if within < AGAIN_AFTER {
                    return Err(*status);
                }
                sleep(AGAIN_AFTER).await;
            }
            Err(PeerError::Call { status, .. }) => return Err(*status),
            Err(PeerError::Deadline { .. }) => {
                return Err(Refusal::Change(ChangeFailed::NotHere(ProposeError::OutcomeUnknown)).into());
            }
            Err(_) => return Err(Refusal::Propose(elsewhere(port, Some(leader))).into()),
        }
    }
}
