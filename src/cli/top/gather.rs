//! What is shown: the cluster as one node tells it, and of each node what only that knows.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::time;

use crate::{
    client::Client,
    clock,
    proto::annals::v1::{DescribeLogResponse, GetClusterResponse, Role, Server},
};

use super::super::{cluster::call::get_cluster, connect::Target, error::CliError};

/// The cluster at one time.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) taken: Instant,
    pub(super) cluster: GetClusterResponse,
    /// By name.
    pub(super) nodes: Vec<Node>,
}

/// A node at one time.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) server: Server,
    /// By its own word, if it gave one.
    pub(super) log: Option<DescribeLogResponse>,
    /// How fast its high watermark rises.
    pub(super) records_per_second: Option<f64>,
}

impl Sample {
    /// The node that leads.
    pub(super) fn leader(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| node.server.role() == Role::Leader)
    }
}

/// Asks again and again, over connections that it keeps.
pub(super) struct Gatherer {
    client: Client,
    target: Target,
    within: Duration,
    /// By address.
    nodes: HashMap<String, Client>,
}

impl Gatherer {
    /// Of the cluster there. A node that does not answer `within` that time is passed over.
    ///
    /// Blocking, Errors: as [`Target::client`].
    pub(super) fn new(target: &Target, within: Duration) -> Result<Self, CliError> {
        let several = u32::try_from(target.count()).unwrap_or(u32::MAX);
        Ok(Self {
            client: target.client(within.saturating_mul(several))?,
            target: target.clone(),
            within,
            nodes: HashMap::new(),
        })
    }

    /// The cluster now, and how fast it has moved since `before`.
    ///
    /// Errors: no node at the addresses tells. Cancel: safe.
    pub(super) async fn sample(&mut self, before: Option<&Sample>) -> Result<Sample, CliError> {
        let cluster = get_cluster(&self.client).await?;
        let described = join_all(cluster.servers.iter().map(|server| self.describe(server))).await;
        let taken = clock::now();
        let mut nodes = Vec::with_capacity(cluster.servers.len());
        self.nodes.clear();
        for (server, described) in cluster.servers.iter().zip(described) {
            let log = described.map(|(client, log)| {
                self.nodes.insert(server.address.clone(), client);
                log
            });
            let mut node = Node {
                server: server.clone(),
                log,
                records_per_second: None,
            };
            node.records_per_second = before.and_then(|before| node.rate_since(before, taken));
            nodes.push(node);
        }
        Ok(Sample {
            taken,
            cluster,
            nodes,
        })
    }

    /// What a node says of its log, and whom it was asked through; `None` when it says nothing in time.
    async fn describe(&self, server: &Server) -> Option<(Client, DescribeLogResponse)> {
        if server.address.is_empty() {
            return None;
        }
        let client = match self.nodes.get(&server.address) {
            Some(client) => client.clone(),
            None => self.target.client_at(server.address.as_str(), self.within).ok()?,
        };
        let log = time::timeout(self.within, client.describe()).await.ok()?.ok()?;
        // Another node may be behind the address meanwhile.
        let is_it = log
            .header
            .as_ref()
            .is_some_and(|header| header.node_id == server.node_id);
        is_it.then_some((client, log))
    }
}

impl Node {
    /// Records a second since then; `None` where one of both numbers is not known.
    fn rate_since(&self, before: &Sample, taken: Instant) -> Option<f64> {
        let id = self.server.node_id;
        let then = before
            .nodes
            .iter()
            .find(|node| node.server.node_id == id)?
            .log
            .as_ref()?;
        let now = self.log.as_ref()?;
        let seconds = taken.saturating_duration_since(before.taken).as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate that people read needs no 53 bits"
        )]
        let records = now.high_watermark.saturating_sub(then.high_watermark) as f64;
        (seconds > 0.0).then(|| records / seconds)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::proto::annals::v1::{Presence, ResponseHeader};

    pub(in crate::cli::top) fn node(name: &str, id: u64, role: Role, high_watermark: u64) -> Node {
        Node {
            server: Server {
                node_id: id,
                name: name.to_owned(),
                role: role.into(),
                voter: true,
                presence: Presence::Reachable.into(),
                answered: true,
                lag: Some(id),
                ..Server::default()
            },
            log: Some(DescribeLogResponse {
                high_watermark,
                bytes: 4096,
                ..DescribeLogResponse::default()
            }),
            records_per_second: None,
        }
    }

    pub(in crate::cli::top) fn sample(nodes: Vec<Node>) -> Sample {
        Sample {
            taken: clock::now(),
            cluster: GetClusterResponse {
                header: Some(ResponseHeader {
                    term: 4,
                    ..ResponseHeader::default()
                }),
                cluster_name: "orders".to_owned(),
                ..GetClusterResponse::default()
            },
            nodes,
        }
    }

    #[test]
    fn a_rate_is_how_far_the_high_watermark_rose() {
        let before = sample(vec![node("a", 1, Role::Leader, 100)]);
        let later = before.taken + Duration::from_secs(2);
        let rate = |node: Node| node.rate_since(&before, later);
        assert_eq!(rate(node("a", 1, Role::Leader, 300)), Some(100.0));
        assert_eq!(rate(node("a", 1, Role::Leader, 50)), Some(0.0));
        assert_eq!(rate(node("b", 2, Role::Follower, 300)), None);
        assert_eq!(
            node("a", 1, Role::Leader, 300).rate_since(&before, before.taken),
            None
        );
        let silent = Node {
            log: None,
            ..node("a", 1, Role::Leader, 0)
        };
        assert_eq!(rate(silent), None);
    }
}
