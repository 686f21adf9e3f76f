//! The cluster as JSON: what `annals cluster status -o json` prints and `GET /v1/cluster` answers.

use serde::Serialize;

use crate::proto::annals::v1::{GetClusterResponse, Presence, Role, Server};

/// What is not known.
const UNKNOWN: &str = "-";

/// The cluster.
#[derive(Debug, Serialize)]
pub struct JsonCluster<'a> {
    cluster: &'a str,
    cluster_id: &'a str,
    term: u64,
    leader: Option<&'a str>,
    leader_address: Option<&'a str>,
    changing: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<&'a str>,
    /// The node that answers was removed, by this entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_at: Option<u64>,
    nodes: Vec<JsonServer<'a>>,
}

impl<'a> JsonCluster<'a> {
    /// What a node says of its cluster.
    #[must_use]
    pub fn of(cluster: &'a GetClusterResponse) -> Self {
        let header = cluster.header.as_ref();
        let mut servers = cluster.servers.iter();
        let leader = servers.find(|server| server.role() == Role::Leader);
        Self {
            cluster: &cluster.cluster_name,
            cluster_id: header.map_or("", |header| &header.cluster_id),
            term: header.map_or(0, |header| header.term),
            leader: leader.map(|leader| leader.name.as_str()),
            leader_address: said(&cluster.leader_address),
            changing: cluster.changing,
            waiting: said(&cluster.waiting),
            removed_at: cluster.removed_at,
            nodes: cluster.servers.iter().map(JsonServer::from).collect(),
        }
    }
}

fn said(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A node of it.
#[derive(Debug, Serialize)]
pub struct JsonServer<'a> {
    node: &'a str,
    /// As text: it is larger than what a JSON number keeps in most programs.
    id: String,
    address: &'a str,
    role: &'static str,
    voter: bool,
    term: Option<u64>,
    applied: Option<u64>,
    matched: Option<u64>,
    lag: Option<u64>,
    /// By gossip.
    reachable: bool,
    /// It answered the node that was asked.
    answered: bool,
    last_contact_ms: Option<u64>,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

impl<'a> From<&'a Server> for JsonServer<'a> {
    fn from(server: &'a Server) -> Self {
        Self {
            node: &server.name,
            id: server.node_id.to_string(),
            address: &server.address,
            role: role(server),
            voter: server.voter,
            term: server.term,
            applied: server.applied,
            matched: server.matched,
            lag: server.lag,
            reachable: server.presence() == Presence::Reachable,
            answered: server.answered,
            last_contact_ms: server.last_contact_ms,
            version: &server.version,
            problem: said(&server.problem),
        }
    }
}

/// What a node is in the cluster.
#[must_use]
pub fn role(server: &Server) -> &'static str {
    match server.role() {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Learner => "learner",
        Role::Outsider => "outsider",
        Role::Unspecified => UNKNOWN,
    }
}
