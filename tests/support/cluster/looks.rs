//! How a cluster of tests stands.

use std::{cell::Cell, time::Duration};

use annals::{
    proto::annals::v1::{
        ConsumeRequest, DescribeLogRequest, ReadLevel, ResponseHeader, Start, start::Position,
    },
    types::NodeId,
};
use tokio::time::timeout;
use tonic::Status;

use super::Cluster;
use crate::support::{
    load::reason_of,
    node::{TestNode, until},
};

/// A node here answers within this what it can answer by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

impl Cluster {
    pub(crate) fn node(&self, number: usize) -> &TestNode {
        let spot = &self.spots[number];
        spot.node
            .as_ref()
            .unwrap_or_else(|| panic!("{} does not run", spot.name))
    }

    pub(crate) fn name(&self, number: usize) -> &str {
        &self.spots[number].name
    }

    pub(crate) fn id(&self, number: usize) -> NodeId {
        let spot = &self.spots[number];
        spot.id.unwrap_or_else(|| panic!("{} has never run", spot.name))
    }

    /// The numbers of those that run.
    pub(crate) fn running(&self) -> Vec<usize> {
        let numbers = 0..self.spots.len();
        numbers
            .filter(|number| self.spots[*number].node.is_some())
            .collect()
    }

    /// The numbers of all others that have ever run.
    pub(crate) fn others(&self, number: usize) -> Vec<usize> {
        let numbers = 0..self.spots.len();
        numbers
            .filter(|other| *other != number && self.spots[*other].id.is_some())
            .collect()
    }

    /// What a node says at the top of its answers; `None`: it does not answer now.
    pub(crate) async fn header(&self, number: usize) -> Option<ResponseHeader> {
        let mut client = self.node(number).client();
        let described = client.describe_log(DescribeLogRequest::default());
        let described = timeout(ANSWER_WITHIN, described).await.ok()?.ok()?;
        described.into_inner().header
    }

    /// Whom a node takes for the leader.
    pub(crate) async fn leader_of(&self, number: usize) -> Option<NodeId> {
        let header = self.header(number).await?;
        (header.leader_id != 0).then_some(NodeId(header.leader_id))
    }

    /// Waits until all of these nodes say that the same one of them leads, and answers which.
    pub(crate) async fn until_led_among(&self, numbers: &[usize]) -> usize {
        let leader = Cell::new(None);
        until(&format!("a leader among {numbers:?}"), async || {
            leader.set(self.led_among(numbers).await);
            leader.get().is_some()
        })
        .await;
        leader.get().expect("waited for it")
    }

    async fn led_among(&self, numbers: &[usize]) -> Option<usize> {
        let mut leader = None;
        for number in numbers {
            let told = self.leader_of(*number).await?;
            if leader.is_some_and(|leader| leader != told) {
                return None;
            }
            leader = Some(told);
        }
        numbers
            .iter()
            .copied()
            .find(|number| Some(self.id(*number)) == leader)
    }

    /// The same of all that run.
    pub(crate) async fn until_led(&self) -> usize {
        self.until_led_among(&self.running()).await
    }

    /// Some node that runs and is not this one.
    pub(crate) fn follower(&self, leader: usize) -> usize {
        let other = self.running().into_iter().find(|number| *number != leader);
        other.expect("there is more than one")
    }

    /// What a linearizable read at a node says: the watermark, or why not.
    pub(crate) async fn linearizable_read(&self, number: usize) -> Result<u64, String> {
        self.read(number, ReadLevel::Linearizable).await
    }

    /// The same of a local read.
    pub(crate) async fn local_read(&self, number: usize) -> Result<u64, String> {
        self.read(number, ReadLevel::Local).await
    }

    async fn read(&self, number: usize, level: ReadLevel) -> Result<u64, String> {
        let request = ConsumeRequest {
            start: Some(Start {
                position: Some(Position::Latest(true)),
            }),
            read_level: level.into(),
            ..ConsumeRequest::default()
        };
        let mut client = self.node(number).client();
        let answer = timeout(ANSWER_WITHIN, client.consume(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        let response = answer.map_err(|status| reason_of(&status))?;
        let header = response.into_inner().header;
        Ok(header.expect("every response has a header").high_watermark)
    }

    /// The first offset that is not readable at a node.
    pub(crate) fn high_watermark(&self, number: usize) -> u64 {
        self.node(number).refs.read_path.high_watermark().get()
    }

    /// Waits until all nodes that run have the same committed records.
    pub(crate) async fn until_level(&self) {
        until("all nodes to have the same", async || {
            let watermarks: Vec<_> = self
                .running()
                .into_iter()
                .map(|number| self.high_watermark(number))
                .collect();
            watermarks.windows(2).all(|pair| pair[0] == pair[1])
        })
        .await;
    }
}
