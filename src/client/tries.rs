//! The tries of one call, or of one stream's way back: where to go next, for how long, and what to say in the end.

use std::{sync::Arc, time::Duration};

use tokio::time;

use crate::{clock, error::Disposition};

use super::{
    address::Address,
    backoff::Backoff,
    connection::Connection,
    error::{Error, ErrorKind, Tried, in_tenths},
    node::{Node, reason_of},
    refusal::Reason,
    router::{Need, Router},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Tries {
    router: Arc<Router>,
    pub(crate) backoff: Backoff,
    /// Tried since the last pause.
    passed: Vec<Address>,
    /// Where something else than a node was, at the last try.
    strangers: Vec<Address>,
    /// Of each that was not reached, what was the matter last.
    failed: Vec<Tried>,
    /// The last refusal, and by whom. Who says why not knows more than who says nothing.
    refused: Option<(Address, Error)>,
    /// Where a node said that the leader is: tried once.
    hint: Option<Address>,
}

impl Tries {
    /// None yet. They end when nothing was achieved for `give_up_after`; `None`: never.
    pub(crate) fn new(router: Arc<Router>, give_up_after: Option<Duration>) -> Self {
        router.begin();
        Self {
            router,
            backoff: Backoff::new(give_up_after),
            passed: Vec::new(),
            strangers: Vec::new(),
            failed: Vec::new(),
            refused: None,
            hint: None,
        }
    }

    /// The node for the first try.
    pub(crate) fn first(&mut self, need: Need) -> Arc<Node> {
        self.pick(need)
            .expect("a client has at least one address, and none is passed yet")
    }

    fn pick(&mut self, need: Need) -> Option<Arc<Node>> {
        if let Some(hint) = self.hint.take().filter(|hint| !self.passed.contains(hint)) {
            return Some(self.router.at(&hint));
        }
        self.router.pick(need, &self.passed)
    }

    /// The connection to that node, within what is left and leaves time for the others.
    ///
    /// Errors: those of `Connection::open`. Cancel: safe.
    pub(crate) async fn connect(&self, node: &Node) -> Result<Connection, Error> {
        let settings = &self.router.settings;
        node.connection(settings.tls.as_ref(), self.share(settings.connect_within))
            .await
    }

    /// At most `within`, and of what is left no more than leaves as much for each that is not tried yet.
    pub(crate) fn share(&self, within: Duration) -> Duration {
        let others = self.router.count().saturating_sub(self.passed.len()).max(1);
        let left = self.backoff.left().unwrap_or(within);
        // To the millisecond, upwards: what went by since the tries began is not to be told.
        let share = left / u32::try_from(others).unwrap_or(u32::MAX);
        within.min(share + Duration::from_millis(1))
    }

    /// It works again: what failed before is forgotten.
    pub(crate) fn succeeded(&mut self) {
        self.passed.clear();
        self.strangers.clear();
        self.failed.clear();
        self.refused = None;
        self.hint = None;
        self.backoff.trusted();
    }

    /// After `error` of `node`: waits, where waiting helps, and answers who is to be tried next.
    ///
    /// Errors: `error` itself when no other try helps, or it was the last thing that a node said when it is time to give up; otherwise `NoAnswer` or
    /// `NoNode`. Cancel: safe.
    pub(crate) async fn next(&mut self, need: Need, node: &Node, error: Error) -> Result<Arc<Node>, Error> {
        self.note(node, &error);
        if !self.may_pass(&error) {
            return Err(error);
        }
        // A leader that has no room has none for what others hand on to it either.
        let waits =
            matches!(error.reason(), Some(Reason::Overloaded | Reason::StorageFull)) && need == Need::Leader;
        if !waits
            && self.backoff.left() != Some(Duration::ZERO)
            && self.router.settings.discovers
            && let Some(next) = self.pick(need)
        {
            return Ok(next);
        }
        self.pause(need, error).await
    }

    /// The same for who tries each once: no pause, and `None` when all are tried.
    pub(crate) fn next_at_once(&mut self, need: Need, node: &Node, error: &Error) -> Option<Arc<Node>> {
        self.note(node, error);
        self.pick(need)
    }

    async fn pause(&mut self, need: Need, error: Error) -> Result<Arc<Node>, Error> {
        self.router.doubt();
        let at_least = error.refusal().and_then(|refusal| refusal.retry_after);
        let Some(pause) = self.backoff.pause(at_least) else {
            return Err(self.given_up(error));
        };
        time::sleep(pause).await;
        if self.router.settings.discovers {
            self.passed.clear();
        } else {
            // One after the other, each after a pause.
            let last = self.passed.last().cloned();
            self.passed.clear();
            self.passed
                .extend(last.filter(|_| self.router.count() > 1 && self.hint.is_none()));
        }
        match self.pick(need) {
            Some(next) => Ok(next),
            None => {
                self.passed.clear();
                Ok(self.first(need))
            }
        }
    }

    fn note(&mut self, node: &Node, error: &Error) {
        if !self.passed.contains(&node.address) {
            self.passed.push(node.address.clone());
        }
        self.strangers.retain(|address| *address != node.address);
        if matches!(error.kind(), ErrorKind::Stranger { .. }) {
            self.strangers.push(node.address.clone());
        }
        let address = node.address.to_string();
        self.failed.retain(|tried| tried.address != address);
        if error.refusal().is_some() {
            self.refused = Some((node.address.clone(), error.clone()));
        } else {
            let reason = reason_of(error);
            self.failed.push(Tried { address, reason });
            self.refused.take_if(|(by, _)| *by == node.address);
        }
        if !self.router.settings.discovers {
            self.router.turn();
        }
        let leader = error.refusal().and_then(|refusal| refusal.leader_address());
        self.hint = leader.and_then(|leader| leader.parse().ok());
    }

    /// Whether another try may help.
    pub(crate) fn may_pass(&mut self, error: &Error) -> bool {
        if matches!(error.kind(), ErrorKind::NoAnswer { .. }) {
            // Another one may answer; when the time is over, so are the tries.
            return true;
        }
        if let ErrorKind::Stranger { address, .. } = error.kind() {
            return self.may_be_elsewhere(address);
        }
        match error.disposition() {
            Disposition::Retry => true,
            Disposition::Reject | Disposition::Restart | Disposition::Failsafe | Disposition::Escalate => {
                let is_of_one_node = error.refusal().is_some_and(|refusal| refusal.is_of_one_node());
                (is_of_one_node && self.router.count() > 1)
                    || (matches!(error.kind(), ErrorKind::Tls { .. })
                        && self.backoff.may_be_trusted_again(clock::now()))
            }
        }
    }

    /// Whether a node may be at another address than that one.
    fn may_be_elsewhere(&self, address: &str) -> bool {
        let mut ways = self.router.ways().into_iter();
        ways.any(|way| way.address.to_string() != address && !self.strangers.contains(&way.address))
    }

    /// What to say when it is time to give up: what a node has said last, or else that none is reached.
    pub(crate) fn given_up(&self, error: Error) -> Error {
        let waited = in_tenths(self.backoff.waited());
        match error.kind() {
            ErrorKind::Lost { .. }
            | ErrorKind::CannotConnect { .. }
            | ErrorKind::NoAnswer { .. }
            | ErrorKind::Stranger { .. } => self.unreached(waited, error),
            _ => error,
        }
    }

    /// That none is reached; or what one of them said that was.
    pub(crate) fn unreached(&self, waited: Duration, error: Error) -> Error {
        if let Some((_, refused)) = &self.refused {
            return refused.clone();
        }
        let kind = match self.failed.as_slice() {
            [] => return error,
            [Tried { .. }] if waited.is_zero() => return error,
            // It was reached, and says nothing.
            [Tried { address, reason }] if !error.has_no_side_effects() => ErrorKind::NoAnswer {
                address: address.clone(),
                waited,
                reason: reason.clone(),
            },
            tried => ErrorKind::NoNode {
                waited,
                tried: tried.to_vec(),
            },
        };
        Error::new(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{refusal::Refusal, settings::Settings};

    fn refused(reason: &str, leader: &str) -> Error {
        Error::from(Refusal {
            code: tonic::Code::Unavailable,
            reason: reason.to_owned(),
            message: String::new(),
            metadata: [("leader_address".to_owned(), leader.to_owned())].into(),
            retry_after: None,
        })
    }

    fn tries(settings: Settings) -> (Tries, Vec<Arc<Node>>) {
        let addresses = ["127.0.0.1:1", "127.0.0.1:2"].map(|text| text.parse().unwrap());
        let router = Arc::new(Router::new(addresses.to_vec(), settings));
        let nodes = router.nodes().to_vec();
        (Tries::new(router, Some(Duration::from_secs(1))), nodes)
    }

    #[test]
    fn what_a_node_said_counts_for_more_than_that_others_are_silent() {
        let (mut tries, nodes) = tries(Settings::alone());
        tries.note(&nodes[0], &Error::lost("it is gone"));
        tries.note(&nodes[1], &refused("NO_LEADER", ""));
        let told = tries.given_up(Error::lost("it is gone"));
        assert_eq!(told.reason(), Some(Reason::NoLeader));
        // Until it is silent too.
        tries.note(&nodes[1], &Error::lost("it went as well"));
        let told = tries.given_up(Error::lost("it went as well")).to_string();
        assert!(told.contains("127.0.0.1:1: it is gone"), "{told}");
        assert!(told.contains("127.0.0.1:2: it went as well"), "{told}");
    }

    #[test]
    fn a_hint_is_followed_once_and_then_all_are_asked_again() {
        let (mut tries, nodes) = tries(Settings::alone());
        tries.note(&nodes[0], &refused("NOT_LEADER", "127.0.0.1:3"));
        let leader = tries.pick(Need::Leader).unwrap();
        assert_eq!(leader.address.to_string(), "127.0.0.1:3");
        // It says the same of another one, and that one of the first.
        tries.note(&leader, &refused("NOT_LEADER", "127.0.0.1:1"));
        let next = tries.pick(Need::Leader).unwrap();
        assert_eq!(next.address, nodes[1].address, "it was asked already");
    }

    #[tokio::test]
    async fn an_address_is_tried_after_the_other_and_then_again() {
        let (mut tries, nodes) = tries(Settings::alone());
        let mut node = tries.first(Need::Any);
        let mut tried = Vec::new();
        for _ in 0..4 {
            tried.push(node.address.clone());
            node = tries
                .next(Need::Any, &node, Error::lost("it is gone"))
                .await
                .unwrap();
        }
        let [one, two] = [&nodes[0].address, &nodes[1].address].map(Address::clone);
        assert_eq!(tried, [one.clone(), two.clone(), one, two]);
    }

    #[test]
    fn the_time_that_is_left_is_shared_by_those_that_are_not_tried_yet() {
        let (mut tries, nodes) = tries(Settings::alone());
        let about = |share: Duration, ms: u64| share.as_millis().abs_diff(u128::from(ms)) < 100;
        let long = Duration::from_secs(9);
        assert!(about(tries.share(long), 500));
        tries.note(&nodes[0], &Error::lost("it is gone"));
        assert!(about(tries.share(long), 1000));
        assert_eq!(tries.share(Duration::from_millis(7)), Duration::from_millis(7));
    }
}
