//! The first words with a node: whether it is one, and whether its log is the one from before.

use std::time::Duration;

use tokio::time;

use crate::proto::annals::v1::{DescribeLogResponse, ResponseHeader};

use super::{
    connect::{Address, Connection},
    error::{CliError, LogChange},
    reconnect::{Backoff, reconnect},
};

/// For the verbs that have no `--timeout`: much longer than any node takes that is up.
pub(super) const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Connects and asks about the log, once. What takes connections and is no node is found out here.
///
/// Errors: `CannotConnect`; `NoAnswer` when all of it takes longer than `timeout`; `Lost`; a refusal. Cancel: safe.
pub(super) async fn first_contact(
    addr: &Address,
    timeout: Duration,
) -> Result<(Connection, DescribeLogResponse), CliError> {
    let contact = async {
        let connection = Connection::open(addr).await?;
        let log = connection.describe_log().await?;
        Ok((connection, log))
    };
    let too_late = |_| CliError::NoAnswer {
        addr: addr.to_string(),
        waited: timeout,
        reason: "it does not speak as a node does".to_owned(),
    };
    time::timeout(timeout, contact).await.map_err(too_late)?
}

/// The log that a verb is at work on, as its answers tell it.
#[derive(Debug)]
pub(super) struct KnownLog {
    addr: Address,
    /// Empty until an answer names it.
    cluster_id: String,
    /// All offsets below it were seen to be taken.
    reached: u64,
}

impl KnownLog {
    /// Nothing is known of it.
    pub(super) fn new(addr: Address) -> Self {
        Self {
            addr,
            cluster_id: String::new(),
            reached: 0,
        }
    }

    /// The log was seen to go on up to `offset`.
    pub(super) fn reach(&mut self, offset: u64) {
        self.reached = self.reached.max(offset);
    }

    /// Compares who answers with who answered before.
    ///
    /// Errors: `OtherLog`.
    pub(super) fn check_header(&mut self, cluster_id: &str) -> Result<(), CliError> {
        if self.cluster_id.is_empty() {
            cluster_id.clone_into(&mut self.cluster_id);
        }
        if cluster_id.is_empty() || cluster_id == self.cluster_id {
            return Ok(());
        }
        Err(self.other(LogChange::Cluster {
            before: self.cluster_id.clone(),
            now: cluster_id.to_owned(),
        }))
    }

    /// Compares the log that is there with the one from before.
    ///
    /// Errors: `OtherLog`.
    pub(super) fn check(&mut self, log: &DescribeLogResponse) -> Result<(), CliError> {
        let cluster_id = log
            .header
            .as_ref()
            .map(|ResponseHeader { cluster_id, .. }| cluster_id.as_str());
        self.check_header(cluster_id.unwrap_or_default())?;
        if log.high_watermark < self.reached {
            return Err(self.other(LogChange::Shorter {
                reached: self.reached,
                high_watermark: log.high_watermark,
            }));
        }
        Ok(())
    }

    fn other(&self, change: LogChange) -> CliError {
        CliError::OtherLog {
            addr: self.addr.to_string(),
            change,
        }
    }

    /// Waits after `error`, and connects again, until the log is found to be there or it is time to give up. Each try
    /// has `timeout` to be answered.
    ///
    /// Errors: those of `reconnect`; `OtherLog`. Cancel: safe.
    pub(super) async fn return_to(
        &mut self,
        backoff: &mut Backoff,
        timeout: Duration,
        mut error: CliError,
    ) -> Result<(Connection, DescribeLogResponse), CliError> {
        loop {
            let connection = reconnect(&self.addr, backoff, error).await?;
            error = match time::timeout(timeout, connection.describe_log()).await {
                Ok(Ok(log)) => {
                    self.check(&log)?;
                    return Ok((connection, log));
                }
                Ok(Err(next)) => next,
                Err(_) => CliError::Lost {
                    reason: "it takes the connection and does not answer".to_owned(),
                },
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(cluster_id: &str, high_watermark: u64) -> DescribeLogResponse {
        DescribeLogResponse {
            header: Some(ResponseHeader {
                cluster_id: cluster_id.to_owned(),
                ..Default::default()
            }),
            high_watermark,
            ..Default::default()
        }
    }

    #[test]
    fn another_cluster_and_a_log_that_shrank_are_another_log() {
        let mut known = KnownLog::new("127.0.0.1:1".parse().expect("it is an address"));
        known.check(&log("a", 5)).expect("nothing was known before");
        known.reach(7);
        known.check_header("").expect("who says nothing is nobody else");
        known.check(&log("a", 7)).expect("it is as long as it was");
        let shorter = LogChange::Shorter {
            reached: 7,
            high_watermark: 6,
        };
        assert!(
            matches!(known.check(&log("a", 6)), Err(CliError::OtherLog { change, .. }) if change == shorter)
        );
        let other = LogChange::Cluster {
            before: "a".to_owned(),
            now: "b".to_owned(),
        };
        assert!(
            matches!(known.check(&log("b", 9)), Err(CliError::OtherLog { change, .. }) if change == other)
        );
    }
}
