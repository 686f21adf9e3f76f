//! Consensus as tests play it: tells what it is asked, and answers when it is allowed to.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use annals::{
    actors::{
        committer::Committed,
        peer::{AppendResults, EntryChunks, ForwardError, PeerError, PeerHandler, SegmentRange},
    },
    consensus::{
        codec::Snapshot,
        messages::{
            AppendRequest, AppendResponse, SnapshotResponse, TransferRequest, TransferResponse, VoteRequest,
            VoteResponse, last_of,
        },
        types::{RaftLogId, SnapshotManifest, entry_of},
    },
    storage::{
        cursors::{Cursor, CursorCommand, CursorVerdict},
        entry::{Batch, Outcome},
    },
    types::{LogIndex, NodeId, Offset, TimestampMs},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use openraft::raft::StreamAppendError;
use tokio::sync::{Semaphore, mpsc};

use super::within;

/// What the handler was asked, or saw.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A request of a stream, by its last entry (0: none).
    Append(u64),
    /// The requests of a stream have ended.
    RequestsEnded,
    /// Nobody takes the results of a stream any more.
    ResultsDropped,
    /// A request alone, by its last entry.
    Alone(u64),
    Vote(VoteRequest),
    PreVote(VoteRequest),
    Transfer(TransferRequest),
    Install(NodeId, Snapshot),
    Proposed(NodeId, Batch),
    ChangedCursor(NodeId, CursorCommand),
}

/// See the module. Everything is answered at once, unless [`Fake::hold`] was called.
#[derive(Debug)]
pub struct Fake {
    events: mpsc::UnboundedSender<Event>,
    seen: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    /// One for each answer of a stream or to a proposal; many when nothing is held.
    answers: Arc<Semaphore>,
    /// Streams read no requests.
    deaf: AtomicBool,
    /// The entry at which appends conflict.
    conflict: Mutex<Option<u64>>,
    /// Set when this node does not lead.
    leader: Mutex<Option<NodeId>>,
    /// What a segment's file holds.
    pub segment: Mutex<Option<Vec<Bytes>>>,
}

impl Fake {
    pub fn new() -> Self {
        let (events, seen) = mpsc::unbounded_channel();
        Self {
            events,
            seen: tokio::sync::Mutex::new(seen),
            answers: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS / 2)),
            deaf: AtomicBool::new(false),
            conflict: Mutex::new(None),
            leader: Mutex::new(None),
            segment: Mutex::new(None),
        }
    }

    /// Answers nothing from now on but what is allowed.
    pub fn hold(&self) {
        self.answers.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Allows so many answers.
    pub fn allow(&self, answers: usize) {
        self.answers.add_permits(answers);
    }

    /// Streams that are opened from now on are not read.
    pub fn be_deaf(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }

    /// A request that ends at this entry conflicts.
    pub fn conflict_at(&self, index: u64) {
        *self.conflict.lock().unwrap() = Some(index);
    }

    /// Somebody else leads.
    pub fn follow(&self, leader: NodeId) {
        *self.leader.lock().unwrap() = Some(leader);
    }

    /// The next thing that happens.
    pub async fn next(&self) -> Event {
        within("the handler's next event", async {
            self.seen.lock().await.recv().await
        })
        .await
        .unwrap()
    }

    /// Whether nothing has happened that was not asked for.
    pub fn is_quiet(&self) -> bool {
        self.seen
            .try_lock()
            .is_ok_and(|mut seen| seen.try_recv().is_err())
    }

    fn tell(&self, event: Event) {
        self.events.send(event).unwrap();
    }
}

fn number(last: Option<RaftLogId>) -> u64 {
    last.map_or(0, |last| entry_of(&last).0.get())
}

/// Tells when it is dropped.
struct Tell(mpsc::UnboundedSender<Event>, Option<Event>);

impl Drop for Tell {
    fn drop(&mut self) {
        drop(self.0.send(self.1.take().unwrap()));
    }
}

#[async_trait]
impl PeerHandler for Fake {
    fn storage_is_full(&self) -> bool {
        false
    }

    async fn append(&self, request: AppendRequest) -> Result<AppendResponse, PeerError> {
        self.tell(Event::Alone(number(last_of(&request))));
        Ok(AppendResponse::Success)
    }

    fn stream_append(&self, mut requests: BoxStream<'static, AppendRequest>) -> AppendResults {
        let (taken, waiting) = mpsc::unbounded_channel();
        let dropped = Tell(self.events.clone(), Some(Event::ResultsDropped));
        let (events, deaf) = (self.events.clone(), self.deaf.load(Ordering::SeqCst));
        tokio::spawn(async move {
            if deaf {
                taken.closed().await;
                return;
            }
            while let Some(request) = requests.next().await {
                let last = last_of(&request);
                drop(events.send(Event::Append(number(last))));
                if taken.send(last).is_err() {
                    break;
                }
            }
            drop(events.send(Event::RequestsEnded));
        });
        let (answers, conflict) = (Arc::clone(&self.answers), *self.conflict.lock().unwrap());
        let results = stream::unfold((waiting, dropped, false), move |(mut waiting, dropped, over)| {
            let answers = Arc::clone(&answers);
            async move {
                if over {
                    return None;
                }
                let last: Option<RaftLogId> = waiting.recv().await?;
                answers.acquire().await.unwrap().forget();
                let conflicts = conflict == Some(number(last));
                let result = match last {
                    Some(at) if conflicts => Err(StreamAppendError::Conflict(at)),
                    last => Ok(last),
                };
                Some((Ok(result), (waiting, dropped, conflicts)))
            }
        });
        results.boxed()
    }

    async fn vote(&self, request: VoteRequest) -> Result<VoteResponse, PeerError> {
        self.tell(Event::Vote(request.clone()));
        Ok(VoteResponse::new(request.vote, request.last_log_id, true))
    }

    async fn pre_vote(&self, request: VoteRequest) -> Result<VoteResponse, PeerError> {
        self.tell(Event::PreVote(request.clone()));
        Ok(VoteResponse::new(request.vote, request.last_log_id, false))
    }

    async fn transfer_leader(&self, request: TransferRequest) -> Result<TransferResponse, PeerError> {
        self.tell(Event::Transfer(request));
        Ok(Ok(()))
    }

    async fn install_snapshot(
        &self,
        from: NodeId,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse, PeerError> {
        let vote = snapshot.vote;
        let _dropped = Tell(self.events.clone(), Some(Event::ResultsDropped));
        self.tell(Event::Install(from, snapshot));
        self.answers.acquire().await.unwrap().forget();
        Ok(SnapshotResponse::new(vote))
    }

    async fn read_index(&self, _: NodeId) -> Result<LogIndex, PeerError> {
        match *self.leader.lock().unwrap() {
            leader @ Some(_) => Err(PeerError::NotLeader { leader }),
            None => Ok(LogIndex(7)),
        }
    }

    fn propose(&self, from: NodeId, batch: Batch) -> BoxFuture<'static, Result<Committed, ForwardError>> {
        let answers = Arc::clone(&self.answers);
        let leader = *self.leader.lock().unwrap();
        let committed = Committed {
            log_index: LogIndex(u64::from(batch.record_count)),
            outcome: Outcome::Stored {
                base_offset: Offset(u64::from(batch.record_count)),
            },
            record_count: batch.record_count,
        };
        self.tell(Event::Proposed(from, batch));
        Box::pin(async move {
            answers.acquire().await.unwrap().forget();
            match leader {
                leader @ Some(_) => Err(ForwardError::NotLeader { leader }),
                None => Ok(committed),
            }
        })
    }

    async fn change_cursor(
        &self,
        from: NodeId,
        command: CursorCommand,
    ) -> Result<CursorVerdict, ForwardError> {
        let leader = *self.leader.lock().unwrap();
        self.tell(Event::ChangedCursor(from, command));
        self.answers.acquire().await.unwrap().forget();
        match leader {
            leader @ Some(_) => Err(ForwardError::NotLeader { leader }),
            None => Ok(Ok(Cursor {
                epoch: LogIndex(7),
                offset: Some(Offset(5)),
                changed: TimestampMs(3),
            })),
        }
    }

    fn read_entries(&self, _: LogIndex, _: LogIndex) -> EntryChunks {
        stream::iter([Err(PeerError::Unavailable)]).boxed()
    }

    async fn manifest(&self) -> Result<SnapshotManifest, PeerError> {
        Ok(SnapshotManifest(Bytes::from_static(b"segments")))
    }

    async fn read_segment(
        &self,
        range: SegmentRange,
    ) -> Result<BoxStream<'static, Result<Bytes, PeerError>>, PeerError> {
        let Some(pieces) = self.segment.lock().unwrap().clone() else {
            return Err(PeerError::NoSuchSegment {
                first_log_index: range.first_log_index,
            });
        };
        Ok(stream::iter(pieces.into_iter().map(Ok)).boxed())
    }
}
