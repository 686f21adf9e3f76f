//! Random operations on a log, on a disk that fails and forgets, against a plain model.

use std::io;

use annals::{
    storage::{
        CutError, Log, LogOptions, OpenReport, ReadError,
        control::Control,
        cursors::{CursorCommand, CursorName},
        entry::Payload,
    },
    types::{LogIndex, Offset, TimestampMs},
};
use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    history::{History, at, batch, open, options, read_all, stamped},
    support::sim_fs::{Fault, Leaves, On, SimFileSystem},
};

/// The log, what it should hold, and chance.
struct World {
    random: StdRng,
    fs: SimFileSystem,
    options: LogOptions,
    log: Option<Log>,
    history: History,
    /// So many entries are synced.
    synced: u64,
    /// So many entries are never truncated; at most `synced`.
    committed: u64,
    earliest: Offset,
    term: u64,
    time: u64,
    written: u64,
    /// How often a call fails: one operation in so many; 0: never.
    fault_every: u32,
    seed: u64,
}

/// Tells the seed of a run that fails.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.seed);
        }
    }
}

impl World {
    fn new(seed: u64, fault_every: u32, prezero_bytes_per_second: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let options = LogOptions {
            segment_bytes: 4096 + random.random_range(300..6000),
            tail_cache_bytes: [0, 0, 700, 1 << 20][random.random_range(0..4)],
            prezero_bytes_per_second,
            ..options()
        };
        let mut world = Self {
            random,
            fs: SimFileSystem::new(seed),
            options,
            log: None,
            history: History::new(),
            synced: 0,
            committed: 0,
            earliest: Offset(0),
            term: 1,
            time: 1000,
            written: 0,
            fault_every,
            seed,
        };
        world.open();
        world
    }

    fn chance(&mut self, one_in: u32) -> bool {
        one_in > 0 && self.random.random_ratio(1, one_in)
    }

    /// Opens the log, however often that fails, and checks it.
    fn open(&mut self) {
        assert!(self.log.is_none());
        loop {
            self.perhaps_inject();
            let opened = open(&self.fs, self.options.clone());
            self.fs.clear_faults();
            match opened {
                Ok((log, report)) => {
                    self.recovered(&log, &report);
                    self.log = Some(log);
                    return;
                }
                Err(error) => {
                    assert!(self.fault_every > 0, "{error}");
                    self.end();
                }
            }
        }
    }

    fn recovered(&mut self, log: &Log, report: &OpenReport) {
        assert_eq!((&report.damage, &report.missing), (&None, &None));
        let last = report.last_log_index.get();
        assert!(
            (self.synced..=self.history.last()).contains(&last),
            "{} entries were synced, {} appended, {last} are there",
            self.synced,
            self.history.last()
        );
        self.history.check(log);
        self.history.keep(last);
        self.synced = last;
        assert!(
            report.earliest >= self.earliest || self.fault_every > 0,
            "trimmed records are back"
        );
        self.earliest = report.earliest;
        assert_eq!(
            (log.view().earliest(), report.tail),
            (self.earliest, self.history.tail())
        );
    }

    /// The process ends somehow.
    fn end(&mut self) {
        drop(self.log.take());
        match self.random.random_range(0..3) {
            0 => {}
            1 => self.fs.kill(),
            _ => self.fs.crash(self.random.random()),
        }
    }

    fn perhaps_inject(&mut self) {
        if self.chance(self.fault_every) {
            let nth = self.random.random_range(1..8);
            let leaves = [
                Leaves::Nothing,
                Leaves::Prefix,
                Leaves::Mixture,
                Leaves::Everything,
            ];
            let leaves = leaves[self.random.random_range(0..4)];
            let fault = Fault::nth(On::Any, nth, io::ErrorKind::Other).leaving(leaves);
            self.fs.inject(fault);
        }
    }

    fn step(&mut self) {
        self.perhaps_inject();
        let fine = match self.random.random_range(0..100) {
            0..40 => self.append(),
            40..60 => self.sync(),
            60..65 => self.log().mark().map(|()| self.all_synced()).is_ok(),
            65..70 => self.log().roll().map(|()| self.all_synced()).is_ok(),
            70..74 => self.truncate(),
            74..77 => self.trim(),
            77..90 => self.read(),
            90..95 => self.look_up_time(),
            _ => false,
        };
        self.fs.clear_faults();
        if !fine {
            self.end();
            self.open();
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("it is open between steps")
    }

    fn all_synced(&mut self) {
        self.synced = self.history.last();
        self.committed = self.random.random_range(self.committed..=self.synced);
    }

    fn append(&mut self) -> bool {
        for _ in 0..self.random.random_range(1..5) {
            let payload = self.payload();
            self.time = (self.time + self.random.random_range(0..20)).saturating_sub(5);
            let entry = self.history.next_entry(self.term, self.time, payload);
            match self.log().append(vec![entry.clone()]) {
                Ok(placed) => assert_eq!(placed[0].outcome, self.history.append(entry)),
                Err(_) => {
                    // It may have been placed behind others, all of which are unsynced.
                    self.history.append(entry);
                    return false;
                }
            }
        }
        true
    }

    /// Most batches have one size, so that frames of different histories can lie at the same positions.
    fn payload(&mut self) -> Payload {
        self.written += 1;
        let bytes = format!("entry {:>10}", self.written);
        let bytes = match self.random.random_range(0..8) {
            0 => Bytes::from(bytes.repeat(self.random.random_range(1..100))),
            _ => Bytes::from(bytes),
        };
        let count = self.random.random_range(1..4);
        let plain = batch(bytes.clone(), count);
        let expected = self
            .history
            .tail()
            .get()
            .saturating_sub(self.random.random_range(0..2));
        let (id, epoch) = (self.random.random_range(1..4), self.random.random_range(0..2));
        let sequence = self.random.random_range(0..8);
        match self.random.random_range(0..20) {
            0 => Payload::Blank,
            1 => Payload::Membership(bytes),
            2 if count == 1 => Payload::Control(bytes),
            2 => {
                let below = Offset(expected.saturating_sub(self.written % 9) + self.written % 2);
                Payload::Control(Control::Trim { below }.encode())
            }
            3 => Payload::Control(Control::Cursor(self.cursor_command(expected)).encode()),
            4..6 => Payload::Records(at(plain, expected)),
            6..12 => Payload::Records(stamped(plain, id, epoch, sequence)),
            12..14 => Payload::Records(at(stamped(plain, id, epoch, sequence), expected)),
            _ => Payload::Records(plain),
        }
    }

    /// Few names, so that they meet again; now and then what is refused.
    fn cursor_command(&mut self, expected: u64) -> CursorCommand {
        let name: CursorName = ["a", "b", "c"][self.random.random_range(0..3)].parse().unwrap();
        let known = self.history.checkpoint(self.history.last()).cursors().get(&name);
        let epoch = known.map_or(LogIndex::ZERO, |cursor| cursor.epoch);
        match self.random.random_range(0..10) {
            0..3 => CursorCommand::Take { name },
            3 => CursorCommand::Delete { name },
            number => CursorCommand::Commit {
                name,
                epoch: if number == 4 { epoch.plus(1) } else { epoch },
                offset: Offset(expected + self.written % 3),
            },
        }
    }

    fn sync(&mut self) -> bool {
        let synced = self.log().sync().is_ok();
        if synced {
            self.all_synced();
        }
        synced
    }

    fn truncate(&mut self) -> bool {
        let from = self
            .random
            .random_range(self.committed + 1..=self.history.last() + 1);
        self.synced = self.synced.min(from - 1);
        match self.log().truncate(LogIndex(from)) {
            Ok(()) => {
                self.history.keep(from - 1);
                self.synced = from - 1;
                self.term += u64::from(self.random.random_bool(0.5));
                self.history.check(self.log.as_ref().expect("open"));
                true
            }
            Err(CutError::NotInLog { first, .. }) => {
                assert!(LogIndex(from) < first, "entry {from} can be truncated");
                self.synced = self.synced.max(self.committed);
                false
            }
            Err(_) => false,
        }
    }

    fn trim(&mut self) -> bool {
        let below = self.history.checkpoint(self.committed).next_offset();
        let below = Offset(self.random.random_range(0..=below.get()));
        let Ok(trimmed) = self.log().trim(below) else {
            return false;
        };
        assert!(trimmed.earliest <= below || trimmed.earliest == self.earliest);
        self.earliest = trimmed.earliest;
        let view = self.log().view();
        assert_eq!(view.earliest(), trimmed.earliest);
        let segments = view.describe().unwrap();
        assert!(
            segments.get(1).is_none_or(|next| next.first_offset > below),
            "a segment that is wholly below {below} is left"
        );
        assert!(segments.is_sorted_by(|a, b| a.first_log_index < b.first_log_index));
        let before = Offset(self.earliest.get().wrapping_sub(1));
        if before < self.earliest {
            let refused = view.read(before, self.earliest, 1);
            assert!(matches!(refused, Err(ReadError::Trimmed { .. })), "{refused:?}");
        }
        true
    }

    /// What readers may read: entries that are synced.
    fn readable(&self) -> Offset {
        self.history.checkpoint(self.synced).next_offset()
    }

    fn read(&mut self) -> bool {
        let readable = self.readable().max(self.earliest);
        let from = Offset(self.random.random_range(self.earliest.get()..=readable.get()));
        let below = Offset(self.random.random_range(from.get()..=readable.get()));
        let bytes_max = [0, 1, 100, 5000, 1 << 20][self.random.random_range(0..5)];
        let view = self.log().view();
        let expected = self.history.batches(from, below);
        let (batches, error) = read_all(&view, from, below, bytes_max);
        assert!(error.is_none(), "{}", error.unwrap());
        assert_eq!(batches, expected);
        if let Some(chunk) = view.read_cached(from, below, bytes_max) {
            assert_eq!(chunk.batches, expected[..chunk.batches.len()]);
            let last = chunk.batches.last().expect("never empty");
            let end = last.base_offset.plus(u64::from(last.record_count));
            assert_eq!(chunk.next_offset, end.min(below));
        }
        true
    }

    fn look_up_time(&mut self) -> bool {
        let readable = self.readable().max(self.earliest);
        let time = self.random.random_range(990..self.time + 20);
        let found = self.log().view().offset_at(TimestampMs(time), readable).unwrap();
        let expected = self.history.offset_at(time, self.earliest, readable);
        assert_eq!(found, expected, "time {time} in [{}, {readable})", self.earliest);
        true
    }
}

fn run(seeds: std::ops::Range<u64>, fault_every: u32, prezero_bytes_per_second: u64) {
    for seed in seeds {
        let mut world = World::new(seed, fault_every, prezero_bytes_per_second);
        for _ in 0..120 {
            world.step();
        }
    }
}

#[test]
fn a_log_that_is_closed_killed_and_crashed_does_what_the_model_does() {
    run(0..120, 0, 0);
}

#[test]
fn a_log_whose_disk_fails_now_and_then_does_what_the_model_does() {
    run(1000..1200, 4, 0);
}

/// Fast enough that some files are taken whole, some half way, and some rolls find none. The thread's calls come when
/// they come, so a seed does not fix all of a run.
#[test]
fn a_log_whose_files_are_zeroed_ahead_does_what_the_model_does() {
    run(2000..2040, 0, 256 << 20);
    run(2040..2100, 4, 256 << 20);
}
