//! A sample, for programs.

use serde::Serialize;

use crate::{net::cluster_json::role, proto::annals::v1::Presence};

use super::gather::{Node, Sample};

#[derive(Serialize)]
pub(super) struct JsonSample<'a> {
    cluster: &'a str,
    leader: Option<&'a str>,
    term: u64,
    nodes: Vec<JsonNode<'a>>,
}

#[derive(Serialize)]
struct JsonNode<'a> {
    node: &'a str,
    role: &'static str,
    voter: bool,
    term: Option<u64>,
    applied: Option<u64>,
    lag: Option<u64>,
    /// By gossip.
    reachable: bool,
    earliest: Option<u64>,
    high_watermark: Option<u64>,
    bytes: Option<u64>,
    records_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failsafe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_full: Option<&'a str>,
}

impl<'a> From<&'a Sample> for JsonSample<'a> {
    fn from(sample: &'a Sample) -> Self {
        Self {
            cluster: &sample.cluster.cluster_name,
            leader: sample.leader().map(|leader| leader.server.name.as_str()),
            term: sample.cluster.header.as_ref().map_or(0, |header| header.term),
            nodes: sample.nodes.iter().map(JsonNode::from).collect(),
        }
    }
}

impl<'a> From<&'a Node> for JsonNode<'a> {
    fn from(node: &'a Node) -> Self {
        let (server, log) = (&node.server, node.log.as_ref());
        Self {
            node: &server.name,
            role: role(server),
            voter: server.voter,
            term: server.term,
            applied: server.applied,
            lag: server.lag,
            reachable: server.presence() == Presence::Reachable,
            earliest: log.map(|log| log.earliest),
            high_watermark: log.map(|log| log.high_watermark),
            bytes: log.map(|log| log.bytes),
            records_per_second: node.records_per_second,
            problem: Some(server.problem.as_str()).filter(|problem| !problem.is_empty()),
            failsafe: log
                .map(|log| log.failsafe.as_str())
                .filter(|reason| !reason.is_empty()),
            storage_full: log
                .map(|log| log.storage_full.as_str())
                .filter(|how| !how.is_empty()),
        }
    }
}
