//! One client: its notes, whom it asks, and what it makes of a refusal.

use std::{future::Future, sync::Arc, time::Duration};

use annals::proto::annals::v1::{
    Failure, ProduceResponse, ResponseHeader, log_service_client::LogServiceClient,
};
use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use super::{BROKEN, Shared, TIMED_OUT, in_time, nodes::Member};
use crate::support::log_checker::{Answer, Moment, Node, Notes};

/// Where a refusal says who the leader is.
const LEADER_ADDRESS: &str = "leader_address";

/// A client.
pub(super) struct Caller {
    pub(super) shared: Arc<Shared>,
    pub(super) notes: Notes,
    number: usize,
    /// The node it asks, counted in the order in which they came.
    at: usize,
    /// The leader it was sent to, when that is none of the nodes it knows.
    elsewhere: Option<(Node, Channel)>,
}

/// One request to one node.
pub(super) struct Call {
    pub(super) node: Node,
    pub(super) client: LogServiceClient<Channel>,
    pub(super) began: Moment,
    /// As the nodes were when it began.
    members: Arc<Vec<Member>>,
}

/// Why a request was refused.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) reason: String,
    /// What the client should do differently.
    leader: Option<String>,
}

impl Caller {
    /// The client of this name; the number says which node it asks first.
    pub(super) fn new(shared: &Arc<Shared>, name: String, number: usize) -> Self {
        Self {
            shared: shared.clone(),
            notes: shared.recorder.client(name),
            number,
            at: number,
            elsewhere: None,
        }
    }

    /// A request that begins now.
    pub(super) fn call(&self) -> Call {
        let members = self.shared.nodes.members();
        assert!(!members.is_empty(), "clients need at least one node");
        let (node, client) = match &self.elsewhere {
            Some((node, channel)) => (node.clone(), LogServiceClient::new(channel.clone())),
            None => {
                let member = &members[self.at % members.len()];
                (member.node.clone(), member.client(self.number))
            }
        };
        Call {
            node,
            client,
            began: self.notes.now(),
            members,
        }
    }

    /// The next request goes to the next node.
    pub(super) fn move_on(&mut self) {
        self.elsewhere = None;
        self.at += 1;
    }

    /// The next request goes where the refusal says, to the next node, or again to this one.
    pub(super) fn follow(&mut self, refused: &Refused) {
        if let Some(leader) = &refused.leader {
            let members = self.shared.nodes.members();
            match members.iter().position(|member| member.address == *leader) {
                Some(at) => (self.at, self.elsewhere) = (at, None),
                None => self.elsewhere = Some((Node::new(leader, 0), self.shared.nodes.connect(leader))),
            }
        } else if refused.moves_on() {
            self.move_on();
        }
    }

    /// The answer, or a status of our own when there is none for so long that the client goes.
    ///
    /// Panics: when there is none for longer than any takes, and the client would wait for ever.
    pub(super) async fn ask<T>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        match self.shared.kinds.patience {
            None => in_time(what, answer).await,
            Some(patience) => {
                let in_time = timeout(patience, answer).await;
                in_time.unwrap_or_else(|_| Err(out_of_patience(patience)))
            }
        }
    }

    /// Notes the high watermark of a response, for whoever made it; answers it.
    pub(super) fn heard(&self, call: &Call, header: Option<&ResponseHeader>) -> u64 {
        let header = header.expect("every response has a header");
        let of_then = call.members.iter().find(|member| member.has_id(header.node_id));
        let members = self.shared.nodes.members();
        let of_now = members.iter().find(|member| member.has_id(header.node_id));
        // When it has been restarted meanwhile, nobody knows which life told it.
        if let (Some(then), Some(now)) = (of_then, of_now)
            && then.node == now.node
        {
            self.notes
                .watermark(now.node.clone(), call.began, header.high_watermark);
        }
        header.high_watermark
    }

    /// The same for a response that the node which was asked made itself, as it does to reads.
    pub(super) fn heard_itself(&self, call: &Call, header: Option<&ResponseHeader>) -> u64 {
        let asked = call.members.iter().find(|member| member.node == call.node);
        if let (Some(member), Some(header)) = (asked, header) {
            member.introduced(header.node_id);
        }
        self.heard(call, header)
    }
}

/// What an acknowledgement of `count` records from `first_offset` on says.
pub(super) fn acknowledged(response: &ProduceResponse, first_offset: u64, count: usize) -> Answer {
    let header = response.header.as_ref().expect("every response has a header");
    let by_leader = header.node_id == header.leader_id;
    Answer::Acknowledged {
        first_offset,
        next_offset: first_offset + count as u64,
        leader_watermark: by_leader.then_some(header.high_watermark),
    }
}

/// What a client says itself when nobody else does.
pub(super) fn out_of_patience(patience: Duration) -> Status {
    Status::deadline_exceeded(format!("not within {patience:?}"))
}

impl Refused {
    /// Nothing of the request was stored, or nobody knows.
    pub(super) fn answer(&self) -> Answer {
        match self.reason.as_str() {
            "NOT_LEADER" | "NO_LEADER" | "NO_CLUSTER" | "LOG_NOT_READY" | "OVERLOADED" | "STORAGE_FULL"
            | "FAILSAFE" | "REMOVED" | "OUT_OF_ORDER" | "UNKNOWN_PRODUCER" => Answer::Failed,
            // The last two: it is stored, nobody knows any longer where.
            "OUTCOME_UNKNOWN" | "SHUTTING_DOWN" | BROKEN | TIMED_OUT | "REPEATED" | "REPEATED_LONG_AGO" => {
                Answer::Unknown
            }
            other => panic!("no producer here deserves {other}"),
        }
    }

    /// It is stored, and there is nothing to try any more.
    pub(super) fn is_repeated(&self) -> bool {
        matches!(self.reason.as_str(), "REPEATED" | "REPEATED_LONG_AGO")
    }

    /// It says which node would do better.
    pub(super) fn names_leader(&self) -> bool {
        self.leader.is_some()
    }

    /// Another node may do better.
    pub(super) fn moves_on(&self) -> bool {
        self.names_leader()
            || !matches!(
                self.reason.as_str(),
                "OVERLOADED" | "OUT_OF_ORDER" | "UNKNOWN_PRODUCER"
            )
    }
}

impl From<&Status> for Refused {
    fn from(status: &Status) -> Self {
        match status.get_details_error_info() {
            Some(mut info) => Self {
                leader: info
                    .metadata
                    .remove(LEADER_ADDRESS)
                    .filter(|leader| !leader.is_empty()),
                reason: info.reason,
            },
            None => Self {
                reason: if status.code() == Code::DeadlineExceeded {
                    TIMED_OUT
                } else {
                    BROKEN
                }
                .to_owned(),
                leader: None,
            },
        }
    }
}

impl From<&Failure> for Refused {
    fn from(failure: &Failure) -> Self {
        let leader = failure.metadata.get(LEADER_ADDRESS);
        Self {
            reason: failure.reason.clone(),
            leader: leader.filter(|leader| !leader.is_empty()).cloned(),
        }
    }
}
