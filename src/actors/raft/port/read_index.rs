//! From which entry on a read would miss something: the leader says, whoever that is by then, and this node applies up to there.

use std::time::Duration;

use tokio::time::timeout;

use super::{RaftPort, not_leader};
use crate::{
    actors::committer::{Leadership, ProposeError},
    types::{LogIndex, NodeId, Offset},
};

/// A leader says within this, or leads no more: it needs an answer of a majority, and after a second without one the others look for
/// another leader (`Timing::election_timeout`).
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// So many leaders are asked for one read; with more, who asks is told to come again.
const LEADERS_MAX: usize = 3;

impl RaftPort {
    /// The high watermark from which on a linearizable read that begins now may miss records, once this node has reached it.
    ///
    /// Errors: `NotLeader`, `NoLeader`, `NoCluster`, `Unavailable`: another try may help; `Removed`. Cancel: safe.
    pub(super) async fn answer_read_index(self, lease: bool) -> Result<Offset, ProposeError> {
        let mut removed = self.fence.subscribe();
        tokio::select! {
            answer = self.find_read_index(lease) => answer,
            // It would wait in vain for what it is not sent any more.
            Ok(removed_at) = removed.wait_for(Option::is_some) => Err(ProposeError::Removed {
                log_index: removed_at.unwrap_or_default(),
            }),
        }
    }

    async fn find_read_index(&self, lease: bool) -> Result<Offset, ProposeError> {
        if self.is_lone_reader() {
            return Ok(self.read_path.high_watermark());
        }
        let entry = self.ask_leaders(lease).await?;
        tokio::select! {
            biased;
            reached = self.wait_applied(entry) => reached,
            // It would wait for what nobody sends.
            () = self.nobody_to_lead() => Err(self.no_leader()),
        }
    }

    /// Asks the leader, and the next one when that takes its place.
    async fn ask_leaders(&self, lease: bool) -> Result<LogIndex, ProposeError> {
        let mut asked = 0;
        loop {
            let leader = self.leadership().leader.ok_or_else(|| self.no_leader())?;
            asked += 1;
            let error = match self.ask(leader, lease).await {
                Ok(entry) => return Ok(entry),
                Err(error) => error,
            };
            let is_another = self.leadership().leader.is_some_and(|now| now != leader);
            if !is_another || asked == LEADERS_MAX {
                return Err(error);
            }
        }
    }

    /// Asks one that leads, for as long as it does.
    async fn ask(&self, leader: NodeId, lease: bool) -> Result<LogIndex, ProposeError> {
        let asked = async {
            if leader == self.node_id {
                self.read_index_here(lease).await
            } else {
                self.route.read_index(leader).await
            }
        };
        tokio::select! {
            answer = timeout(ANSWER_WITHIN, asked) => {
                answer.unwrap_or_else(|_| Err(not_leader(Some(leader.get()), &*self.route)))
            }
            // One that is dead, or hears nobody, may never answer.
            now = self.leads_no_more(leader) => match now {
                Some(next) => Err(not_leader(Some(next.get()), &*self.route)),
                None => Err(self.no_leader()),
            },
        }
    }

    /// Waits until that one is not known to lead; answers who is.
    async fn leads_no_more(&self, leader: NodeId) -> Option<NodeId> {
        let mut leadership = self.leadership.clone();
        let leads_no_more = |now: &Leadership| now.leader != Some(leader);
        // An error means that the node is ending: nobody leads it.
        leadership.wait_for(leads_no_more).await.ok()?.leader
    }

    /// Waits until nobody is known to lead.
    async fn nobody_to_lead(&self) {
        let mut leadership = self.leadership.clone();
        // As above.
        drop(leadership.wait_for(|now| now.leader.is_none()).await);
    }

    /// Waits until this node has applied an entry, and answers the high watermark then.
    async fn wait_applied(&self, entry: LogIndex) -> Result<Offset, ProposeError> {
        let consensus = self.running().ok_or(ProposeError::Unavailable)?;
        let _waiting = self.read_path.begin_to_wait();
        let mut applied = consensus.watch_applied();
        tokio::select! {
            biased;
            reached = applied.wait_for(|applied| *applied >= entry) => {
                reached.map_err(|_| ProposeError::Unavailable)?;
                Ok(self.read_path.high_watermark())
            }
            // What has ended applies nothing any more, and whoever asks again asks the next one.
            () = consensus.ended() => Err(ProposeError::Unavailable),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use arc_swap::ArcSwap;
    use futures::{
        FutureExt,
        future::{BoxFuture, pending},
    };
    use tokio::{runtime::Handle, sync::watch};

    use super::*;
    use crate::{
        actors::{
            committer::Propose,
            log::ConditionBoard,
            raft::{Fence, LeaderRoute, PortParts},
            read_path::{HighWatermark, ReadPath},
            supervision::PostError,
        },
        consensus::DamageBoard,
        storage::{
            LogView,
            cursors::{CursorCommand, CursorVerdict},
        },
        types::Term,
    };

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);
    const THREE: NodeId = NodeId(3);

    /// Only one node answers.
    #[derive(Debug)]
    struct Route {
        answers: NodeId,
        asked: Arc<Mutex<Vec<NodeId>>>,
    }

    impl LeaderRoute for Route {
        fn propose(&self, _: NodeId, propose: Propose) -> Result<(), PostError<Propose>> {
            Err(PostError::Gone(propose))
        }

        fn read_index(&self, leader: NodeId) -> BoxFuture<'static, Result<LogIndex, ProposeError>> {
            self.asked.lock().unwrap().push(leader);
            if leader == self.answers {
                return Box::pin(async { Ok(LogIndex(7)) });
            }
            Box::pin(pending())
        }

        fn change_cursor(
            &self,
            _: NodeId,
            _: CursorCommand,
        ) -> BoxFuture<'static, Result<CursorVerdict, ProposeError>> {
            Box::pin(pending())
        }

        fn address_of(&self, _: NodeId) -> Option<String> {
            None
        }
    }

    /// A follower of two, where three answers.
    struct Follower {
        port: RaftPort,
        leadership: watch::Sender<Leadership>,
        asked: Arc<Mutex<Vec<NodeId>>>,
    }

    fn leadership(term: u64, leader: Option<NodeId>) -> Leadership {
        Leadership {
            term: Term(term),
            leader,
        }
    }

    fn follower() -> Follower {
        let (sender, receiver) = watch::channel(leadership(5, Some(TWO)));
        let asked: Arc<Mutex<Vec<NodeId>>> = Arc::default();
        let view = Arc::new(ArcSwap::from_pointee(LogView::unopened()));
        let route = Route {
            answers: THREE,
            asked: Arc::clone(&asked),
        };
        let port = RaftPort::new(PortParts {
            node_id: ONE,
            fence: Fence::new(),
            waiting: watch::channel(None).1,
            leadership: receiver,
            board: ConditionBoard::new(),
            read_path: ReadPath::new(view, HighWatermark::new().subscribe(), DamageBoard::default()),
            route: Arc::new(route),
            runtime: Handle::current(),
        });
        Follower {
            port,
            leadership: sender,
            asked,
        }
    }

    /// A follower waited five seconds for a leader that was dead, whoever led by then.
    #[tokio::test]
    async fn the_next_leader_is_asked_as_soon_as_there_is_one() {
        let of = follower();
        let mut answer = Box::pin(of.port.ask_leaders(false));
        assert_eq!(answer.as_mut().now_or_never(), None);
        of.leadership.send_replace(leadership(6, Some(THREE)));
        assert_eq!(answer.now_or_never(), Some(Ok(LogIndex(7))));
        assert_eq!(*of.asked.lock().unwrap(), [TWO, THREE]);
    }

    #[tokio::test]
    async fn when_nobody_leads_any_more_that_is_the_answer() {
        let of = follower();
        let mut answer = Box::pin(of.port.ask_leaders(false));
        assert_eq!(answer.as_mut().now_or_never(), None);
        of.leadership.send_replace(leadership(6, None));
        assert_eq!(answer.now_or_never(), Some(Err(ProposeError::NoLeader)));
    }

    #[tokio::test]
    async fn a_leader_that_leads_on_and_does_not_answer_is_given_up() {
        let of = follower();
        let began = crate::clock::now();
        let error = of.port.ask_leaders(false).await.unwrap_err();
        assert!(
            matches!(error, ProposeError::NotLeader { leader: TWO, .. }),
            "{error:?}"
        );
        assert!(crate::clock::now() - began < Duration::from_secs(3));
    }
}
