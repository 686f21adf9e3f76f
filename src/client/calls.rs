//! Calls with one answer: to the node that fits, and to another one when that helps.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time;

use crate::proto::{annals::v1, raw};

use super::{
    connection::Connection,
    error::{Error, ErrorKind, in_tenths},
    node::Node,
    router::{Need, Router},
    tries::Tries,
};

/// What it means to make a call twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Twice {
    /// Nothing: it reads.
    Nothing,
    /// The same as once.
    Same,
    /// Something is done twice: a call that may have been done is not made again.
    Differs,
}

/// A node that says nothing for so long is passed over for a while. Whoever has less time than that learns nothing about it.
const SILENT_FOR: Duration = Duration::from_secs(2);

/// An answer that says who gave it.
pub(crate) trait Answer {
    /// Who.
    fn header(&self) -> Option<v1::ResponseHeader>;
}

macro_rules! answers {
    ($($answer:ty),* $(,)?) => {
        $(impl Answer for $answer {
            fn header(&self) -> Option<v1::ResponseHeader> {
                self.header.clone()
            }
        })*
    };
}

answers!(
    v1::ProduceResponse,
    v1::DescribeLogResponse,
    v1::GetClusterResponse,
    v1::AddServerResponse,
    v1::RemoveServerResponse,
    v1::TransferLeaderResponse,
    v1::LeaveResponse,
    v1::TrimResponse,
    v1::TakeCursorResponse,
    v1::CommitCursorResponse,
    v1::GetCursorResponse,
    v1::ListCursorsResponse,
    v1::DeleteCursorResponse,
);

impl Answer for raw::annals::v1::ConsumeResponse {
    fn header(&self) -> Option<v1::ResponseHeader> {
        let header = self.header.clone()?;
        // The server's view has the same fields.
        Some(v1::ResponseHeader {
            cluster_id: header.cluster_id,
            node_id: header.node_id,
            leader_id: header.leader_id,
            term: header.term,
            high_watermark: header.high_watermark,
        })
    }
}

impl Router {
    /// Makes the call at a node that fits `need`; the closure is given the connection, and the time that is left.
    ///
    /// Errors: what the node says that no other try changes, and that it may have been done, when it was tried; otherwise `NoNode`
    /// or `NoAnswer`, within that time. Cancel: it may have been done.
    pub(crate) async fn call<T, F>(
        self: &Arc<Self>,
        need: Need,
        within: Duration,
        twice: Twice,
        call: impl Fn(Connection, Duration) -> F,
    ) -> Result<T, Error>
    where
        T: Answer,
        F: Future<Output = Result<T, Error>>,
    {
        let mut tries = Tries::new(Arc::clone(self), Some(within));
        let mut node = tries.first(need);
        let mut in_doubt = false;
        loop {
            let error = match self.try_call(&tries, &node, need, twice, &call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            in_doubt |= twice != Twice::Nothing && !error.has_no_side_effects();
            if twice == Twice::Differs && in_doubt {
                return Err(tries.given_up(error).in_doubt(true));
            }
            let next = tries.next(need, &node, error).await;
            node = next.map_err(|error| match twice {
                Twice::Nothing => error.without_effects(),
                Twice::Same | Twice::Differs => error.in_doubt(in_doubt),
            })?;
        }
    }

    async fn try_call<T, F>(
        &self,
        tries: &Tries,
        node: &Arc<Node>,
        need: Need,
        twice: Twice,
        call: &impl Fn(Connection, Duration) -> F,
    ) -> Result<T, Error>
    where
        T: Answer,
        F: Future<Output = Result<T, Error>>,
    {
        let _use = node.begin_use();
        let connection = tries.connect(node).await?;
        let left = tries.backoff.left().unwrap_or(self.settings.within);
        // What must not be done twice has but one try, which may take as long as there is time.
        let within = match twice {
            Twice::Nothing | Twice::Same => tries.share(left),
            Twice::Differs => left,
        };
        let answered = tokio::select! {
            answered = time::timeout(within, call(connection.clone(), within)) => answered,
            // Another node may answer; but what must not be done twice may yet be answered by this one.
            error = connection.silence(), if twice != Twice::Differs => return Err(error),
        };
        match answered {
            Ok(Ok(answer)) => {
                // What another cluster has done is done.
                self.heard(node, answer.header().as_ref())
                    .map_err(|error| error.in_doubt(true))?;
                Ok(answer)
            }
            Ok(Err(error)) => {
                self.note(node, &connection, &error);
                Err(error)
            }
            Err(_) => {
                let error = Error::new(ErrorKind::NoAnswer {
                    address: node.address.to_string(),
                    waited: in_tenths(within),
                    reason: connection.silent_reason().to_owned(),
                });
                // Nor is one silent that waits for what it lacks, as it was asked to.
                let waits = matches!(need, Need::Below(offset) if !node.has(offset));
                if within >= SILENT_FOR && !waits {
                    node.lost(&connection, &error);
                }
                Err(error)
            }
        }
    }

    /// What an error of a call says about the node.
    pub(crate) fn note(&self, node: &Node, connection: &Connection, error: &Error) {
        match error.kind() {
            ErrorKind::Lost { .. } | ErrorKind::Stranger { .. } | ErrorKind::Tls { .. } => {
                node.lost(connection, error)
            }
            ErrorKind::Refused(_) => node.answered(),
            _ => {}
        }
    }
}
