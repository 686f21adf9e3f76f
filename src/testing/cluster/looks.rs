//! How a cluster stands.

use std::{cell::Cell, net::SocketAddr, time::Duration};

use futures::future::join_all;
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{Place, TestCluster, TestNode, until};
use crate::{
    client::Client,
    proto::annals::v1::{
        ConsumeRequest, DescribeLogRequest, ReadLevel, ResponseHeader, Start, start::Position,
    },
    types::NodeId,
};

/// A node here answers within this what it can answer by itself.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(2);

impl TestCluster {
    /// A node that runs.
    ///
    /// Panics: it does not.
    #[must_use]
    pub fn node(&self, number: usize) -> &TestNode {
        let spot = &self.spots[number];
        spot.node
            .as_ref()
            .unwrap_or_else(|| panic!("{} does not run", spot.name))
    }

    /// What a node is called: `node-0` and so on.
    #[must_use]
    pub fn name(&self, number: usize) -> &str {
        &self.spots[number].name
    }

    /// Which node it is, by the id in its data directory.
    ///
    /// Panics: it has never run.
    #[must_use]
    pub fn id(&self, number: usize) -> NodeId {
        let spot = &self.spots[number];
        spot.id.unwrap_or_else(|| panic!("{} has never run", spot.name))
    }

    /// Where a node keeps its data.
    #[must_use]
    pub fn place(&self, number: usize) -> &Place {
        &self.spots[number].place
    }

    /// Where clients find a node that runs.
    ///
    /// Panics: it does not.
    #[must_use]
    pub fn address(&self, number: usize) -> SocketAddr {
        self.node(number).addresses.rpc
    }

    /// Where clients find those that run, by number.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let running = self.running().into_iter();
        running.map(|number| self.address(number)).collect()
    }

    /// A client of the cluster, which finds a node that was started again elsewhere by those that run on. For clusters without TLS.
    ///
    /// Panics: no node runs.
    #[must_use]
    pub fn client(&self) -> Client {
        let client = Client::builder().addresses(self.addresses()).build();
        client.expect("there is an address, and it is one")
    }

    /// The numbers of those that run.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        let numbers = 0..self.spots.len();
        numbers
            .filter(|number| self.spots[*number].node.is_some())
            .collect()
    }

    /// The numbers of all others that have ever run.
    #[must_use]
    pub fn others(&self, number: usize) -> Vec<usize> {
        let numbers = 0..self.spots.len();
        numbers
            .filter(|other| *other != number && self.spots[*other].id.is_some())
            .collect()
    }

    /// Waits until a node leads: a majority of the voters, which reach it, say so, and it says so itself. One that was cut off does
    /// not, whatever it believes.
    ///
    /// Panics: none does.
    pub async fn leader(&self) -> usize {
        let leader = Cell::new(None);
        until("a leader", async || {
            leader.set(self.leader_now().await);
            leader.get().is_some()
        })
        .await;
        leader.get().expect("waited for it")
    }

    async fn leader_now(&self) -> Option<usize> {
        let running = self.running();
        let headers = join_all(running.iter().map(|number| self.header(*number))).await;
        let told = |number: usize| -> Option<NodeId> {
            let at = running.iter().position(|running| *running == number)?;
            headers[at].as_ref().map(|header| NodeId(header.leader_id))
        };
        let leads = |candidate: &usize| {
            let id = self.id(*candidate);
            let members = self.node(*candidate).refs.cluster.state().members;
            let voters = members.values().filter(|member| member.voter).count();
            let agree = running.iter().filter(|number| {
                let votes = members.get(&self.id(**number)).is_some_and(|member| member.voter);
                votes && told(**number) == Some(id) && self.reach_each_other(*candidate, **number)
            });
            told(*candidate) == Some(id) && agree.count() * 2 > voters
        };
        running.iter().copied().find(leads)
    }

    /// Waits until a node has all that was acknowledged before this was called, by whomever; answers the first offset that is not
    /// readable there.
    ///
    /// Panics: it does not get there, as one that is cut off.
    pub async fn caught_up(&self, number: usize) -> u64 {
        let watermark = Cell::new(None);
        until(&format!("{} to have caught up", self.name(number)), async || {
            watermark.set(self.linearizable_read(number).await.ok());
            watermark.get().is_some()
        })
        .await;
        watermark.get().expect("waited for it")
    }

    /// What a node says at the top of its answers; `None`: it does not answer now.
    pub async fn header(&self, number: usize) -> Option<ResponseHeader> {
        let mut client = self.node(number).client();
        let described = client.describe_log(DescribeLogRequest::default());
        let described = timeout(ANSWER_WITHIN, described).await.ok()?.ok()?;
        described.into_inner().header
    }

    /// Whom a node takes for the leader.
    pub async fn leader_of(&self, number: usize) -> Option<NodeId> {
        let header = self.header(number).await?;
        (header.leader_id != 0).then_some(NodeId(header.leader_id))
    }

    /// Waits until all of these nodes say that the same one of them leads, and answers which.
    ///
    /// Panics: they never do.
    pub async fn until_led_among(&self, numbers: &[usize]) -> usize {
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
    ///
    /// Panics: they never do.
    pub async fn until_led(&self) -> usize {
        self.until_led_among(&self.running()).await
    }

    /// Some node that runs and is not this one.
    ///
    /// Panics: there is none.
    #[must_use]
    pub fn follower(&self, leader: usize) -> usize {
        let other = self.running().into_iter().find(|number| *number != leader);
        other.expect("there is more than one")
    }

    /// What a linearizable read at a node says: the first offset that is not readable; or the reason why not.
    ///
    /// Errors: the reason of the refusal.
    pub async fn linearizable_read(&self, number: usize) -> Result<u64, String> {
        self.read(number, ReadLevel::Linearizable).await
    }

    /// The same of a local read.
    ///
    /// Errors: the reason of the refusal.
    pub async fn local_read(&self, number: usize) -> Result<u64, String> {
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
    ///
    /// Panics: it does not run.
    #[must_use]
    pub fn high_watermark(&self, number: usize) -> u64 {
        self.node(number).refs.read_path.high_watermark().get()
    }

    /// Waits until all nodes that run have the same committed records.
    ///
    /// Panics: they never have.
    pub async fn until_level(&self) {
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

/// The reason of a refusal; in parentheses, what a status without our details is.
pub(super) fn reason_of(status: &Status) -> String {
    let details = status.get_details_error_info();
    let without = match status.code() {
        Code::DeadlineExceeded => "(timeout)",
        _ => "(connection)",
    };
    details.map_or_else(|| without.to_owned(), |details| details.reason)
}
