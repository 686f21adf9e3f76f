//! The requests of one producer, as many at a time as may be in flight.
//!
//! The connection takes them one by one when it has room, so a request costs no queue and no task of its own, and its
//! latency counts from when it was taken.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures::Stream;

use crate::clock;

use super::limit::Limit;

#[derive(Debug)]
struct State {
    limit: Limit,
    /// Requests not yet taken.
    left: u64,
    in_flight_max: usize,
    /// When each request in flight was taken, oldest first.
    taken: VecDeque<Instant>,
    waiting: Option<Waker>,
}

/// The end that counts answers.
#[derive(Clone, Debug)]
pub(super) struct Window(Arc<Mutex<State>>);

/// The end that gives requests: the same one again and again.
#[derive(Debug)]
pub(super) struct Requests<R> {
    window: Window,
    request: R,
}

impl Window {
    /// For `requests` requests, `in_flight_max` at a time; none is given once the limit's time is over.
    pub(super) fn new(requests: u64, in_flight_max: usize, limit: Limit) -> Self {
        Self(Arc::new(Mutex::new(State {
            limit,
            left: requests,
            in_flight_max,
            taken: VecDeque::with_capacity(in_flight_max),
            waiting: None,
        })))
    }

    /// The stream of requests.
    pub(super) fn requests<R>(&self, request: R) -> Requests<R> {
        Requests {
            window: self.clone(),
            request,
        }
    }

    /// Notes that the oldest request was answered; says how long that took, or `None` when none was in flight.
    pub(super) fn answered(&self, now: Instant) -> Option<Duration> {
        let mut state = self.lock();
        let taken = state.taken.pop_front()?;
        if let Some(waiting) = state.waiting.take() {
            waiting.wake();
        }
        Some(now - taken)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

impl<R: Clone + Unpin> Stream for Requests<R> {
    type Item = R;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<R>> {
        let mut state = self.window.lock();
        if state.taken.len() >= state.in_flight_max {
            state.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        let now = clock::now();
        if state.left == 0 || state.limit.is_over(now) {
            return Poll::Ready(None);
        }
        state.left -= 1;
        state.taken.push_back(now);
        Poll::Ready(Some(self.request.clone()))
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    const ENDLESS: Limit = Limit {
        records: u64::MAX,
        until: None,
    };

    #[test]
    fn no_more_is_in_flight_than_the_window_allows() {
        let window = Window::new(3, 2, ENDLESS);
        let mut requests = window.requests('r');
        assert_eq!(requests.next().now_or_never(), Some(Some('r')));
        assert_eq!(requests.next().now_or_never(), Some(Some('r')));
        assert_eq!(requests.next().now_or_never(), None);
        assert!(window.answered(clock::now()).is_some());
        assert_eq!(requests.next().now_or_never(), Some(Some('r')));
        assert!(window.answered(clock::now()).is_some() && window.answered(clock::now()).is_some());
        assert_eq!(requests.next().now_or_never(), Some(None));
        assert!(window.answered(clock::now()).is_none());
    }

    #[test]
    fn nothing_is_sent_when_the_time_is_over() {
        let limit = Limit {
            until: Some(clock::now()),
            ..ENDLESS
        };
        let mut requests = Window::new(u64::MAX, 2, limit).requests('r');
        assert_eq!(requests.next().now_or_never(), Some(None));
    }
}
