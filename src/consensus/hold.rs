//! Holds back a commit that has no entries to go with, until it has some.
//!
//! A record that is committed is news for every follower, and the next append tells it anyway. Sent by itself it costs each
//! of them a second message, a second answer and the waking for both, which is as much as the record itself. So where more
//! records follow within a moment, the commit goes with them. Where a reader waits at the follower it goes at once.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt, stream::Fuse};
use tokio::time::{Instant, Sleep, sleep};

use super::messages::AppendRequest;

/// How long a commit waits for entries. A producer that has one record at a time sends the next one sooner, unless it is far
/// away, and then the commit by itself does not count.
const HOLD: Duration = Duration::from_millis(1);

/// Whether readers at a follower wait for its next commit, as its answers say.
#[derive(Clone, Debug, Default)]
pub(super) struct Awaited(Arc<AtomicBool>);

impl Awaited {
    pub(super) fn set(&self, awaited: bool) {
        self.0.store(awaited, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// See the module.
pub(super) struct HeldCommits<S> {
    requests: Fuse<S>,
    held: Option<AppendRequest>,
    until: Pin<Box<Sleep>>,
    hold: Duration,
    awaited: Awaited,
}

impl<S> HeldCommits<S>
where
    S: Stream<Item = AppendRequest> + Unpin,
{
    /// The requests for one follower, in order, but for those without entries that are overtaken by what follows.
    pub(super) fn new(requests: S, awaited: Awaited) -> Self {
        Self {
            requests: requests.fuse(),
            held: None,
            until: Box::pin(sleep(HOLD)),
            hold: HOLD,
            awaited,
        }
    }
}

impl<S> Stream for HeldCommits<S>
where
    S: Stream<Item = AppendRequest> + Unpin,
{
    type Item = AppendRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AppendRequest>> {
        let this = &mut *self;
        loop {
            match this.requests.poll_next_unpin(cx) {
                Poll::Ready(Some(request)) if request.entries.is_empty() && !this.awaited.get() => {
                    // A later one says what an earlier one did, and more. It does not wait anew.
                    if this.held.replace(request).is_none() {
                        this.until.as_mut().reset(Instant::now() + this.hold);
                    }
                }
                Poll::Ready(Some(request)) => {
                    this.held = None;
                    return Poll::Ready(Some(request));
                }
                Poll::Ready(None) => return Poll::Ready(this.held.take()),
                Poll::Pending if this.held.is_some() => {
                    return match this.until.as_mut().poll(cx) {
                        Poll::Ready(()) => Poll::Ready(this.held.take()),
                        Poll::Pending => Poll::Pending,
                    };
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, channel::mpsc, stream};
    use openraft::EntryPayload;

    use super::*;
    use crate::{
        consensus::{
            messages::last_of,
            types::{RaftEntry, RaftVote, entry_of, raft_log_id},
        },
        types::{LogIndex, Term},
    };

    const FOR_EVER: Duration = Duration::from_secs(3600);

    /// Says that entries up to this one are committed.
    fn commit(log_index: u64) -> AppendRequest {
        let at = raft_log_id(LogIndex(log_index), Term(1));
        AppendRequest {
            vote: RaftVote::new_committed(1, 1),
            prev_log_id: at,
            leader_commit: at,
            entries: Vec::new(),
        }
    }

    /// Brings this entry.
    fn entry(log_index: u64) -> AppendRequest {
        let entry = RaftEntry {
            log_id: raft_log_id(LogIndex(log_index), Term(1)).unwrap(),
            payload: EntryPayload::Blank,
        };
        AppendRequest {
            entries: vec![entry],
            ..commit(log_index - 1)
        }
    }

    /// A request in words.
    fn said(request: &AppendRequest) -> String {
        let last = entry_of(&last_of(request).unwrap()).0;
        let what = if request.entries.is_empty() {
            "commit"
        } else {
            "entry"
        };
        format!("{what} {last}")
    }

    /// What is passed on without waiting.
    fn now<S>(held: &mut HeldCommits<S>) -> Option<String>
    where
        S: Stream<Item = AppendRequest> + Unpin,
    {
        let next = held.next().now_or_never()?;
        Some(said(&next.unwrap()))
    }

    #[tokio::test]
    async fn a_commit_goes_with_the_entries_that_follow() {
        let requests = vec![entry(1), commit(1), commit(1), entry(2), entry(3), commit(3)];
        let held = HeldCommits::new(stream::iter(requests), Awaited::default());
        let passed: Vec<_> = held.map(|request| said(&request)).collect().await;
        assert_eq!(
            passed,
            ["entry 1", "entry 2", "entry 3", "commit 3"],
            "and the last one with the end"
        );
    }

    #[tokio::test]
    async fn a_commit_that_nothing_follows_goes_by_itself_after_a_moment() {
        let (requests, stream) = mpsc::unbounded();
        let mut held = HeldCommits::new(stream, Awaited::default());
        requests.unbounded_send(commit(1)).unwrap();
        requests.unbounded_send(commit(2)).unwrap();
        let passed = held.next().await.unwrap();
        assert_eq!(said(&passed), "commit 2", "which says what the first did");
        assert_eq!(now(&mut held), None);
    }

    #[tokio::test]
    async fn a_commit_waits_from_when_it_came_and_not_from_the_last_one() {
        let (requests, stream) = mpsc::unbounded();
        let mut held = HeldCommits::new(stream, Awaited::default());
        held.hold = FOR_EVER;
        requests.unbounded_send(commit(1)).unwrap();
        assert_eq!(now(&mut held), None);
        held.until.as_mut().reset(Instant::now());
        requests.unbounded_send(commit(2)).unwrap();
        assert_eq!(said(&held.next().await.unwrap()), "commit 2");
    }

    #[tokio::test]
    async fn a_commit_that_readers_wait_for_goes_at_once() {
        let (requests, stream) = mpsc::unbounded();
        let awaited = Awaited::default();
        let mut held = HeldCommits::new(stream, awaited.clone());
        held.hold = FOR_EVER;
        awaited.set(true);
        requests.unbounded_send(commit(1)).unwrap();
        requests.unbounded_send(entry(2)).unwrap();
        assert_eq!(now(&mut held).as_deref(), Some("commit 1"));
        assert_eq!(now(&mut held).as_deref(), Some("entry 2"));
    }
}
