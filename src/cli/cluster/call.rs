//! Calls about the cluster: reads to any node, changes to the leader, wherever that is.

use std::{future::Future, time::Duration};

use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    client::{Answer, Client, Twice},
    proto::annals::v1::{self as proto, cluster_service_client::ClusterServiceClient},
};

use super::super::error::CliError;

/// The cluster, as the first node shows it that answers.
pub(in crate::cli) async fn get_cluster(client: &Client) -> Result<proto::GetClusterResponse, CliError> {
    client.connect().await?;
    Ok(client.servers().await?)
}

/// The node at the address leaves. It is asked once: nobody else can do it in its place.
pub(super) async fn leave(client: &Client, within: Duration) -> Result<proto::LeaveResponse, CliError> {
    let place = client.contact().await?;
    let mut request = Request::new(proto::LeaveRequest::default());
    request.set_timeout(within);
    let mut node = ClusterServiceClient::new(place.connection.channel());
    let left = tokio::time::timeout(within, node.leave(request)).await;
    let left = left.map_err(|_| client.no_answer_of(&place, within))?;
    let left = left.map_err(|status| place.connection.explain(status))?;
    Ok(left.into_inner())
}

/// Has the leader do it: asks whoever is at the addresses, and goes where that one says that the leader is. What was not done
/// for certain is tried again, as while a leader is being elected; of what may have been done, the error says so.
pub(super) async fn at_leader<T, F>(
    client: &Client,
    call: impl Fn(ClusterServiceClient<Channel>, Duration) -> F,
) -> Result<T, CliError>
where
    T: Answer,
    F: Future<Output = Result<Response<T>, Status>>,
{
    client.connect().await?;
    Ok(client.at_leader(Twice::Differs, call).await?)
}
