//! A stream's way to a node that has its log, over connections that come and go.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time;

use crate::{
    clock,
    proto::annals::v1::{DescribeLogResponse, ResponseHeader},
};

use super::{
    connection::{Connection, NOT_IN_TIME},
    error::{Error, ErrorKind, LogChange, in_tenths},
    node::{Node, Use},
    refusal::Reason,
    router::{Need, Router},
    tries::Tries,
};

/// How long a node of the same cluster may be behind what was seen elsewhere: after an election it is, for a moment. One that
/// was restored from an old backup stays so.
const BEHIND_FOR: Duration = Duration::from_secs(10);

/// A node that has the log, and the connection to it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) node: Arc<Node>,
    pub(crate) connection: Connection,
    /// The log as the node describes it; `None` where the policy does not let this client know.
    pub(crate) log: Option<DescribeLogResponse>,
    /// Counts the stream among what the node has to do.
    _use: Use,
}

impl Place {
    /// What a request's records may have there; `None`: it does not say.
    pub(crate) fn request_bytes_max(&self) -> Option<usize> {
        let bytes = self.log.as_ref()?.batch_bytes_max;
        usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Way {
    router: Arc<Router>,
    pub(crate) tries: Tries,
    /// Each try has so long to be answered.
    within: Duration,
    /// All offsets below it were seen to be taken.
    reached: u64,
    /// Since when nodes of the cluster were found to end before that.
    behind_since: Option<Instant>,
}

impl Way {
    /// No node is known to have the log yet. Gives up when nothing is achieved for `within`.
    pub(crate) fn new(router: Arc<Router>, within: Duration) -> Self {
        Self {
            tries: Tries::new(Arc::clone(&router), Some(within)),
            router,
            within,
            reached: 0,
            behind_since: None,
        }
    }

    /// The cluster, as far as it is known.
    pub(crate) fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// The log was seen to go on up to `offset`.
    pub(crate) fn reach(&mut self, offset: u64) {
        self.reached = self.reached.max(offset);
    }

    /// A node has answered on the stream.
    ///
    /// Errors: `OtherLog`.
    pub(crate) fn heard(&self, node: &Node, header: Option<&ResponseHeader>) -> Result<(), Error> {
        self.router.heard(node, header)
    }

    /// The first place: waits, and tries one node after the other, until the log is found or it is time to give up.
    ///
    /// Errors: those of [`Tries::next`]; `OtherLog`. Cancel: safe.
    pub(crate) async fn enter(&mut self, need: Need) -> Result<Place, Error> {
        let node = self.tries.first(need);
        self.enter_by(need, node).await
    }

    /// The next place, after `error` at the one before.
    ///
    /// Errors: as `enter`, and `error`, when no other try helps. Cancel: safe.
    pub(crate) async fn again(&mut self, need: Need, place: &Place, error: Error) -> Result<Place, Error> {
        self.lose(&place.node, &place.connection, &error);
        let node = self.tries.next(need, &place.node, error).await?;
        self.enter_by(need, node).await
    }

    async fn enter_by(&mut self, need: Need, mut node: Arc<Node>) -> Result<Place, Error> {
        loop {
            let error = match self.enter_at(&node).await {
                Ok(place) => {
                    self.behind_since = None;
                    self.tries.succeeded();
                    return Ok(place);
                }
                Err(error) => self.unless_behind(error)?,
            };
            node = self.tries.next(need, &node, error).await?;
        }
    }

    /// That place, within its share of the time; nothing is tried again.
    ///
    /// Errors: as of one try. Cancel: safe.
    pub(crate) async fn enter_at(&self, node: &Arc<Node>) -> Result<Place, Error> {
        self.try_enter(node, self.tries.share(self.within)).await
    }

    /// That place, within that time; nothing is tried again.
    ///
    /// Errors: as of one try. Cancel: safe.
    pub(crate) async fn try_enter(&self, node: &Arc<Node>, within: Duration) -> Result<Place, Error> {
        let mut taken = None;
        let entered = time::timeout(within, async {
            let connection = self.tries.connect(node).await?;
            taken = Some(connection.clone());
            let described = tokio::select! {
                described = connection.describe_log() => described,
                error = connection.silence() => Err(error),
            };
            match described {
                Ok(log) => Ok((connection, Some(log))),
                Err(error) if error.reason() == Some(Reason::AclDenied) => Ok((connection, None)),
                Err(error) => {
                    self.lose(node, &connection, &error);
                    Err(error)
                }
            }
        });
        let entered = entered.await;
        let too_late = |_| {
            let reason = taken.map_or(NOT_IN_TIME, |connection: Connection| connection.silent_reason());
            let error = Error::new(ErrorKind::NoAnswer {
                address: node.address.to_string(),
                waited: in_tenths(within),
                reason: reason.to_owned(),
            });
            node.set_down(&error);
            Err(error)
        };
        let (connection, log) = entered.unwrap_or_else(too_late)?;
        let header = log.as_ref().and_then(|log| log.header.as_ref());
        self.heard(node, header)?;
        self.check(node, log.as_ref())?;
        let place = Place {
            _use: node.begin_use(),
            node: Arc::clone(node),
            connection,
            log,
        };
        if let Some(bytes) = place.request_bytes_max() {
            self.router.set_request_bytes_max(bytes);
        }
        Ok(place)
    }

    fn lose(&self, node: &Node, connection: &Connection, error: &Error) {
        if matches!(
            error.kind(),
            ErrorKind::Lost { .. } | ErrorKind::Stranger { .. } | ErrorKind::Tls { .. }
        ) {
            node.lost(connection, error);
        }
    }

    /// Compares the log that is there with the one from before.
    fn check(&self, node: &Node, log: Option<&DescribeLogResponse>) -> Result<(), Error> {
        match log {
            Some(log) if log.high_watermark < self.reached => Err(Error::new(ErrorKind::OtherLog {
                address: node.address.to_string(),
                change: LogChange::Shorter {
                    reached: self.reached,
                    high_watermark: log.high_watermark,
                },
            })),
            _ => Ok(()),
        }
    }

    /// A node of the same cluster that is behind is passed over for a while.
    ///
    /// Errors: `error`, when it is another log for certain.
    fn unless_behind(&mut self, error: Error) -> Result<Error, Error> {
        let ErrorKind::OtherLog {
            change: LogChange::Shorter { .. },
            ..
        } = error.kind()
        else {
            return Ok(error);
        };
        let since = *self.behind_since.get_or_insert_with(clock::now);
        if !self.router.knows_cluster() || clock::now() - since >= BEHIND_FOR {
            return Err(error);
        }
        Ok(Error::lost(format!("{error}; it may only be behind")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::settings::Settings;

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

    fn checked(way: &Way, node: &Node, log: &DescribeLogResponse) -> Result<(), Error> {
        way.heard(node, log.header.as_ref())?;
        way.check(node, Some(log))
    }

    #[test]
    fn another_cluster_and_a_log_that_shrank_are_another_log() {
        let addresses = vec!["127.0.0.1:1".parse().unwrap()];
        let router = Arc::new(Router::new(addresses, Settings::alone()));
        let node = Arc::clone(&router.nodes()[0]);
        let mut way = Way::new(router, Duration::from_secs(1));
        checked(&way, &node, &log("a", 5)).expect("nothing was known before");
        way.reach(7);
        checked(&way, &node, &log("", 7)).expect("who says nothing is nobody else");
        checked(&way, &node, &log("a", 7)).expect("it is as long as it was");
        let change = |log| match checked(&way, &node, &log).unwrap_err().kind() {
            ErrorKind::OtherLog { change, .. } => change.clone(),
            other => panic!("{other}"),
        };
        let shorter = LogChange::Shorter {
            reached: 7,
            high_watermark: 6,
        };
        assert_eq!(change(log("a", 6)), shorter);
        let other = LogChange::Cluster {
            before: "a".to_owned(),
            now: "b".to_owned(),
        };
        assert_eq!(change(log("b", 9)), other);
        // It may only be behind, for a while.
        let behind = || checked(&way, &node, &log("a", 6)).unwrap_err();
        let (first, second) = (behind(), behind());
        assert_eq!(
            way.unless_behind(first).unwrap().disposition(),
            crate::error::Disposition::Retry
        );
        way.behind_since = Some(clock::now() - BEHIND_FOR);
        assert!(way.unless_behind(second).is_err());
    }
}
