//! What the log has done, told where consensus runs.
//!
//! A sync is news for several: for openraft, which counts it, for proposals that wait for its end, for what is applied. Told to each of them by the
//! log's thread it would wake the thread of consensus as often, and each waking costs more than what is told. So the log's thread says it once, to
//! one task, and that tells the others on their own thread. What comes of one sync wakes it once, and openraft, which rests a millisecond between
//! two such words, hears the last one at once.

use std::{
    fmt, io,
    sync::{Arc, OnceLock, Weak},
};

use openraft::storage::IOFlushed;
use tokio::sync::mpsc;

use super::{shared::Shared, types::TypeConfig};

/// At most so many at a time; what comes of one sync is fewer.
const AT_A_TIME: usize = 256;

/// An append that is over, and whom to tell. What waits is bounded by what may be unsynced.
type Landed = (IOFlushed<TypeConfig>, io::Result<()>);

/// See the module.
#[derive(Default)]
pub(super) struct Landing(OnceLock<mpsc::UnboundedSender<Landed>>);

impl fmt::Debug for Landing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Landing")
    }
}

impl Landing {
    /// Takes care that somebody listens: a task on the runtime that this is first called on, for as long as there is `shared`.
    pub(super) fn open(&self, shared: &Arc<Shared>) {
        self.0.get_or_init(|| {
            let (landed, arrivals) = mpsc::unbounded_channel();
            tokio::spawn(tell_all(arrivals, Arc::downgrade(shared)));
            landed
        });
    }

    /// An append is over; to be called in the order of the appends, from any thread.
    pub(super) fn land(&self, shared: &Shared, landed: Landed) {
        let unheard = match self.0.get() {
            Some(arrivals) => arrivals.send(landed).err().map(|unsent| unsent.0),
            None => Some(landed),
        };
        // Where consensus has ended it may still be waited for elsewhere.
        if let Some((callback, result)) = unheard {
            shared.window.publish_synced();
            callback.io_completed(result);
        }
    }
}

async fn tell_all(mut arrivals: mpsc::UnboundedReceiver<Landed>, shared: Weak<Shared>) {
    let mut landed = Vec::new();
    while arrivals.recv_many(&mut landed, AT_A_TIME).await > 0 {
        if let Some(shared) = shared.upgrade() {
            shared.window.publish_synced();
        }
        for (callback, result) in landed.drain(..) {
            callback.io_completed(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use arc_swap::ArcSwap;
    use futures::FutureExt;
    use openraft::type_config::TypeConfigExt;

    use super::*;
    use crate::{
        consensus::{
            DamageBoard, Recovered,
            log_port::{LogPort, OnAppended},
            types::{RaftLogId, RaftStoredMembership, RaftVote},
        },
        storage::{
            LogView, Placed,
            entry::{Entry, Outcome, Payload},
        },
        types::{LogIndex, Offset, Term, TimestampMs},
    };

    /// A log that nothing is asked of.
    #[derive(Debug)]
    struct NoLog;

    impl LogPort for NoLog {
        fn append(&self, _: Vec<Entry>, _: OnAppended) {}

        fn save_vote(&self, _: RaftVote) -> futures::future::BoxFuture<'static, io::Result<()>> {
            std::future::pending().boxed()
        }

        fn truncate(&self, _: LogIndex) -> futures::future::BoxFuture<'static, io::Result<()>> {
            std::future::pending().boxed()
        }

        fn trim(&self, _: Offset, _: LogIndex) -> futures::future::BoxFuture<'static, io::Result<()>> {
            std::future::pending().boxed()
        }

        fn note_committed(&self, _: RaftLogId, _: RaftStoredMembership) {}

        fn set_trim_point(&self, _: Offset) {}

        fn install(&self, _: bytes::Bytes) -> futures::future::BoxFuture<'static, io::Result<bool>> {
            std::future::pending().boxed()
        }
    }

    fn shared() -> Arc<Shared> {
        let recovered = Recovered {
            last: None,
            purged: None,
            committed: None,
            membership: RaftStoredMembership::default(),
            vote: None,
        };
        let view = Arc::new(ArcSwap::from_pointee(LogView::unopened()));
        Arc::new(Shared::new(
            Arc::new(NoLog),
            view,
            DamageBoard::default(),
            &recovered,
        ))
    }

    /// Appends entry `log_index` and syncs it, as the log's thread does; what openraft is told.
    fn synced(shared: &Arc<Shared>, log_index: u64) -> impl Future<Output = bool> + use<> {
        let log_index = LogIndex(log_index);
        shared.window.push(&[Entry {
            log_index,
            term: Term(1),
            timestamp: TimestampMs(1),
            payload: Payload::Blank,
        }]);
        let base_offset = Offset(0);
        let outcome = Outcome::Stored { base_offset };
        shared.window.synced(&[Placed { log_index, outcome }]);
        let (tell, told) = TypeConfig::oneshot();
        shared.landing.land(shared, (IOFlushed::signal(tell), Ok(())));
        told.map(|told| matches!(told, Ok(Ok(()))))
    }

    #[tokio::test]
    async fn what_landed_is_told_by_one_task_to_all_who_wait_and_by_nobody_before() {
        let shared = shared();
        shared.landing.open(&shared);
        let mut syncs = shared.window.watch_syncs();
        let mut told: Vec<_> = (1..=3).map(|index| Box::pin(synced(&shared, index))).collect();
        assert!(
            !syncs.has_changed().unwrap(),
            "the log's thread wakes nobody by itself"
        );
        assert!(told.iter_mut().all(|told| told.now_or_never().is_none()));
        shared.window.wait_synced(LogIndex(3)).await.unwrap();
        syncs.mark_unchanged();
        for told in told {
            assert!(told.await);
        }
        assert!(!syncs.has_changed().unwrap(), "once for all of them");
    }

    #[test]
    fn what_lands_where_nobody_listens_any_more_is_told_at_once() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let shared = shared();
        assert_eq!(
            synced(&shared, 1).now_or_never(),
            Some(true),
            "nobody listens yet"
        );
        let ended = runtime();
        ended.block_on(async { shared.landing.open(&shared) });
        drop(ended);
        assert_eq!(
            synced(&shared, 2).now_or_never(),
            Some(true),
            "nobody listens any more"
        );
        let waits = shared.window.wait_synced(LogIndex(2)).now_or_never();
        assert_eq!(waits, Some(Some(())));
    }
}
