//! Records on their way into batches: what was taken from whoever sends, and not yet by the pipeline.
//!
//! A record is encoded into the open batch by whoever sends it. The batch goes when it is full, when nothing else is under way, or when
//! it has waited for as long as it may; so one record alone is not held up, and many share a request.

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

use super::ticket::{Answer, Promise, promise};

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

/// A batch that is not acknowledged.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// An encoded `RecordSet`.
    pub(super) records: Bytes,
    /// How many records it has.
    pub(super) count: u64,
    /// What it takes of the room.
    room: usize,
    promise: Promise,
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
    /// Nothing is taken yet.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            room: Semaphore::new(limits.unacknowledged_bytes_max),
            limits,
            state: Mutex::default(),
            news: Notify::new(),
        }
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
    /// Errors: why nothing is taken any more. Cancel: safe; nothing is taken.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room<'_>, Error> {
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
    /// Errors: why nothing is taken any more.
    pub(super) fn try_room(&self, bytes: usize) -> Result<Option<Room<'_>>, Error> {
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
        let failed = self.state().failed.clone();
        failed.unwrap_or_else(|| Error::new(ErrorKind::Closed))
    }

    /// Takes a record; answers what becomes of its batch, and which of its records it is.
    ///
    /// Errors: why nothing is taken any more.
    pub(super) fn push(&self, record: &Record, room: Room<'_>) -> Result<(Answer, u64), Error> {
        let mut state = self.state();
        state.check_open()?;
        let bytes = len_in_set(record);
        if let Some(open) = &state.open
            && open.records.len() + bytes > self.limits.batch_bytes_max
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
    /// Errors: why nothing is taken any more.
    pub(super) fn push_batch(&self, records: Bytes, count: u64, room: Room<'_>) -> Result<Answer, Error> {
        let mut state = self.state();
        state.check_open()?;
        state.seal();
        let (promise, answer) = promise();
        state.ready.push_back(Outgoing {
            records,
            count,
            room: room.bytes,
            promise,
        });
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
            batch.settle(self, Err(error.clone().without_effects()));
        }
    }

    /// What is to be sent next; `idle`: nothing else is under way.
    pub(super) fn next_now(&self, idle: bool, now: Instant) -> Next {
        let mut state = self.state();
        if let Some(batch) = state.ready.pop_front() {
            return Next::Batch(batch);
        }
        let due = state.open.as_ref().map(|open| open.since + self.limits.linger);
        match due {
            Some(due) if !idle && !state.closed && now < due => Next::Wait(Some(due)),
            Some(_) => {
                state.seal();
                state.ready.pop_front().map_or(Next::Wait(None), Next::Batch)
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
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.closed => Err(Error::new(ErrorKind::Closed)),
            None => Ok(()),
        }
    }

    /// Closes the open batch.
    fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            self.capacity_hint = open.records.len();
            self.ready.push_back(Outgoing {
                records: open.records.freeze(),
                count: open.count,
                room: open.room,
                promise: open.promise,
            });
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

impl Outgoing {
    /// Tells whoever waits what became of it, and gives its room back.
    pub(super) fn settle(self, batcher: &Batcher, result: Result<u64, Error>) {
        // All its tickets may have been dropped.
        drop(self.promise.send(result));
        batcher.room.add_permits(self.room);
    }
}
