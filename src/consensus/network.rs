//! What openraft says to other nodes.
//!
//! Entries go in a stream that waits for no response, on a connection of their own. Heartbeats and votes go one by one on
//! another, over gRPC, so that they never wait behind bulk. A snapshot is sent as its manifest; the receiver fetches the files.

use std::{future::Future, iter, pin::pin, sync::Arc, time::Duration};

use futures::{
    Stream, StreamExt,
    future::{BoxFuture, Either, select},
    stream::{self, BoxStream},
};
use openraft::{
    OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    alias::SnapshotOf,
    error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{Backoff, RPCOption},
    raft::StreamAppendError,
};
use tokio::time::timeout;
use tonic::{Code, Response, Status};

use super::{
    appends::AppendChannel,
    codec::{self, CodecError, Snapshot},
    full_peers::FullPeers,
    hold::{Awaited, HeldCommits},
    links::{CallChannel, Lane, LinkError, PeerChannel, PeerLinks},
    messages::{
        AppendRequest, AppendResponse, AppendResult, SnapshotResponse, TransferRequest, TransferResponse,
        VoteRequest, VoteResponse, last_of,
    },
    types::{Member, RaftVote, SnapshotManifest, TypeConfig},
};
use crate::{proto::peer::peer_service_client::PeerServiceClient, types::NodeId};

/// A stream of appends is refused or taken within this, on a machine as busy as can be; openraft's own figure, the
/// heartbeat's interval, is less than a stall of the scheduler. A peer that is gone is found by the connection.
const STREAM_TAKEN_WITHIN: Duration = Duration::from_secs(2);
/// How long a node may take to fetch and install segments: a terabyte over a slow network. When the peer goes away the
/// connection ends the call, and when the leader changes openraft does.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// Rests of openraft after a failure. The link has rests of its own, so these only keep openraft from spinning, and are
/// short: replication should go on soon after the connection is back.
const REST_MIN: Duration = Duration::from_millis(25);
/// See [`REST_MIN`].
const REST_MAX: Duration = Duration::from_millis(400);
/// How long a peer to which no stream can be begun is left alone: little beside its restart.
const STREAM_AGAIN_AFTER: Duration = Duration::from_millis(250);

type RpcError = RPCError<TypeConfig>;
type AppendResults<'s> = BoxStream<'s, Result<AppendResult, RpcError>>;

/// Makes openraft's network, one value for each peer and purpose.
#[derive(Clone, Debug)]
pub struct PeerNetworks {
    node_id: NodeId,
    /// Empty for the default log.
    log: Arc<str>,
    links: Arc<dyn PeerLinks>,
    full: FullPeers,
}

impl PeerNetworks {
    /// The network of the default log on node `node_id`, over `links`.
    #[must_use]
    pub fn new(node_id: NodeId, links: Arc<dyn PeerLinks>) -> Self {
        Self {
            node_id,
            log: Arc::from(""),
            links,
            full: FullPeers::default(),
        }
    }

    /// Whose disks are nearly full.
    #[must_use]
    pub fn full_peers(&self) -> &FullPeers {
        &self.full
    }

    /// The way to `target`, with appends on `appends`.
    #[must_use]
    pub fn network(&self, target: NodeId, appends: Lane) -> PeerNetwork {
        PeerNetwork {
            node_id: self.node_id,
            target,
            log: Arc::clone(&self.log),
            appends,
            links: Arc::clone(&self.links),
            full: self.full.clone(),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for PeerNetworks {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: u64, _: &Member) -> PeerNetwork {
        self.network(NodeId(target), Lane::Appends)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _: &Member) -> PeerNetwork {
        self.network(NodeId(target), Lane::Control)
    }
}

/// The way to one peer.
#[derive(Clone, Debug)]
pub struct PeerNetwork {
    node_id: NodeId,
    target: NodeId,
    log: Arc<str>,
    appends: Lane,
    links: Arc<dyn PeerLinks>,
    full: FullPeers,
}

impl PeerNetwork {
    /// The calls of that lane.
    async fn client(&self, lane: Lane) -> Result<PeerServiceClient<CallChannel>, RpcError> {
        let channel = self.links.channel(self.target, lane).await;
        channel
            .and_then(|channel| channel.client())
            .map_err(|error| unlinked(&error))
    }

    /// The way of appends.
    async fn appends(&self) -> Result<AppendChannel, RpcError> {
        let channel = self.links.channel(self.target, Lane::Appends).await;
        channel
            .and_then(PeerChannel::appends)
            .map_err(|error| unlinked(&error))
    }

    /// One call and its answer, within `within`.
    async fn call<T>(
        &self,
        action: RPCTypes,
        within: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, RpcError> {
        match timeout(within, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(rpc_error(&status)),
            Err(_) => Err(RPCError::Timeout(Timeout {
                action,
                id: self.node_id.get(),
                target: self.target.get(),
                timeout: within,
            })),
        }
    }

    async fn append_alone(&self, request: AppendRequest, within: Duration) -> Result<AppendResult, RpcError> {
        let mut client = self.client(Lane::Control).await?;
        let previous = request.prev_log_id;
        let request = codec::append_request(&self.log, request);
        let response = self
            .call(RPCTypes::AppendEntries, within, client.append(request))
            .await?;
        self.full.note(self.target, response.storage_full);
        match codec::decode_append_result(response).map_err(|error| unusable(&error))? {
            // Of a heartbeat openraft takes for granted that the conflict is what was asked about, and panics otherwise.
            Err(StreamAppendError::Conflict(at)) if previous != Some(at) => {
                let field = "append.conflict";
                Err(unusable(&CodecError::Contradiction { field }))
            }
            result => Ok(result),
        }
    }

    async fn ask_vote(
        &self,
        request: &VoteRequest,
        pre_vote: bool,
        within: Duration,
    ) -> Result<VoteResponse, RpcError> {
        let mut client = self.client(Lane::Control).await?;
        let request = codec::vote_request(&self.log, request, pre_vote);
        let response = self.call(RPCTypes::Vote, within, client.vote(request)).await?;
        codec::decode_vote_response(response).map_err(|error| unusable(&error))
    }

    /// Requests one after the other, each with its response: for heartbeats, of which there is one.
    fn append_one_by_one<'s, S>(&'s self, requests: S, within: Duration) -> AppendResults<'s>
    where
        S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
    {
        let results = stream::unfold(Some(requests), move |requests| async move {
            let mut requests = requests?;
            let request = requests.next().await?;
            let result = self.append_alone(request, within).await;
            let goes_on = matches!(result, Ok(Ok(_)));
            Some((result, goes_on.then_some(requests)))
        });
        results.boxed()
    }

    /// Requests as they come, none of which waits for a response.
    async fn append_pipelined<'s, S>(
        &self,
        requests: S,
        within: Duration,
    ) -> Result<AppendResults<'s>, RpcError>
    where
        S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
    {
        let channel = self.appends().await?;
        let awaited = Awaited::default();
        let requests = HeldCommits::new(requests, awaited.clone());
        let begun = channel.begin(Arc::clone(&self.log), requests.boxed());
        let begun = async { begun.await.map(Response::new) };
        let answers = self.call(RPCTypes::AppendEntries, within, begun).await?;
        let results = answers.map(move |answer| {
            let answer = answer.map_err(|status| rpc_error(&status))?;
            awaited.set(answer.commits_awaited);
            codec::decode_append_result(answer).map_err(|error| unusable(&error))
        });
        Ok(results.boxed())
    }
}

impl RaftNetworkV2<TypeConfig> for PeerNetwork {
    type SnapshotData = SnapshotManifest;

    async fn append_entries(
        &mut self,
        request: AppendRequest,
        option: RPCOption,
    ) -> Result<AppendResponse, RpcError> {
        let last = last_of(&request);
        let result = self.append_alone(request, option.soft_ttl()).await?;
        Ok(match result {
            Ok(up_to) if up_to != last => AppendResponse::PartialSuccess(up_to),
            result => result.into(),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s>, RpcError>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        let within = option.soft_ttl();
        Box::pin(async move {
            match self.appends {
                Lane::Control | Lane::Bulk => Ok(self.append_one_by_one(requests, within)),
                Lane::Appends => {
                    let begun = self
                        .append_pipelined(requests, within.max(STREAM_TAKEN_WITHIN))
                        .await;
                    if begun.is_err() {
                        // openraft rests after an append that failed, and not after a stream that never began: where a peer is away
                        // it would be asked again at once, and for ever.
                        tokio::time::sleep(STREAM_AGAIN_AFTER).await;
                    }
                    begun
                }
            }
        })
    }

    async fn vote(&mut self, request: VoteRequest, option: RPCOption) -> Result<VoteResponse, RpcError> {
        self.ask_vote(&request, false, option.soft_ttl()).await
    }

    async fn pre_vote(&mut self, request: VoteRequest, option: RPCOption) -> Result<VoteResponse, RpcError> {
        self.ask_vote(&request, true, option.soft_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: SnapshotOf<TypeConfig, SnapshotManifest>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse, StreamingError<TypeConfig>> {
        let mut client = self.client(Lane::Bulk).await?;
        let snapshot = Snapshot {
            vote,
            meta: snapshot.meta,
            manifest: snapshot.snapshot,
        };
        let request = codec::snapshot_request(&self.log, snapshot);
        let installed = self.call(
            RPCTypes::InstallSnapshot,
            SNAPSHOT_WITHIN,
            client.install_snapshot(request),
        );
        match select(pin!(installed), pin!(cancel)).await {
            Either::Left((response, _)) => {
                let response = codec::decode_snapshot_response(response?);
                response.map_err(|error| unusable(&error).into())
            }
            Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferRequest,
        option: RPCOption,
    ) -> Result<TransferResponse, RpcError> {
        let mut client = self.client(Lane::Control).await?;
        let request = codec::transfer_request(&self.log, &request);
        let asked = client.transfer_leader(request);
        let response = self
            .call(RPCTypes::TransferLeader, option.soft_ttl(), asked)
            .await?;
        codec::decode_transfer_response(response).map_err(|error| unusable(&error))
    }

    fn backoff(&self) -> Option<Backoff> {
        let rests = iter::successors(Some(REST_MIN), |rest| Some((*rest * 2).min(REST_MAX)));
        Some(Backoff::new(rests))
    }
}

/// What a failed call means to openraft: whether to try again at once, or after a rest.
fn rpc_error(status: &Status) -> RpcError {
    match status.code() {
        // The connection broke, or the peer ended the call. Whoever opens the next one learns what is the matter.
        Code::Cancelled | Code::Unknown | Code::Aborted | Code::DeadlineExceeded => {
            RPCError::Network(NetworkError::new(status))
        }
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => RPCError::Unreachable(Unreachable::new(status)),
    }
}

/// There is no way to the peer.
fn unlinked(error: &LinkError) -> RpcError {
    RPCError::Unreachable(Unreachable::new(error))
}

/// The peer answered something that makes no sense.
fn unusable(error: &CodecError) -> RpcError {
    RPCError::Unreachable(Unreachable::new(error))
}
