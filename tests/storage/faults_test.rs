//! A scripted run in which every call that changes the disk fails in turn, in every way.

use std::{io, path::PathBuf};

use annals::{
    storage::{
        AppendError, CutError, Log, LogOptions, OpenError, WriteError, entry::Payload, fs::FileSystem,
    },
    types::{LogIndex, Offset},
};

use crate::{
    history::{History, batch, open, options, stamped},
    support::sim_fs::{Call, CallKind, Fault, Leaves, On, SimFileSystem},
};

/// One step of the script.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Appends so many entries.
    Append(u64),
    Sync,
    Mark,
    Roll,
    /// Up to this offset.
    Trim(u64),
    /// From this entry on; a new term begins.
    Truncate(u64),
    /// The process ends and starts again.
    Reopen,
}

const SCRIPT: [Step; 26] = {
    use Step::*;
    [
        Append(3),
        Sync,
        Append(2),
        Sync,
        Mark,
        Append(2),
        Roll,
        Append(4),
        Sync,
        Reopen,
        Append(2),
        Sync,
        Roll,
        Append(3),
        Sync,
        Truncate(9),
        Append(3),
        Sync,
        Trim(7),
        Append(2),
        Roll,
        Append(2),
        Sync,
        Trim(100),
        Append(1),
        Sync,
    ]
};

/// A run of the script and what it was told.
struct Run {
    fs: SimFileSystem,
    options: LogOptions,
    history: History,
    /// So many entries are acknowledged.
    acknowledged: u64,
    /// Trims that succeeded cut to here, and none was asked to cut further than `trimmed_max`.
    trimmed: Offset,
    trimmed_max: Offset,
    term: u64,
    /// Length of the trace when the open log failed.
    failed_at: Option<usize>,
}

impl Run {
    fn new(fs: SimFileSystem, options: LogOptions) -> Self {
        Self {
            fs,
            options,
            history: History::new(),
            acknowledged: 0,
            trimmed: Offset(0),
            trimmed_max: Offset(0),
            term: 1,
            failed_at: None,
        }
    }

    /// Does all steps; after a failure the rest of them, up to the next reopening, on the same open log.
    fn all(&mut self) {
        let mut log = open(&self.fs, self.options.clone()).ok().map(|(log, _)| log);
        for step in SCRIPT {
            match (&mut log, step) {
                (_, Step::Reopen) => {
                    drop(log.take());
                    self.check_trace();
                    log = open(&self.fs, self.options.clone()).ok().map(|(log, _)| log);
                    if let Some(log) = &log {
                        self.recovered(log);
                    }
                }
                (Some(log), step) => self.step(log, step),
                (None, _) => {}
            }
        }
        drop(log);
        self.check_trace();
    }

    fn step(&mut self, log: &mut Log, step: Step) {
        let before = self.fs.faults_fired();
        let failed = match step {
            Step::Append(count) => (0..count).any(|_| self.append(log)),
            Step::Sync => self.acknowledge(log.sync()),
            Step::Mark => self.acknowledge(log.mark()),
            Step::Roll => self.acknowledge(log.roll()),
            Step::Trim(below) => {
                self.trim(log, Offset(below));
                return;
            }
            Step::Truncate(from) => self.truncate(log, from),
            Step::Reopen => unreachable!("done by the caller"),
        };
        let met_fault = self.fs.faults_fired() > before;
        assert!(failed || !met_fault, "{step:?} says nothing of its failure");
        if failed && self.failed_at.is_none() {
            self.failed_at = Some(self.fs.trace().len());
        }
    }

    /// Appends an entry, every third one with a stamp; says whether that failed.
    fn append(&mut self, log: &mut Log) -> bool {
        let number = self.history.last() + 1;
        let batch = batch(format!("entry {number} of term {}", self.term), 1);
        let payload = match number % 3 {
            0 => Payload::Records(stamped(batch, 7, u32::try_from(self.term).unwrap(), 0)),
            _ => Payload::Records(batch),
        };
        let entry = self.history.next_entry(self.term, 1000 + number, payload);
        match log.append(vec![entry.clone()]) {
            Ok(placed) => {
                // A log that has failed may take entries in, as long as it acknowledges none.
                assert_eq!(placed[0].outcome, self.history.append(entry));
                false
            }
            Err(error) => {
                typed(&error);
                true
            }
        }
    }

    fn acknowledge(&mut self, result: Result<(), AppendError>) -> bool {
        match result {
            Ok(()) => {
                assert_eq!(self.failed_at, None, "acknowledged after a failure");
                self.acknowledged = self.history.last();
                false
            }
            Err(error) => {
                typed(&error);
                true
            }
        }
    }

    /// A trim that fails leaves the log as good as it was.
    fn trim(&mut self, log: &mut Log, below: Offset) {
        self.trimmed_max = self.trimmed_max.max(below.min(self.history.tail()));
        match log.trim(below) {
            Ok(trimmed) => {
                assert!(trimmed.earliest <= below);
                if self.failed_at.is_none() {
                    self.trimmed = trimmed.earliest;
                }
            }
            Err(CutError::Io { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn truncate(&mut self, log: &mut Log, from: u64) -> bool {
        if from > self.history.last() {
            return false;
        }
        // Truncated entries may be there until the truncation has succeeded.
        self.acknowledged = self.acknowledged.min(from - 1);
        match log.truncate(LogIndex(from)) {
            Ok(()) => {
                assert_eq!(self.failed_at, None, "truncated after a failure");
                self.history.keep(from - 1);
                self.term += 1;
                false
            }
            Err(CutError::Io { .. } | CutError::Open(OpenError::Io { .. } | OpenError::Write(_))) => true,
            Err(other) => panic!("{other}"),
        }
    }

    /// The log was opened again: it holds all that was acknowledged.
    fn recovered(&mut self, log: &Log) {
        assert_eq!(log.state().missing_segments(), None);
        let entries = log.state().checkpoint().last_log_index().get();
        assert!(entries >= self.acknowledged, "acknowledged entries are gone");
        self.history.check(log);
        self.history.keep(entries);
        self.acknowledged = entries;
        let earliest = log.view().earliest();
        assert!((self.trimmed..=self.trimmed_max.max(self.trimmed)).contains(&earliest));
        self.trimmed = earliest;
        self.failed_at = None;
    }

    /// After the failure nothing of the log was written; only trims may go on, and what they have to write down first.
    fn check_trace(&mut self) {
        let Some(failed_at) = self.failed_at.take() else {
            return;
        };
        let trace = self.fs.trace();
        let changes = |call: &&Call| {
            let of_a_trim = matches!(call.kind, CallKind::Remove | CallKind::SyncDir);
            !of_a_trim && !call.path.to_string_lossy().contains("/beginning")
        };
        let later = trace[failed_at..].iter().find(changes);
        assert_eq!(later, None, "written after a failure (STO-3)");
    }
}

fn typed(error: &AppendError) {
    match error {
        AppendError::Write(WriteError::Io { .. } | WriteError::Poisoned { .. }) | AppendError::Damaged => {}
        AppendError::Place(error) => panic!("{error}"),
    }
}

/// A process that starts after the failure, and again after a power loss, finds the same.
fn check_ends(run: &mut Run, what: &str) {
    run.fs.clear_faults();
    let disk = run.fs.snapshot();
    for seed in 0..6 {
        run.fs.restore(&disk);
        if seed == 0 {
            run.fs.kill();
        } else {
            run.fs.crash(seed);
        }
        let mut ended = Run {
            fs: run.fs.clone(),
            options: run.options.clone(),
            history: run.history.clone(),
            ..*run
        };
        let context = Context(format!("{what}, end {seed}"));
        let (mut log, report) = open(&run.fs, options()).unwrap();
        assert_eq!((report.damage, report.missing), (None, None));
        ended.recovered(&log);
        ended.append(&mut log);
        log.sync().unwrap();
        ended.acknowledged = ended.history.last();
        drop(log);
        run.fs.crash(seed + 100);
        let (log, _) = open(&run.fs, options()).unwrap();
        ended.recovered(&log);
        drop(context);
    }
}

/// Says where a test was when it fails.
struct Context(String);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed at: {}", self.0);
        }
    }
}

fn fail_everywhere(options: &LogOptions, lasting: bool) {
    let fs = SimFileSystem::new(0);
    let mut run = Run::new(fs.clone(), options.clone());
    run.all();
    assert_eq!(
        run.acknowledged,
        run.history.last(),
        "the script ends with a sync"
    );
    check_ends(&mut run, "no fault");
    let calls = fs.trace().len() as u64;
    assert!(calls > 60, "only {calls} calls");
    for nth in 1..=calls {
        for leaves in [
            Leaves::Nothing,
            Leaves::Prefix,
            Leaves::Mixture,
            Leaves::Everything,
        ] {
            let what = format!("call {nth} fails leaving {leaves:?}");
            let context = Context(what.clone());
            let fs = SimFileSystem::new(nth);
            // An index is only a cache: a roll that cannot write one says nothing of it, and loses nothing.
            let fault = Fault::nth(On::Any, nth, io::ErrorKind::StorageFull)
                .leaving(leaves)
                .sparing(&[".index"]);
            fs.inject(if lasting { fault.lasting() } else { fault });
            let mut run = Run::new(fs, options.clone());
            run.all();
            check_ends(&mut run, &what);
            drop(context);
        }
    }
}

#[test]
fn whatever_fails_once_nothing_acknowledged_is_lost_and_nothing_is_acknowledged_after_it() {
    fail_everywhere(&options(), false);
}

#[test]
fn a_disk_that_fails_for_good_loses_nothing_acknowledged() {
    fail_everywhere(&options(), true);
}

#[test]
fn the_same_holds_when_files_are_zeroed_ahead_in_the_background() {
    let zeroed = LogOptions {
        segment_bytes: 8 << 10,
        prezero_bytes_per_second: 1,
        ..options()
    };
    // The thread's own calls are counted too, at whatever moment they come.
    for nth in (1..=90).step_by(3) {
        for leaves in [Leaves::Nothing, Leaves::Mixture] {
            let fs = SimFileSystem::new(nth);
            fs.inject(Fault::nth(CallKind::Sync, nth, io::ErrorKind::Other).leaving(leaves));
            fs.inject(Fault::nth(CallKind::Write, nth + 5, io::ErrorKind::Other).leaving(leaves));
            let mut run = Run::new(fs, zeroed.clone());
            run.background();
            check_ends(&mut run, &format!("sync {nth}, leaving {leaves:?}"));
        }
    }
}

impl Run {
    /// As [`Run::all`] up to the first failure: where calls come from two threads, the trace does not tell whose they are.
    fn background(&mut self) {
        let Ok((mut log, _)) = open(&self.fs, self.options.clone()) else {
            return;
        };
        for step in SCRIPT {
            let failed = match step {
                Step::Append(count) => (0..count).any(|_| self.append(&mut log)),
                Step::Sync => self.acknowledge(log.sync()),
                Step::Mark => self.acknowledge(log.mark()),
                Step::Roll => self.acknowledge(log.roll()),
                Step::Truncate(from) => self.truncate(&mut log, from),
                Step::Trim(_) | Step::Reopen => false,
            };
            if failed {
                return;
            }
        }
    }
}

#[test]
fn a_disk_that_is_full_at_a_roll_fails_the_roll_and_the_next_start_goes_on() {
    let fs = SimFileSystem::new(1);
    let mut run = Run::new(fs.clone(), options());
    let (mut log, _) = open(&fs, options()).unwrap();
    run.step(&mut log, Step::Append(3));
    run.step(&mut log, Step::Sync);
    fs.inject(Fault::nth(CallKind::Create, 1, io::ErrorKind::StorageFull).lasting());
    run.step(&mut log, Step::Roll);
    assert!(run.failed_at.is_some());
    run.history.check(&log);
    run.step(&mut log, Step::Append(1));
    run.step(&mut log, Step::Sync);
    drop(log);
    fs.clear_faults();
    let (mut log, report) = open(&fs, options()).unwrap();
    assert_eq!((report.last_log_index.get(), report.damage), (3, None));
    run.recovered(&log);
    run.step(&mut log, Step::Roll);
    run.step(&mut log, Step::Append(1));
    run.step(&mut log, Step::Sync);
    run.history.check(&log);
    let leftovers: Vec<PathBuf> = fs
        .paths()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "preparing"))
        .collect();
    assert_eq!(leftovers, [] as [PathBuf; 0]);
    assert!(fs.list(crate::history::directory()).is_ok());
}
