//! Waiting for standard error, but not for ever: a pipe that nobody reads must not keep a process from its end.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// How long a process that ends, or a thread that panicked, waits for its last words to be written. Whoever reads at all
/// takes milliseconds, and supervisors that kill allow tens of seconds.
pub(crate) const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// Gives `value` to `work`, which may hang, on a thread of its own, and waits for it until `limit`. Whether it was done.
///
/// Blocking: for `limit` at most. What hangs longer is left to itself, and goes with the process.
pub(crate) fn done_within<T: Send + 'static>(
    limit: Duration,
    value: T,
    work: impl FnOnce(T) + Send + 'static,
) -> bool {
    let (give, given) = mpsc::sync_channel(1);
    let (done, is_done) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("last-words".to_owned());
    let spawned = thread.spawn(move || {
        if let Ok(value) = given.recv() {
            work(value);
            // Nobody waits for it any more when it took too long.
            done.send(()).ok();
        }
    });
    if spawned.is_err() {
        // Dropped here it might hang here.
        std::mem::forget(value);
        return false;
    }
    // The channel has room for it, and the thread takes it.
    drop(give.send(value));
    match is_done.recv_timeout(limit) {
        Ok(()) => true,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_in_time_is_waited_for_and_what_hangs_is_left() {
        let (sender, receiver) = mpsc::channel();
        let sends = move |value| sender.send(value).unwrap();
        assert!(done_within(Duration::from_secs(60), 7, sends));
        assert_eq!(receiver.try_recv(), Ok(7));

        let (release, hangs) = mpsc::channel::<()>();
        let waits = |hangs: mpsc::Receiver<()>| {
            hangs.recv().ok();
        };
        assert!(!done_within(Duration::from_millis(10), hangs, waits));
        drop(release);
    }
}
