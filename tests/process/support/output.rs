//! What a process prints, as it comes.

use std::{
    io::Read,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use super::DEADLINE;

/// Why a lock can be taken.
const UNPOISONED: &str = "nothing panics while it holds the lock but the test itself, and then it is over";

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    ended: bool,
}

/// One output of a process, read to its end by a thread of its own.
#[derive(Clone, Default)]
pub struct Output(Arc<(Mutex<State>, Condvar)>);

impl Output {
    /// Reads `from` until it ends.
    pub fn of(mut from: impl Read + Send + 'static) -> Self {
        let output = Self::default();
        let shared = output.clone();
        thread::spawn(move || {
            let mut chunk = vec![0; 64 << 10];
            loop {
                let read = from.read(&mut chunk).unwrap_or(0);
                let (state, changed) = &*shared.0;
                let mut state = state.lock().expect(UNPOISONED);
                state.bytes.extend_from_slice(&chunk[..read]);
                state.ended = read == 0;
                changed.notify_all();
                if state.ended {
                    return;
                }
            }
        });
        output
    }

    /// One that goes elsewhere.
    pub fn ended() -> Self {
        let output = Self::default();
        output.0.0.lock().expect(UNPOISONED).ended = true;
        output
    }

    /// What it has printed so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.0.lock().expect(UNPOISONED).bytes).into_owned()
    }

    /// Waits until `find` finds what it looks for in all that was printed.
    pub fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let mut found = None;
        let ended = self.wait(DEADLINE, |state| {
            found = find(&String::from_utf8_lossy(&state.bytes));
            found.is_some() || state.ended
        });
        found.unwrap_or_else(|| panic!("{what}: not so (ended: {ended}); it printed:\n{}", self.text()))
    }

    /// Waits until so many bytes were printed.
    pub fn wait_for_bytes(&self, count: usize) {
        let enough = self.wait(DEADLINE, |state| state.bytes.len() >= count || state.ended);
        assert!(enough, "{count} bytes were not printed in time");
    }

    /// Waits for the end; false when it does not come within `limit`.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        self.wait(limit, |state| state.ended)
    }

    /// All that was printed.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.0.lock().expect(UNPOISONED).bytes)
    }

    fn wait(&self, limit: Duration, mut done: impl FnMut(&State) -> bool) -> bool {
        let (state, changed) = &*self.0;
        let state = state.lock().expect(UNPOISONED);
        let (_state, timed_out) = changed
            .wait_timeout_while(state, limit, |state| !done(state))
            .expect(UNPOISONED);
        !timed_out.timed_out()
    }
}
