//! `annals.v1.PeerService`: from messages to [`PeerHandler`] and back. Streams are handed on as they are, without a task or
//! a queue in between.

use std::sync::Arc;

use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{cluster_v1, proposals::Proposals};
use crate::{
    actors::peer::{
        PeerError, PeerHandler, PeerIdentity, SegmentRange, cursor_result, decode_cursor_request,
    },
    consensus::{
        codec::{self, CodecError},
        messages::last_of,
    },
    net::{
        authorization, cluster,
        connection::Ends,
        context::{Context, DEFAULT_LOG},
        deadline,
        peers::{Caller, PeerServing},
        status::peer_status,
    },
    proto::peer::{self, peer_service_server::PeerService, read_index_response::Result as IndexAnswer},
    types::{LogIndex, NodeId, Position},
};

/// The calls of the service.
#[derive(Debug)]
pub(in crate::net) struct PeerV1 {
    serving: PeerServing,
    context: Arc<Context>,
}

impl PeerV1 {
    /// Answers by whoever handles at the time of a call.
    #[must_use]
    pub(in crate::net) fn new(serving: PeerServing, context: Arc<Context>) -> Self {
        Self { serving, context }
    }

    fn handler(&self) -> Result<Arc<dyn PeerHandler>, Status> {
        self.serving.handlers.get().map_err(|error| peer_status(&error))
    }

    fn handler_of(&self, log: &str) -> Result<Arc<dyn PeerHandler>, Status> {
        check_log(log)?;
        self.handler()
    }
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

#[async_trait]
impl PeerService for PeerV1 {
    async fn greet(
        &self,
        request: Request<peer::GreetRequest>,
    ) -> Result<Response<peer::GreetResponse>, Status> {
        self.serving.replicators.nudge(caller(&request)?);
        Ok(Response::new(welcome(&self.serving.identity)))
    }

    async fn append(
        &self,
        request: Request<peer::AppendRequest>,
    ) -> Result<Response<peer::AppendResponse>, Status> {
        // Heartbeats are among these.
        self.serving.replicators.heard(caller(&request)?);
        let request = request.into_inner();
        let handler = self.handler_of(&request.log)?;
        let request = codec::decode_append_request(request).map_err(unusable)?;
        let (previous, last) = (request.prev_log_id, last_of(&request));
        let response = answered(handler.append(request).await)?;
        let mut response = codec::append_response(response, previous, last);
        response.storage_full = handler.storage_is_full();
        Ok(Response::new(response))
    }

    async fn vote(
        &self,
        request: Request<peer::VoteRequest>,
    ) -> Result<Response<peer::VoteResponse>, Status> {
        let request = request.into_inner();
        let handler = self.handler_of(&request.log)?;
        let pre_vote = request.pre_vote;
        let request = codec::decode_vote_request(&request).map_err(unusable)?;
        let response = if pre_vote {
            handler.pre_vote(request).await
        } else {
            handler.vote(request).await
        };
        Ok(Response::new(codec::vote_response(&answered(response)?)))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferLeaderRequest>,
    ) -> Result<Response<peer::TransferLeaderResponse>, Status> {
        let request = request.into_inner();
        let handler = self.handler_of(&request.log)?;
        let request = codec::decode_transfer_request(request).map_err(unusable)?;
        let response = answered(handler.transfer_leader(request).await)?;
        Ok(Response::new(codec::transfer_response(&response)))
    }

    async fn install_snapshot(
        &self,
        request: Request<peer::InstallSnapshotRequest>,
    ) -> Result<Response<peer::InstallSnapshotResponse>, Status> {
        let from = caller(&request)?;
        let request = request.into_inner();
        let handler = self.handler_of(&request.log)?;
        let snapshot = codec::decode_snapshot_request(request).map_err(unusable)?;
        let response = answered(handler.install_snapshot(from, snapshot).await)?;
        Ok(Response::new(codec::snapshot_response(&response)))
    }

    type ReadEntriesStream = Answers<peer::EntriesChunk>;

    async fn read_entries(
        &self,
        request: Request<peer::ReadEntriesRequest>,
    ) -> Result<Response<Self::ReadEntriesStream>, Status> {
        let request = request.into_inner();
        let handler = self.handler_of(&request.log)?;
        let entries = handler.read_entries(LogIndex(request.from), LogIndex(request.below));
        let chunks = entries.map(|entries| {
            let entries = answered(entries)?.into_iter().map(codec::entry).collect();
            Ok(peer::EntriesChunk { entries })
        });
        Ok(Response::new(chunks.boxed()))
    }

    type ReadSegmentStream = Answers<peer::SegmentChunk>;

    async fn read_segment(
        &self,
        request: Request<peer::ReadSegmentRequest>,
    ) -> Result<Response<Self::ReadSegmentStream>, Status> {
        let request = request.into_inner();
        let handler = self.handler_of(&request.log)?;
        let range = SegmentRange {
            first_log_index: LogIndex(request.first_log_index),
            position: Position(request.position),
            bytes_max: request.bytes_max,
        };
        let pieces = answered(handler.read_segment(range).await)?;
        let mut position = request.position;
        let chunks = pieces.map(move |piece| {
            let data = answered(piece)?;
            let chunk = peer::SegmentChunk { position, data };
            position = position.saturating_add(chunk.data.len() as u64);
            Ok(chunk)
        });
        Ok(Response::new(chunks.boxed()))
    }

    async fn list_segments(
        &self,
        request: Request<peer::ListSegmentsRequest>,
    ) -> Result<Response<peer::ListSegmentsResponse>, Status> {
        let handler = self.handler_of(&request.into_inner().log)?;
        let manifest = answered(handler.manifest().await)?.0;
        Ok(Response::new(peer::ListSegmentsResponse { manifest }))
    }

    async fn read_index(
        &self,
        request: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexResponse>, Status> {
        let from = caller(&request)?;
        let handler = self.handler_of(&request.into_inner().log)?;
        let answer = match handler.read_index(from).await {
            Err(PeerError::NotLeader { leader }) => IndexAnswer::NotLeader(peer::NotLeader {
                leader_id: leader.map_or(0, NodeId::get),
            }),
            log_index => IndexAnswer::LogIndex(answered(log_index)?.get()),
        };
        let result = Some(answer);
        Ok(Response::new(peer::ReadIndexResponse { result }))
    }

    type ProposeStream = Answers<peer::ProposeResponse>;

    async fn propose(
        &self,
        request: Request<Streaming<peer::ProposeRequest>>,
    ) -> Result<Response<Self::ProposeStream>, Status> {
        let from = caller(&request)?;
        let proposals = Proposals::new(request.into_inner(), self.handler()?, from);
        Ok(Response::new(proposals.boxed()))
    }

    async fn change_cursor(
        &self,
        request: Request<peer::ChangeCursorRequest>,
    ) -> Result<Response<peer::ChangeCursorResponse>, Status> {
        let from = caller(&request)?;
        let request = request.into_inner();
        let handler = self.handler_of(&request.log)?;
        let command = decode_cursor_request(&request).map_err(unusable)?;
        let result = handler.change_cursor(from, command).await;
        Ok(Response::new(cursor_result(result)))
    }

    async fn describe(
        &self,
        request: Request<peer::DescribeRequest>,
    ) -> Result<Response<peer::DescribeResponse>, Status> {
        check_log(&request.into_inner().log)?;
        let port = cluster_v1::port_of(&self.context)?;
        Ok(Response::new(cluster::describe(&self.context, port).into()))
    }

    async fn leave(
        &self,
        request: Request<peer::LeaveRequest>,
    ) -> Result<Response<peer::LeaveResponse>, Status> {
        let deadline = deadline::of_request(&request, self.context.options.request_timeout);
        let from = caller(&request)?;
        let ends = request.extensions().get::<Ends>().cloned();
        check_log(&request.into_inner().log)?;
        cluster_v1::require_leader(&self.context)?;
        authorization::tell_of_leave(ends.as_ref(), &self.context.audit, &self.context.parts.log);
        cluster_v1::remove(&self.context, from, deadline).await?;
        Ok(Response::new(peer::LeaveResponse {}))
    }
}

/// Who answers.
pub(in crate::net) fn welcome(identity: &PeerIdentity) -> peer::GreetResponse {
    let cluster_id = identity.cluster_id();
    peer::GreetResponse {
        node_id: identity.node_id().get(),
        cluster_id: cluster_id
            .map_or_else(Vec::new, |id| id.0.to_be_bytes().to_vec())
            .into(),
        incarnation: identity.incarnation().0,
    }
}

fn caller<T>(request: &Request<T>) -> Result<NodeId, Status> {
    let caller = request.extensions().get::<Caller>();
    caller
        .map(|Caller(node_id)| *node_id)
        .ok_or_else(|| Status::internal("the call passed no gate"))
}

pub(in crate::net) fn check_log(name: &str) -> Result<(), Status> {
    if name.is_empty() || name == DEFAULT_LOG {
        return Ok(());
    }
    Err(Status::not_found(format!("there is no log named {name:?}")))
}

pub(in crate::net) fn answered<T>(result: Result<T, PeerError>) -> Result<T, Status> {
    result.map_err(|error| peer_status(&error))
}

pub(in crate::net) fn unusable(error: CodecError) -> Status {
    peer_status(&PeerError::Codec(error))
}
