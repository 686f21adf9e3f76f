//! `annals.v1.ClusterService`: the cluster, for clients. The comments of its proto are its law.

use std::sync::Arc;

use futures::{StreamExt, stream, stream::BoxStream};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::{
    cluster_watch::Changes,
    leave::leave,
    named::{candidate, member},
};
use crate::{
    actors::{
        committer::ProposeError,
        raft::{ChangeFailed, ChangeMember, HandOver, MemberChange, MemberState, TrimBelow},
        supervision::{Answer, PartStatus, PostError, Reply},
    },
    net::{
        cluster::{self, ClusterPort},
        context::Context,
        deadline,
        status::Refusal,
    },
    proto::raw::annals::v1,
    types::{NodeId, Offset},
};

/// The service.
#[derive(Clone, Debug)]
pub struct ClusterV1 {
    context: Arc<Context>,
}

impl ClusterV1 {
    /// On `context`.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    fn port(&self) -> Result<&ClusterPort, Refusal> {
        port_of(&self.context)
    }

    /// A node as it is now, by its own word too.
    async fn server(&self, node: NodeId) -> Result<v1::Server, Refusal> {
        let view = cluster::view(&self.context, self.port()?, false).await;
        Ok(found(view, node).unwrap_or_default())
    }

    /// A node as this one sees it.
    async fn server_from_here(&self, node: NodeId) -> Result<v1::Server, Refusal> {
        let view = cluster::view(&self.context, self.port()?, true).await;
        Ok(found(view, node).unwrap_or_default())
    }

    fn deadline<T>(&self, request: &Request<T>) -> Instant {
        deadline::of_request(request, self.context.options.request_timeout)
    }
}

pub(super) fn found(view: v1::GetClusterResponse, node: NodeId) -> Option<v1::Server> {
    let mut servers = view.servers.into_iter();
    servers.find(|server| server.node_id == node.get())
}

/// The cluster's port.
///
/// Errors: the node has none.
pub(in crate::net) fn port_of(context: &Context) -> Result<&ClusterPort, Refusal> {
    let missing = Refusal::Propose(ProposeError::Unavailable);
    context.parts.cluster.as_ref().ok_or(missing)
}

/// Changes are the leader's.
///
/// Errors: `NotLeader`, `NoLeader`, `Removed`.
pub(in crate::net) fn require_leader(context: &Context) -> Result<(), Refusal> {
    let port = port_of(context)?;
    if let Some(log_index) = port.fence.removed_at() {
        return Err(Refusal::Propose(ProposeError::Removed { log_index }));
    }
    match context.parts.leadership.borrow().leader {
        Some(leader) if leader == context.parts.identity.node_id => Ok(()),
        leader => Err(Refusal::Propose(elsewhere(port, leader))),
    }
}

pub(super) fn elsewhere(port: &ClusterPort, leader: Option<NodeId>) -> ProposeError {
    let Some(leader) = leader else {
        let waiting = port.waiting.borrow().clone();
        return waiting.map_or(ProposeError::NoLeader, |waiting| ProposeError::NoCluster {
            waiting,
        });
    };
    let found = port.links.found_at(leader);
    let address = found
        .or_else(|| port.directory.rpc_address_of(leader))
        .or_else(|| port.board.address_of(leader))
        .unwrap_or_default();
    ProposeError::NotLeader { leader, address }
}

/// Waits for what RaftActor answers.
async fn answer<T, M>(
    posted: Result<(), PostError<M>>,
    answer: Answer<T, ChangeFailed>,
    deadline: Instant,
) -> Result<T, Refusal> {
    match posted {
        Ok(()) => {}
        Err(PostError::Full(_)) => return Err(Refusal::Overloaded),
        Err(PostError::Gone(_)) => return Err(Refusal::Propose(ProposeError::Unavailable)),
    }
    let answered = timeout_at(deadline, answer).await;
    answered
        .unwrap_or(Err(ChangeFailed::NotHere(ProposeError::OutcomeUnknown)))
        .map_err(Refusal::Change)
}

/// Removes a member; this node leads. One that is to remove itself hands leadership over first, and the answer says to whom.
///
/// Errors: it would be wrong; nobody knows. Cancel: it may be removed or not.
pub(in crate::net) async fn remove(
    context: &Context,
    node: NodeId,
    deadline: Instant,
) -> Result<(), Refusal> {
    let port = port_of(context)?;
    require_leader(context)?;
    if node == context.parts.identity.node_id && port.board.state().members.len() > 1 {
        let next = hand_over(context, None, deadline).await?;
        return Err(Refusal::Propose(elsewhere(port, next)));
    }
    let (reply, answered) = Reply::channel();
    let change = MemberChange::Remove { node };
    let posted = port.raft.post(ChangeMember { change, reply });
    answer(posted, answered, deadline).await
}

pub(super) async fn hand_over(
    context: &Context,
    to: Option<NodeId>,
    deadline: Instant,
) -> Result<Option<NodeId>, Refusal> {
    let port = port_of(context)?;
    let (reply, answered) = Reply::channel();
    let posted = port.raft.post(HandOver { to, reply });
    answer(posted, answered, deadline).await
}

#[tonic::async_trait]
impl v1::cluster_service_server::ClusterService for ClusterV1 {
    async fn get_cluster(
        &self,
        request: Request<v1::GetClusterRequest>,
    ) -> Result<Response<v1::GetClusterResponse>, Status> {
        let v1::GetClusterRequest { log, local } = request.into_inner();
        self.context.check_log(&log)?;
        let view = cluster::view(&self.context, self.port()?, local).await;
        Ok(Response::new(view))
    }

    type WatchClusterStream = BoxStream<'static, Result<v1::GetClusterResponse, Status>>;

    async fn watch_cluster(
        &self,
        request: Request<v1::WatchClusterRequest>,
    ) -> Result<Response<Self::WatchClusterStream>, Status> {
        self.context.check_log(&request.into_inner().log)?;
        let port = self.port()?.clone();
        let place = self.context.admit_consumer()?;
        let changes = Changes::new(&self.context, &port);
        let begin = (Arc::clone(&self.context), port, changes, place);
        let views = stream::unfold(begin, |(context, port, mut changes, place)| async move {
            let draining = context.draining.clone();
            tokio::select! {
                view = changes.next(&context, &port) => Some((Ok(view), (context, port, changes, place))),
                () = draining.cancelled() => None,
            }
        });
        Ok(Response::new(views.boxed()))
    }

    async fn add_server(
        &self,
        request: Request<v1::AddServerRequest>,
    ) -> Result<Response<v1::AddServerResponse>, Status> {
        let deadline = self.deadline(&request);
        let request = request.into_inner();
        self.context.check_log(&request.log)?;
        require_leader(&self.context)?;
        let port = self.port()?;
        let identity = &self.context.parts.identity;
        let own = (identity.node_id, identity.peer.cluster_id());
        let (node, member) = candidate(port, request.node.as_ref(), own)?;
        let before = self.server_from_here(node).await?;
        let state = port.board.state();
        let is_done = |known: &MemberState| known.voter || request.learner;
        let unchanged = state.members.get(&node).is_some_and(is_done);
        if !unchanged {
            let (reply, answered) = Reply::channel();
            let change = MemberChange::Add {
                node,
                member,
                voter: !request.learner,
            };
            let posted = port.raft.post(ChangeMember { change, reply });
            answer(posted, answered, deadline).await?;
        }
        Ok(Response::new(v1::AddServerResponse {
            server: Some(self.server(node).await?),
            before: Some(before),
            unchanged,
            header: Some(self.context.header()),
        }))
    }

    async fn remove_server(
        &self,
        request: Request<v1::RemoveServerRequest>,
    ) -> Result<Response<v1::RemoveServerResponse>, Status> {
        let deadline = self.deadline(&request);
        let request = request.into_inner();
        self.context.check_log(&request.log)?;
        require_leader(&self.context)?;
        let node = member(self.port()?, request.node.as_ref())?;
        let server = self.server(node).await?;
        remove(&self.context, node, deadline).await?;
        Ok(Response::new(v1::RemoveServerResponse {
            server: Some(server),
            header: Some(self.context.header()),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let deadline = self.deadline(&request);
        let request = request.into_inner();
        self.context.check_log(&request.log)?;
        require_leader(&self.context)?;
        let own = self.context.parts.identity.node_id;
        let to = match request.to {
            Some(named) => Some(member(self.port()?, Some(&named))?),
            None => None,
        };
        let before = self.server_from_here(own).await?;
        let leader = match to {
            Some(to) if to == own => Some(own),
            to => hand_over(&self.context, to, deadline).await?,
        };
        let unchanged = leader == Some(own);
        let leader = match leader {
            Some(leader) => Some(self.server(leader).await?),
            None => None,
        };
        Ok(Response::new(v1::TransferLeaderResponse {
            leader,
            before: Some(before),
            unchanged,
            header: Some(self.context.header()),
        }))
    }

    async fn leave(&self, request: Request<v1::LeaveRequest>) -> Result<Response<v1::LeaveResponse>, Status> {
        let deadline = self.deadline(&request);
        self.context.check_log(&request.into_inner().log)?;
        Ok(Response::new(leave(&self.context, deadline).await?))
    }

    async fn trim(&self, request: Request<v1::TrimRequest>) -> Result<Response<v1::TrimResponse>, Status> {
        let deadline = self.deadline(&request);
        let request = request.into_inner();
        self.context.check_log(&request.log)?;
        require_leader(&self.context)?;
        let (below, readable) = (
            Offset(request.below),
            self.context.parts.read_path.high_watermark(),
        );
        if below > readable {
            let what = format!("offset {below} is above the high watermark, {readable}");
            return Err(Refusal::invalid(what).into());
        }
        let (reply, answered) = Reply::channel();
        let posted = self.port()?.raft.post(TrimBelow { below, reply });
        answer(posted, answered, deadline).await?;
        Ok(Response::new(v1::TrimResponse {
            header: Some(self.context.header()),
        }))
    }

    async fn get_supervision_tree(
        &self,
        _: Request<v1::GetSupervisionTreeRequest>,
    ) -> Result<Response<v1::GetSupervisionTreeResponse>, Status> {
        let parts = self.context.parts.vitals.supervision().await;
        Ok(Response::new(v1::GetSupervisionTreeResponse {
            header: Some(self.context.header()),
            parts: parts.iter().map(supervised).collect(),
        }))
    }
}

fn supervised(status: &PartStatus) -> v1::SupervisedPart {
    v1::SupervisedPart {
        name: status.part.to_string(),
        state: status.state.to_string(),
        generation: status.generation,
        restarts: status.restarts,
        last_exit: status
            .last_exit
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        since_ms: status.since.0,
        dependants: status.dependants.iter().map(ToString::to_string).collect(),
    }
}
