//! Records on their way into batches: what was taken from whoever sends, and not yet by the pipeline.
//!
//! A record is encoded into the open batch by whoever sends it. The batch goes when it is full, when nothing else is under way, or when
//! it has waited for as long as it may; so one record alone is not held up, and many share a request.
//!
//! Before any node has said what it takes at once, batches are so small that each takes them; as soon as one has, those that wait are joined.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{Notify, Semaphore, TryAcquireError},
    time,
};

use crate::{
    client::{
        error::{Error, ErrorKind},
        record::{len_in_set, put},
    },
    clock,
    proto::annals::v1::Record,
};

use super::{
    outgoing::Outgoing,
    ticket::{Answer, Promise, promise},
};

/// Any node takes so much at once: its `log.batch_bytes_max` is never less.
const ANY_NODE_TAKES: usize = 1 << 10;

/// When a batch is full, and how much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of a batch, unless one record alone has more.
    pub(super) batch_bytes_max: usize,
    /// Of all that is taken and not acknowledged.
    pub(super) unacknowledged_bytes_max: usize,
    /// A batch that is not full waits so long for more, while others are under way.
    pub(super) linger: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Batcher {
    limits: Limits,
    /// Bytes that may still be taken.
    room: Semaphore,
    state: Mutex<State>,
    /// There is more to be sent.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: Option<Open>,
    ready: VecDeque<Outgoing>,
    /// By the word of the node that they go to.
    takes: Takes,
    /// What becomes of the newest batch, and so of all before it.
    newest: Option<Answer>,
    /// The size of the last batch: what to allocate for the next one.
    capacity_hint: usize,
    closed: bool,
    failed: Option<Error>,
}

#[derive(Debug)]
struct Open {
    records: BytesMut,
    count: u64,
    room: usize,
    promise: Promise,
    answer: Answer,
    since: Instant,
}

/// What a node takes in one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Takes {
    /// No node was asked yet.
    #[default]
    Unknown,
    /// It was asked, and does not say.
    Untold,
    /// So many bytes of records.
    Bytes(usize),
}

/// Whether a request can have so many bytes of records.
///
/// Errors: `RecordTooLarge`.
pub(crate) fn request_size(bytes: usize, bytes_max: usize) -> Result<(), Error> {
    if bytes > bytes_max {
        return Err(Error::new(ErrorKind::RecordTooLarge { bytes, bytes_max }));
    }
    Ok(())
}

/// What there is to be sent.
#[derive(Debug)]
pub(super) enum Next {
    /// This.
    Batch(Outgoing),
    /// Nothing, or not before that time.
    Wait(Option<Instant>),
    /// Nothing any more.
    Ended,
}

/// Room that was taken, and is given back unless it is used.
#[derive(Debug)]
pub(super) struct Room<'a> {
    batcher: &'a Batcher,
    bytes: usize,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.batcher.room.add_permits(self.bytes);
    }
}

impl Batcher {
    /// Nothing is taken yet. `takes`: what nodes are known to take in one request.
    pub(super) fn new(limits: Limits, takes: Option<usize>) -> Self {
        let state = State {
            takes: takes.map_or(Takes::Unknown, Takes::Bytes),
            ..State::default()
        };
        Self {
            room: Semaphore::new(limits.unacknowledged_bytes_max),
            limits,
            state: Mutex::new(state),
            news: Notify::new(),
        }
    }

    /// The node that all goes to from now on takes so much in one request; `None`: it does not say.
    pub(super) fn learn(&self, takes: Option<usize>) {
        let mut state = self.state();
        match takes {
            Some(bytes) => state.takes = Takes::Bytes(bytes),
            None if state.takes == Takes::Unknown => state.takes = Takes::Untold,
            None => {}
        }
    }

    /// Whether the node takes so much in one request, as far as is known.
    ///
    /// Errors: `RecordTooLarge`.
    pub(super) fn check_size(&self, bytes: usize) -> Result<(), Error> {
        self.state().check_size(bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `bytes` take: never more than there is, or what is larger would never go.
    fn needed(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.limits.unacknowledged_bytes_max)).unwrap_or(u32::MAX)
    }

    /// Waits for room, in the order of those who wait.
    ///
    /// Errors: `RecordTooLarge`; why nothing is taken any more. Cancel: safe; nothing is taken.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room<'_>, Error> {
        self.check_size(bytes)?;
        let needed = self.needed(bytes);
        let permit = self.room.acquire_many(needed).await;
        permit.map_err(|_| self.refusal())?.forget();
        Ok(Room {
            batcher: self,
            bytes: needed as usize,
        })
    }

    /// Room, if there is some now.
    ///
    /// Errors: as `room`.
    pub(super) fn try_room(&self, bytes: usize) -> Result<Option<Room<'_>>, Error> {
        self.check_size(bytes)?;
        let needed = self.needed(bytes);
        match self.room.try_acquire_many(needed) {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::NoPermits) => return Ok(None),
            Err(TryAcquireError::Closed) => return Err(self.refusal()),
        }
        Ok(Some(Room {
            batcher: self,
            bytes: needed as usize,
        }))
    }

    fn refusal(&self) -> Error {
        self.state().refusal()
    }

    /// Takes a record; answers what becomes of its batch, and which of its records it is.
    ///
    /// Errors: as `room`.
    pub(super) fn push(&self, record: &Record, room: Room<'_>) -> Result<(Answer, u64), Error> {
        let mut state = self.state();
        state.check_open()?;
        let bytes = len_in_set(record);
        state.check_size(bytes)?;
        if let Some(open) = &state.open
            && open.records.len() + bytes > state.batch_bytes_max(&self.limits)
        {
            state.seal();
        }
        let hint = state.capacity_hint.max(bytes);
        let open = state.open.get_or_insert_with(|| Open::new(hint));
        put(&mut open.records, record);
        let index = open.count;
        open.count += 1;
        open.room += room.bytes;
        mem::forget(room);
        let answer = open.answer.clone();
        if index == 0 {
            state.newest = Some(answer.clone());
        }
        drop(state);
        if index == 0 {
            self.news.notify_one();
        }
        Ok((answer, index))
    }

    /// Takes a batch as it is, which shares its request with no other.
    ///
    /// Errors: as `room`.
    pub(super) fn push_batch(&self, records: Bytes, count: u64, room: Room<'_>) -> Result<Answer, Error> {
        let mut state = self.state();
        state.check_open()?;
        state.check_size(records.len())?;
        state.seal();
        let (promise, answer) = promise();
        let whole = Outgoing::whole(records, count, room.bytes, promise);
        state.ready.push_back(whole);
        mem::forget(room);
        state.newest = Some(answer.clone());
        drop(state);
        self.news.notify_one();
        Ok(answer)
    }

    /// Nothing waits for more any longer; answers what becomes of the newest batch. `None`: there never was one.
    pub(super) fn flush(&self) -> Option<Answer> {
        let mut state = self.state();
        state.seal();
        let newest = state.newest.clone();
        drop(state);
        self.news.notify_one();
        newest
    }

    /// Nothing more is taken; what was taken is sent.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.seal();
        drop(state);
        self.room.close();
        self.news.notify_one();
    }

    /// Whether nothing is taken any more.
    pub(super) fn has_ended(&self) -> bool {
        self.state().check_open().is_err()
    }

    /// Nothing more is sent: all that was taken, and whatever comes, is told why.
    pub(super) fn fail(&self, error: &Error) {
        let mut state = self.state();
        state.failed.get_or_insert_with(|| error.clone());
        state.seal();
        let left = mem::take(&mut state.ready);
        drop(state);
        self.room.close();
        for batch in left {
            // Of these nothing was sent.
            self.settle(batch, Err(error.clone().without_effects()));
        }
    }

    /// Tells whoever waits what became of a batch, and gives its room back.
    pub(super) fn settle(&self, batch: Outgoing, result: Result<u64, Error>) {
        let room = batch.room;
        batch.settle(result);
        self.room.add_permits(room);
    }

    /// What is to be sent next; `idle`: nothing else is under way.
    pub(super) fn next_now(&self, idle: bool, now: Instant) -> Next {
        let mut state = self.state();
        if let Some(batch) = state.take_ready(&self.limits) {
            return Next::Batch(batch);
        }
        let due = state.open.as_ref().map(|open| open.since + self.limits.linger);
        match due {
            Some(due) if !idle && !state.closed && now < due => Next::Wait(Some(due)),
            Some(_) => {
                state.seal();
                state
                    .take_ready(&self.limits)
                    .map_or(Next::Wait(None), Next::Batch)
            }
            None if state.closed => Next::Ended,
            None => Next::Wait(None),
        }
    }

    /// The next batch, when it is there; `None`: none will come any more.
    ///
    /// Cancel: safe.
    pub(super) async fn next(&self, idle: bool) -> Option<Outgoing> {
        loop {
            let news = self.news.notified();
            match self.next_now(idle, clock::now()) {
                Next::Batch(batch) => return Some(batch),
                Next::Ended => return None,
                Next::Wait(None) => news.await,
                Next::Wait(Some(due)) => {
                    tokio::select! {
                        () = news => {}
                        () = time::sleep_until(due.into()) => {}
                    }
                }
            }
        }
    }
}

impl State {
    fn check_open(&self) -> Result<(), Error> {
        if self.closed || self.failed.is_some() {
            return Err(self.refusal());
        }
        Ok(())
    }

    /// Why nothing is taken any more.
    fn refusal(&self) -> Error {
        let failed = self.failed.clone();
        Error::new(failed.map_or(ErrorKind::Closed, |cause| ErrorKind::ProducerFailed { cause }))
    }

    fn check_size(&self, bytes: usize) -> Result<(), Error> {
        match self.takes {
            Takes::Bytes(bytes_max) => request_size(bytes, bytes_max),
            Takes::Unknown | Takes::Untold => Ok(()),
        }
    }

    /// How large a batch of several records gets.
    fn batch_bytes_max(&self, limits: &Limits) -> usize {
        limits.batch_bytes_max.min(match self.takes {
            Takes::Unknown => ANY_NODE_TAKES,
            Takes::Untold => usize::MAX,
            Takes::Bytes(bytes_max) => bytes_max,
        })
    }

    /// The next batch that waits, and those behind it that share its request.
    fn take_ready(&mut self, limits: &Limits) -> Option<Outgoing> {
        let bytes_max = self.batch_bytes_max(limits);
        Outgoing::join(&mut self.ready, bytes_max)
    }

    /// Closes the open batch.
    fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            self.capacity_hint = open.records.len();
            let records = open.records.freeze();
            self.ready
                .push_back(Outgoing::of_singles(records, open.count, open.room, open.promise));
        }
    }
}

impl Open {
    fn new(capacity: usize) -> Self {
        let (promise, answer) = promise();
        Self {
            records: BytesMut::with_capacity(capacity),
            count: 0,
            room: 0,
            promise,
            answer,
            since: clock::now(),
        }
    }
}
