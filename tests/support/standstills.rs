//! Times in which the machine did not let this process run. They say nothing of the program, and so are no part of how long something
//! of it takes.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use annals::clock;

/// How often somebody looks whether the machine stands still.
const BEAT: Duration = Duration::from_millis(5);
/// A look that comes later than this was kept from coming: what is meant to run at once runs sooner on a machine that is only busy.
const LATE: Duration = Duration::from_millis(25);

/// Notes when the machine stands still, from its beginning until it is dropped.
#[derive(Debug)]
pub(crate) struct Standstills {
    noted: Arc<Mutex<Vec<Range<Instant>>>>,
    _until: mpsc::Sender<()>,
}

impl Standstills {
    pub(crate) fn watch() -> Self {
        let noted = Arc::default();
        let (until, dropped) = mpsc::channel();
        let into = Arc::clone(&noted);
        thread::spawn(move || watch(&into, &dropped));
        Self { noted, _until: until }
    }

    /// Those that are over.
    pub(crate) fn noted(&self) -> Vec<Range<Instant>> {
        self.noted.lock().expect("nobody panics while he has it").clone()
    }

    /// How long the machine has run since then.
    pub(crate) fn ran_since(&self, since: Instant) -> Duration {
        ran(since..clock::now(), &self.noted())
    }
}

fn watch(into: &Mutex<Vec<Range<Instant>>>, dropped: &mpsc::Receiver<()>) {
    let mut last = clock::now();
    while dropped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
        let now = clock::now();
        if now - last > LATE {
            let mut noted = into.lock().expect("nobody panics while he has it");
            noted.push(last + BEAT..now);
        }
        last = now;
    }
}

/// How much of `time` is left without the standstills, each of which is behind the one before.
pub(crate) fn ran<T>(time: Range<T>, standstills: &[Range<T>]) -> Duration
where
    T: Copy + Ord + std::ops::Sub<Output = Duration>,
{
    let (from, to) = (time.start, time.end.max(time.start));
    let within = standstills.iter().filter_map(|still| {
        let (begin, end) = (still.start.max(from), still.end.min(to));
        (begin < end).then(|| end - begin)
    });
    (to - from).saturating_sub(within.sum())
}
