//! Room for the batches that wait for their commit (ACT-2): one budget of bytes for the whole node.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use super::status::Refusal;

/// What a stream takes at a time: some hundred small records.
const GRAIN_BYTES: usize = 16 << 10;

/// The node's budget. Unary requests take from it or are refused; streams wait.
#[derive(Clone, Debug)]
pub struct Admission {
    permits: Arc<Semaphore>,
    bytes_max: usize,
}

impl Admission {
    /// A budget of `bytes_max`, or of one batch of `batch_bytes_max` when that is more: every legal batch must fit.
    #[must_use]
    pub fn new(bytes_max: usize, batch_bytes_max: usize) -> Self {
        let bytes_max = bytes_max.max(batch_bytes_max).min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
        }
    }

    /// Bytes not taken at the moment.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.permits.available_permits()
    }

    /// The whole budget.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Takes `bytes` now.
    ///
    /// Errors: `Overloaded` when there is no room.
    pub fn try_take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.permits)
            .try_acquire_many_owned(self.permits_of(bytes))
            .map_err(|_| Refusal::Overloaded)
    }

    /// How many permits `bytes` take: as many, capped at the whole budget, so that no wait is for ever.
    #[must_use]
    pub fn permits_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.bytes_max)).unwrap_or(u32::MAX)
    }
}

/// Permits that a stream holds for what it gathers, taken in grains so that a record costs no atomic operation.
#[derive(Debug)]
pub struct Room {
    admission: Admission,
    waiter: PollSemaphore,
    /// There is a place in the line that must be polled to its end: permits that reach it are nobody else's.
    waiting: bool,
    held: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// None yet.
    #[must_use]
    pub fn new(admission: &Admission) -> Self {
        let waiter = PollSemaphore::new(Arc::clone(&admission.permits));
        Self {
            admission: admission.clone(),
            waiter,
            waiting: false,
            held: None,
        }
    }

    /// Makes sure that `bytes` are held, without waiting; whether they are. Never while [`Room::poll_hold`] waits.
    pub fn try_hold(&mut self, bytes: usize) -> bool {
        if self.waiting {
            return false;
        }
        let missing = bytes.saturating_sub(self.held_bytes());
        if missing == 0 {
            return true;
        }
        let taken = self
            .admission
            .try_take(missing.max(GRAIN_BYTES))
            .or_else(|_| self.admission.try_take(missing));
        match taken {
            Ok(permit) => {
                self.add(permit);
                true
            }
            Err(_) => false,
        }
    }

    /// The same, waiting in line. Lets go of what is held first: who holds and waits may wait for himself.
    ///
    /// Cancel: the place in the line is kept until the next call or the drop.
    pub fn poll_hold(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        self.release();
        let permits = self.admission.permits_of(bytes);
        self.waiting = true;
        if let Some(permit) = ready!(self.waiter.poll_acquire_many(cx, permits)) {
            self.add(permit);
        }
        self.waiting = false;
        Poll::Ready(())
    }

    /// Takes `bytes` out of what is held, to go with a batch.
    pub fn take(&mut self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let held = self.held.as_mut()?;
        held.split(bytes.min(held.num_permits()))
    }

    /// Gives back what is held.
    pub fn release(&mut self) {
        self.held = None;
    }

    fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker_ref;

    use super::*;

    #[test]
    fn a_budget_is_never_smaller_than_a_batch() {
        assert_eq!(Admission::new(10, 100).bytes_max(), 100);
        assert!(Admission::new(10, 100).try_take(100).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_refused_and_takes_nothing() {
        let admission = Admission::new(100, 1);
        let first = admission.try_take(60).unwrap();
        assert!(matches!(admission.try_take(41), Err(Refusal::Overloaded)));
        assert_eq!(admission.free_bytes(), 40);
        drop(first);
        assert_eq!(admission.free_bytes(), 100);
    }

    #[test]
    fn a_room_takes_grains_but_makes_do_with_less() {
        let admission = Admission::new(GRAIN_BYTES + 10, 1);
        let mut room = Room::new(&admission);
        assert!(room.try_hold(1));
        assert_eq!(admission.free_bytes(), 10);
        assert!(
            room.try_hold(GRAIN_BYTES + 5),
            "the grain is not there, but what is missing is"
        );
        assert!(!room.try_hold(GRAIN_BYTES + 11));
        drop(room.take(GRAIN_BYTES));
        room.release();
        assert_eq!(admission.free_bytes(), admission.bytes_max());
    }

    #[test]
    fn a_room_that_waited_gives_back_all_that_it_was_given() {
        // The story: a stream that stood in line was served by another way in the meantime. Its place in the line then
        // swallowed permits that nobody gave back.
        let admission = Admission::new(100, 1);
        let taken = admission.try_take(100).unwrap();
        let mut room = Room::new(&admission);
        let mut cx = Context::from_waker(noop_waker_ref());
        assert!(room.poll_hold(&mut cx, 50).is_pending());
        drop(taken);
        let served = room.try_hold(50) || room.poll_hold(&mut cx, 50).is_ready();
        assert!(served);
        room.release();
        assert_eq!(admission.free_bytes(), 100);
    }
}
