//! `GET /v1/cluster`: what `annals cluster status -o json` prints.

use http::{Response, StatusCode};
use prost::Message;
use tonic::body::Body;

use super::{error::HttpError, respond};
use crate::{
    net::{
        cluster, cluster_json::JsonCluster, context::Context, services::cluster_v1::port_of, status::Refusal,
    },
    proto::annals::v1::GetClusterResponse,
};

/// The cluster as this node shows it; `local`: without asking the others.
///
/// Errors: the node has no cluster to show. Cancel: safe.
pub async fn describe(context: &Context, local: bool) -> Result<Response<Body>, HttpError> {
    let view = cluster::view(context, port_of(context)?, local).await;
    // The server's view of the schema and the clients' have the same bytes.
    let view = GetClusterResponse::decode(&view.encode_to_vec()[..]).map_err(|_| Refusal::Internal {
        what: "what it says of the cluster is not what clients read",
    })?;
    let mut text = serde_json::to_vec(&JsonCluster::of(&view)).map_err(|_| Refusal::Internal {
        what: "the cluster is no JSON",
    })?;
    text.push(b'\n');
    let mut response = respond::bytes(StatusCode::OK, respond::JSON, text.into());
    respond::say_who(response.headers_mut(), context);
    Ok(response)
}
