//! A node, as a client knows it: how to get there, and what it was last heard to have.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time;

use crate::{clock, proto::annals::v1::ResponseHeader};

use super::{
    address::Address,
    connection::{Connection, NOT_IN_TIME, cannot_connect},
    credentials::Credentials,
    error::{Error, Tried},
};

/// One node, with the one connection that all its calls and streams share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    /// Given to the client, and not told by a node.
    pub(super) is_given: bool,
    /// 0 while it is not known. Behind a name or a balancer it can be another one after each connect.
    id: AtomicU64,
    /// The most it was heard to have. It never falls on a node, but on one that was wiped.
    high_watermark: AtomicU64,
    /// When it was asked last it had all that this client knew of before it asked, and knew who leads where others did.
    keeps_up: AtomicBool,
    /// The looks in a row in which it did not.
    behind: Mutex<Option<Behind>>,
    /// Calls and streams that are under way.
    in_flight: AtomicUsize,
    down: Mutex<Option<Down>>,
    /// Whoever connects holds it, so that there is one connection whoever wants one.
    slot: tokio::sync::Mutex<Option<Connection>>,
}

/// A node that does not keep up.
#[derive(Clone, Copy, Debug)]
struct Behind {
    since: Instant,
    looks: u32,
}

/// A node that was not reached.
#[derive(Clone, Debug)]
struct Down {
    error: Error,
    at: Instant,
    /// Tries in a row that failed.
    times: u32,
}

/// A call or a stream that is under way, for as long as this is held.
#[derive(Debug)]
pub(crate) struct Use(Arc<Node>);

impl Drop for Use {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    /// One of which nothing is known but where it should be.
    pub(super) fn new(address: Address, is_given: bool) -> Self {
        Self {
            address,
            is_given,
            id: AtomicU64::new(0),
            high_watermark: AtomicU64::new(0),
            keeps_up: AtomicBool::new(false),
            behind: Mutex::new(None),
            in_flight: AtomicUsize::new(0),
            down: Mutex::new(None),
            slot: tokio::sync::Mutex::new(None),
        }
    }

    /// Its id; 0 while it is not known.
    pub(crate) fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    pub(super) fn set_id(&self, id: u64) {
        if self.id.swap(id, Ordering::Relaxed) != id {
            self.keeps_up.store(false, Ordering::Relaxed);
            *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.high_watermark.store(0, Ordering::Relaxed);
        }
    }

    /// Whether it was heard to have everything below that offset.
    pub(super) fn has(&self, offset: u64) -> bool {
        self.high_watermark() >= offset
    }

    pub(super) fn high_watermark(&self) -> u64 {
        self.high_watermark.load(Ordering::Relaxed)
    }

    pub(super) fn keeps_up(&self) -> bool {
        self.keeps_up.load(Ordering::Relaxed)
    }

    /// It was asked.
    pub(super) fn set_keeps_up(&self, keeps_up: bool) {
        self.keeps_up.store(keeps_up, Ordering::Relaxed);
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        *behind = (!keeps_up).then(|| Behind {
            since: behind.map_or_else(clock::now, |behind| behind.since),
            looks: behind.map_or(0, |behind| behind.looks).saturating_add(1),
        });
    }

    /// In how many looks in a row it did not keep up, and for how long.
    pub(super) fn looks_behind(&self) -> (u32, Duration) {
        let behind = *self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.map_or_else(Default::default, |behind| {
            (behind.looks, clock::now() - behind.since)
        })
    }

    #[cfg(test)]
    pub(super) fn was_behind_since(&self, since: Instant) {
        if let Some(behind) = &mut *self.behind.lock().unwrap() {
            behind.since = since;
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one call or stream more, until the answer is dropped.
    pub(crate) fn begin_use(self: &Arc<Self>) -> Use {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Use(Arc::clone(self))
    }

    /// It has answered, and says who it is and what it has.
    pub(super) fn heard(&self, header: &ResponseHeader) {
        self.set_id(header.node_id);
        self.high_watermark
            .fetch_max(header.high_watermark, Ordering::Relaxed);
    }

    /// Whether the last try to reach it failed.
    pub(super) fn is_down(&self) -> bool {
        self.down().is_some()
    }

    /// How many tries in a row have failed.
    pub(super) fn times_down(&self) -> u32 {
        self.down().map_or(0, |down| down.times)
    }

    /// What was the matter with the last try.
    pub(super) fn tried(&self) -> Option<Tried> {
        Some(Tried {
            address: self.address.to_string(),
            reason: reason_of(&self.down()?.error),
        })
    }

    fn down(&self) -> Option<Down> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_up(&self) {
        *self.down.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn set_down(&self, error: &Error) {
        self.keeps_up.store(false, Ordering::Relaxed);
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        let times = down.as_ref().map_or(0, |down| down.times);
        *down = Some(Down {
            error: error.clone(),
            at: clock::now(),
            times: times.saturating_add(1),
        });
    }

    /// The connection to it, opened when there is none. Who waits while another one tries hears what came of that, or that it takes
    /// too long.
    ///
    /// Errors: those of `Connection::open`; nothing of a call was sent. Cancel: safe.
    pub(crate) async fn connection(
        &self,
        tls: Option<&Credentials>,
        within: Duration,
    ) -> Result<Connection, Error> {
        let asked = clock::now();
        let free = time::timeout(within, self.slot.lock()).await;
        let mut slot = free.map_err(|_| cannot_connect(&self.address, NOT_IN_TIME))?;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_broken()) {
            return Ok(connection.clone());
        }
        *slot = None;
        if let Some(down) = self.down().filter(|down| down.at > asked) {
            return Err(down.error.without_effects());
        }
        let left = within.saturating_sub(clock::now() - asked);
        match Connection::open(&self.address, tls, left).await {
            Ok(connection) => {
                *slot = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                self.set_down(&error);
                Err(error)
            }
        }
    }

    /// A call over that connection was answered: the node is there.
    pub(super) fn answered(&self) {
        self.set_up();
    }

    /// It does not answer over that connection, to nobody: who waits there hears so, and the next call opens another one.
    pub(super) fn fell_silent(&self, connection: &Connection, error: &Error) {
        connection.fall_silent();
        self.set_down(error);
    }

    /// The connection was lost: the next call opens another one.
    pub(super) fn lost(&self, connection: &Connection, error: &Error) {
        connection.give_up();
        self.set_down(error);
    }
}

/// What was the matter, without the address that it names.
pub(super) fn reason_of(error: &Error) -> String {
    use super::error::ErrorKind;
    match error.kind() {
        ErrorKind::CannotConnect { reason, .. }
        | ErrorKind::Lost { reason }
        | ErrorKind::NoAnswer { reason, .. } => reason.clone(),
        ErrorKind::Stranger { said, .. } => format!("no node: {said}"),
        ErrorKind::Tls { failure, .. } => format!("no TLS: {failure}"),
        _ => error.to_string(),
    }
}
