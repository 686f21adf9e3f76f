//! The first words with a node: whether it is one, and whether its log is the one from before.

use std::time::{Duration, Instant};

use tokio::time;

use crate::{
    clock,
    proto::annals::v1::{DescribeLogResponse, ResponseHeader},
};

use super::{
    addresses::Addresses,
    connect::{Address, Connection},
    error::{CliError, LogChange},
    reconnect::{Backoff, reconnect},
};

/// For the verbs that have no `--timeout`: much longer than any node takes that is up.
pub(super) const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a node of the same cluster may be behind what was seen elsewhere: after an election it is, for a moment. One that
/// was restored from an old backup stays so.
const BEHIND_FOR: Duration = Duration::from_secs(10);

/// Connects and asks about the log, once: the first of the addresses where that works, all of them within `timeout`. What
/// takes connections and is no node is found out here.
///
/// Errors: that of the last address, which is `CannotConnect` of all of them when no connection came about. Cancel: safe.
pub(super) async fn first_contact(
    addrs: &mut Addresses,
    timeout: Duration,
) -> Result<(Connection, DescribeLogResponse), CliError> {
    let count = addrs.count();
    let each = timeout / u32::try_from(count).unwrap_or(u32::MAX);
    for _ in 1..count {
        if let Ok(found) = contact(addrs.current(), each).await {
            return Ok(found);
        }
        addrs.turn();
    }
    match contact(addrs.current(), each).await {
        Err(CliError::CannotConnect { reason, .. }) => Err(CliError::CannotConnect {
            addr: addrs.to_string(),
            reason,
        }),
        last => last,
    }
}

async fn contact(addr: &Address, timeout: Duration) -> Result<(Connection, DescribeLogResponse), CliError> {
    let contact = async {
        let connection = Connection::open(addr).await?;
        let log = connection
            .describe_log()
            .await
            .map_err(|error| connection.explain(error))?;
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
    addrs: Addresses,
    /// Empty until an answer names it.
    cluster_id: String,
    /// All offsets below it were seen to be taken.
    reached: u64,
    /// Since when nodes of the cluster were found to end before that.
    behind_since: Option<Instant>,
}

impl KnownLog {
    /// Nothing is known of it.
    pub(super) fn new(addrs: Addresses) -> Self {
        Self {
            addrs,
            cluster_id: String::new(),
            reached: 0,
            behind_since: None,
        }
    }

    /// Where it is.
    pub(super) fn addrs(&self) -> &Addresses {
        &self.addrs
    }

    /// The first connection to it.
    ///
    /// Errors: those of `first_contact`; `OtherLog`. Cancel: safe.
    pub(super) async fn connect(
        &mut self,
        timeout: Duration,
    ) -> Result<(Connection, DescribeLogResponse), CliError> {
        let (connection, log) = first_contact(&mut self.addrs, timeout).await?;
        self.check(&log)?;
        Ok((connection, log))
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

    /// A node of the same cluster that is behind is tried again for a while.
    ///
    /// Errors: `other`, when it is another log for certain.
    fn unless_behind(&mut self, other: CliError) -> Result<CliError, CliError> {
        let CliError::OtherLog {
            change: LogChange::Shorter { .. },
            ..
        } = other
        else {
            return Err(other);
        };
        let since = *self.behind_since.get_or_insert_with(clock::now);
        if self.cluster_id.is_empty() || clock::now() - since >= BEHIND_FOR {
            return Err(other);
        }
        Ok(CliError::Lost {
            reason: format!("{other}; it may only be behind"),
        })
    }

    fn other(&self, change: LogChange) -> CliError {
        CliError::OtherLog {
            addr: self.addrs.current().to_string(),
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
            let connection = reconnect(&mut self.addrs, backoff, error).await?;
            error = match time::timeout(timeout, connection.describe_log()).await {
                Ok(Ok(log)) => match self.check(&log) {
                    Ok(()) => {
                        self.behind_since = None;
                        backoff.trusted();
                        return Ok((connection, log));
                    }
                    Err(other) => self.unless_behind(other)?,
                },
                Ok(Err(next)) => connection.explain(next),
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
