//! Calls about the cluster: reads to any node, changes to the leader, wherever that is.

use std::{future::Future, time::Duration};

use tokio::time;
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    clock,
    proto::annals::v1::{self as proto, cluster_service_client::ClusterServiceClient},
};

use super::super::{
    addresses::Addresses,
    connect::Connection,
    error::CliError,
    reconnect::{Backoff, reconnect},
};

/// The cluster, as the first node shows it that answers.
pub(in crate::cli) async fn get_cluster(
    addrs: &Addresses,
    timeout: Duration,
) -> Result<proto::GetClusterResponse, CliError> {
    let mut addrs = addrs.clone();
    let each = timeout / u32::try_from(addrs.count()).unwrap_or(u32::MAX);
    let mut last = None;
    for _ in 0..addrs.count() {
        match in_time(addrs.current(), each, ask(&addrs)).await {
            Ok(cluster) => return Ok(cluster),
            Err(error) => last = Some(error),
        }
        addrs.turn();
    }
    Err(last.expect("there is one address at least"))
}

async fn ask(addrs: &Addresses) -> Result<proto::GetClusterResponse, CliError> {
    let connection = Connection::open(addrs.current()).await?;
    let mut client = ClusterServiceClient::new(connection.channel());
    let cluster = client.get_cluster(proto::GetClusterRequest::default()).await;
    let cluster = cluster.map_err(|status| connection.explain(status.into()))?;
    Ok(cluster.into_inner())
}

/// The node at the address leaves. It is asked once: nobody else can do it in its place.
pub(super) async fn leave(addrs: &Addresses, timeout: Duration) -> Result<proto::LeaveResponse, CliError> {
    let left = async {
        let connection = Connection::open(addrs.current()).await?;
        let mut client = ClusterServiceClient::new(connection.channel());
        let mut request = Request::new(proto::LeaveRequest::default());
        request.set_timeout(timeout);
        let left = client.leave(request).await;
        let left = left.map_err(|status| connection.explain(status.into()))?;
        Ok(left.into_inner())
    };
    in_time(addrs.current(), timeout, left).await
}

async fn in_time<T>(
    addr: &impl std::fmt::Display,
    timeout: Duration,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let too_late = |_| CliError::NoAnswer {
        addr: addr.to_string(),
        waited: timeout,
        reason: "it does not speak as a node does".to_owned(),
    };
    time::timeout(timeout, work).await.map_err(too_late)?
}

/// Has the leader do it: asks whoever is at the addresses, and goes where that one says that the leader is. What was not done
/// for certain is tried again, as while a leader is being elected; of what may have been done, the error says so.
pub(in crate::cli) async fn at_leader<T, F>(
    addrs: &Addresses,
    timeout: Duration,
    call: impl Fn(ClusterServiceClient<Channel>, Duration) -> F,
) -> Result<T, CliError>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut addrs = addrs.clone();
    let deadline = clock::now() + timeout;
    let mut backoff = Backoff::new(Some(timeout));
    let mut connection = first_connection(&mut addrs).await?;
    loop {
        let within = deadline.saturating_duration_since(clock::now());
        let client = ClusterServiceClient::new(connection.channel());
        let called = time::timeout(within, call(client, within)).await;
        let error = match called {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) => connection.explain(status.into()),
            Err(_) => return Err(backoff.no_answer(addrs.current(), "it does not answer".to_owned())),
        };
        if !is_undone(&error) {
            return Err(error);
        }
        connection = reconnect(&mut addrs, &mut backoff, error).await?;
    }
}

async fn first_connection(addrs: &mut Addresses) -> Result<Connection, CliError> {
    for _ in 1..addrs.count() {
        if let Ok(connection) = Connection::open(addrs.current()).await {
            return Ok(connection);
        }
        addrs.turn();
    }
    Connection::open(addrs.current()).await
}

/// Whether the change was not made for certain.
fn is_undone(error: &CliError) -> bool {
    match error {
        CliError::Refused(refusal) => refusal.reason != "OUTCOME_UNKNOWN",
        _ => false,
    }
}
