//! A small log cut at every byte, and with every bit of it flipped.
//!
//! The rule that opening follows, for the last segment. Let F be the first frame that is not what was written.
//!
//! - A later frame whose header is intact and that says `synced_to` > start of F proves that F was synced. Then opening
//!   reports damage at the start of F, the log is readable up to there, and it takes no writes.
//! - Without such a frame nothing tells F from an append that was never synced. Then the log ends before F and goes on
//!   from there. That is so for the last group commit, until the mark of an idle log follows it, and for a file that
//!   somebody cuts: nothing behind the cut is left that could prove anything.
//!
//! Where the header is not what was written, none of the segment's frames can be told: then the damage is at the start of the segment, since
//! the header was synced before the segment got its name.
//!
//! In a sealed segment every frame was synced, so damage there never shortens the log; reads that meet it say so.

use std::path::{Path, PathBuf};

use annals::{
    storage::{
        AppendError, Log, LogOptions, OpenError, OpenReport, ReadError,
        entry::Payload,
        frame::{FRAME_HEADER_LEN, FrameHeader, FrameKind},
    },
    types::{Offset, Position},
};
use bytes::Bytes;

use crate::{
    history::{History, at, batch, directory, open, options, read_all, stamped},
    support::sim_fs::{SimFileSystem, Snapshot},
};

/// How the last segment's file is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum File {
    /// It ends with its last frame.
    Growing,
    /// Zeros follow the last frame.
    PreZeroed,
}

/// A log of three segments, of which two are sealed.
pub(crate) struct SmallLog {
    pub(crate) fs: SimFileSystem,
    snapshot: Snapshot,
    pub(crate) history: History,
}

/// A frame as it lies in a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Laid {
    pub(crate) header: FrameHeader,
    pub(crate) start: usize,
    /// Behind the payload, without padding.
    pub(crate) end: usize,
}

impl SmallLog {
    pub(crate) fn new(file: File, marked: bool) -> Self {
        let fs = SimFileSystem::new(1);
        let options = match file {
            File::Growing => options(),
            // Of the files after the first one, the thread that prepares them makes one at most at this rate.
            File::PreZeroed => LogOptions {
                segment_bytes: 8 << 10,
                prezero_bytes_per_second: 1,
                ..options()
            },
        };
        let (mut log, _) = open(&fs, options).unwrap();
        let mut history = History::new();
        for (segment, groups) in groups().into_iter().enumerate() {
            if segment > 0 {
                log.roll().unwrap();
            }
            for group in groups {
                for payload in group {
                    let time = 1000 + history.last();
                    history.append_to(&mut log, 1 + segment as u64, time, payload);
                }
                log.sync().unwrap();
            }
        }
        if marked {
            log.mark().unwrap();
        }
        history.check(&log);
        drop(log);
        let snapshot = fs.snapshot();
        Self {
            fs,
            snapshot,
            history,
        }
    }

    pub(crate) fn stores(&self) -> Vec<PathBuf> {
        let is_store = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "store");
        self.fs.paths().into_iter().filter(is_store).collect()
    }

    /// Opens the log with other bytes in one file.
    fn open_with(&self, path: &Path, bytes: &[u8]) -> Result<(Log, OpenReport), OpenError> {
        self.fs.restore(&self.snapshot);
        self.fs.set_bytes(path, bytes);
        open(&self.fs, options())
    }

    /// The log of the last segment's `bytes`, whose frames are `frames`, is what the rule says.
    fn check_last_segment(&self, path: &Path, good: &[u8], bytes: &[u8], frames: &[Laid], what: &str) {
        let same = |start: usize, end: usize| bytes.get(start..end) == Some(&good[start..end]);
        let opened = self.open_with(path, bytes);
        let (mut log, report) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        let has_header = same(0, meant_of_header(good));
        // Without a header none is found; and all of it was synced before the header was used.
        let bad = frames
            .iter()
            .find(|frame| !has_header || !same(frame.start, frame.end));
        let is_proof = |bad: &Laid, frame: &Laid| {
            same(frame.start, frame.start + FRAME_HEADER_LEN) && frame.header.synced_to as usize > bad.start
        };
        let proven = bad.filter(|bad| {
            if !has_header {
                return true;
            }
            let mut behind = frames.iter().filter(|frame| frame.start > bad.start);
            behind.any(|frame| is_proof(bad, frame))
        });
        let entries = bad.map_or(self.history.last(), entries_before);
        assert_eq!(report.last_log_index.get(), entries, "{what}");
        let damage = report.damage.map(|damage| (damage.path, damage.position));
        let place = |frame: &Laid| if has_header { frame.start } else { 0 };
        let expected = proven.map(|frame| (path.to_owned(), Position(place(frame) as u64)));
        assert_eq!(damage, expected, "{what}");
        let mut history = self.history.clone();
        history.keep(entries);
        self.history.check(&log);
        let entry = history.next_entry(9, 9000, Payload::Records(batch("after the damage", 1)));
        if proven.is_some() {
            let refused = log.append(vec![entry]);
            assert!(
                matches!(refused, Err(AppendError::Damaged)),
                "{what}: {refused:?}"
            );
            return;
        }
        log.append(vec![entry.clone()]).unwrap();
        log.sync().unwrap();
        history.append(entry);
        drop(log);
        let (log, _) = open(&self.fs, options()).unwrap();
        assert_eq!(
            log.state().checkpoint().last_log_index().get(),
            entries + 1,
            "{what}"
        );
        history.check(&log);
    }

    /// Every record of a log with a damaged sealed segment is right or its read names the damage; says how many cannot be
    /// read.
    fn check_sealed(&self, path: &Path, log: &Log, what: &str) -> usize {
        let (view, tail) = (log.view(), self.history.tail());
        let mut unreadable = 0;
        for expected in self.history.batches(Offset(0), tail) {
            let (batches, error) = read_all(&view, expected.base_offset, expected.base_offset.plus(1), 1);
            match error {
                None => assert_eq!(batches, [expected], "{what}"),
                Some(error) => {
                    names(&error, path, what);
                    unreadable += 1;
                }
            }
        }
        unreadable
    }
}

fn names(error: &ReadError, expected: &Path, what: &str) {
    match error {
        ReadError::Corrupt { path, .. } => assert_eq!(path, expected, "{what}"),
        other => panic!("{what}: {other}"),
    }
}

/// The payloads of three segments, by group commit.
fn groups() -> [Vec<Vec<Payload>>; 3] {
    let records = |batch| Payload::Records(batch);
    let opaque = |bytes: &'static [u8]| Bytes::from_static(bytes);
    [
        vec![
            vec![Payload::Blank, Payload::Membership(opaque(b"node-0"))],
            vec![
                records(batch("a", 1)),
                records(stamped(batch("bb", 2), 7, 0, 0)),
                records(batch("ccc", 1)),
            ],
            vec![Payload::Control(opaque(b"\x01\0\0\0\0\0\0\0\0"))],
        ],
        vec![
            vec![
                records(stamped(batch("dddd", 1), 7, 0, 2)),
                records(batch("eeeee", 3)),
            ],
            vec![records(stamped(batch("bb", 2), 7, 0, 0))],
        ],
        vec![
            vec![Payload::Blank, records(batch("ffffff", 1))],
            vec![
                records(at(stamped(batch("ggggggg", 1), 7, 1, 0), 9)),
                records(at(batch("a condition that fails", 1), 3)),
                records(stamped(batch("hhhhhhhh", 2), 8, 0, 0)),
            ],
            vec![
                records(stamped(batch("hhhhhhhh", 2), 8, 0, 0)),
                Payload::Membership(opaque(b"node-0 node-1")),
            ],
            vec![records(batch("iiiiiiiii", 1)), records(batch("jjjjjjjjjj", 1))],
        ],
    ]
}

fn number_at(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Bytes of a segment header that mean something: the fixed part and the checkpoint.
pub(crate) fn meant_of_header(store: &[u8]) -> usize {
    96 + number_at(store, 16, 4)
}

pub(crate) fn frames_of(store: &[u8]) -> Vec<Laid> {
    let salt = number_at(store, 24, 8) as u64;
    let mut start = meant_of_header(store).next_multiple_of(4096);
    let mut frames = Vec::new();
    while let Ok(header) = FrameHeader::decode(&store[start..], salt, Position(start as u64)) {
        let end = start + FRAME_HEADER_LEN + header.payload_len as usize;
        frames.push(Laid { header, start, end });
        start += usize::try_from(header.frame_len()).unwrap();
        if start >= store.len() {
            break;
        }
    }
    frames
}

/// Number of the last entry before the frame.
fn entries_before(frame: &Laid) -> u64 {
    let is_entry = frame.header.kind != FrameKind::Mark;
    frame.header.log_index.get() - u64::from(is_entry)
}

/// The bytes of a store at which cuts and flips are tried: all but those that fill the header's pages, of which a few are.
pub(crate) fn worth_trying(store: &[u8], end: usize) -> Vec<usize> {
    let header_len = meant_of_header(store).next_multiple_of(4096);
    let is_padding = |at: &usize| (meant_of_header(store)..header_len).contains(at);
    (0..end)
        .filter(|at| !is_padding(at) || at.is_multiple_of(97))
        .collect()
}

fn with_bit_flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

fn cut_at_every_byte(file: File, marked: bool) {
    let small = SmallLog::new(file, marked);
    let path = small.stores().pop().unwrap();
    let good = small.fs.bytes(&path);
    let frames = frames_of(&good);
    let end = frames.last().unwrap().end;
    assert_eq!(good.len() > end + 8, file == File::PreZeroed);
    for cut in worth_trying(&good, good.len().min(end + 64)) {
        small.check_last_segment(&path, &good, &good[..cut], &frames, &format!("cut at {cut}"));
        if file == File::PreZeroed {
            let mut zeroed = good.clone();
            zeroed[cut..].fill(0);
            small.check_last_segment(&path, &good, &zeroed, &frames, &format!("zeros from {cut} on"));
        }
    }
}

fn flip_every_bit(file: File, marked: bool) {
    let small = SmallLog::new(file, marked);
    let path = small.stores().pop().unwrap();
    let good = small.fs.bytes(&path);
    let frames = frames_of(&good);
    let end = frames.last().unwrap().end;
    for byte in worth_trying(&good, good.len().min(end + 64)) {
        for bit in byte * 8..byte * 8 + 8 {
            let flipped = with_bit_flipped(&good, bit);
            small.check_last_segment(&path, &good, &flipped, &frames, &format!("bit {bit}"));
        }
    }
}

#[test]
fn a_last_segment_cut_at_any_byte_is_a_prefix_of_the_log() {
    cut_at_every_byte(File::Growing, true);
}

#[test]
fn a_pre_zeroed_last_segment_cut_or_zeroed_from_any_byte_on_is_a_prefix_of_the_log() {
    cut_at_every_byte(File::PreZeroed, true);
}

#[test]
fn a_flipped_bit_in_a_last_segment_that_ends_with_a_mark_is_reported_or_harmless() {
    flip_every_bit(File::Growing, true);
}

#[test]
fn a_flipped_bit_in_a_pre_zeroed_last_segment_is_reported_or_harmless() {
    flip_every_bit(File::PreZeroed, true);
}

#[test]
fn a_flipped_bit_in_a_last_group_without_a_mark_ends_the_log_there() {
    let small = SmallLog::new(File::PreZeroed, false);
    let path = small.stores().pop().unwrap();
    let good = small.fs.bytes(&path);
    let frames = frames_of(&good);
    let last_group = frames.last().unwrap().header.synced_to as usize;
    let (_, report) = small
        .open_with(&path, &with_bit_flipped(&good, last_group * 8))
        .unwrap();
    assert_eq!(
        (report.damage, report.last_log_index.get()),
        (None, small.history.last() - 2)
    );
    for byte in last_group..frames.last().unwrap().end {
        let flipped = with_bit_flipped(&good, byte * 8 + byte % 8);
        small.check_last_segment(&path, &good, &flipped, &frames, &format!("byte {byte}"));
    }
}

#[test]
fn any_mixture_of_lost_sectors_is_judged_by_the_frames_that_are_left() {
    let small = SmallLog::new(File::PreZeroed, true);
    let path = small.stores().pop().unwrap();
    let good = small.fs.bytes(&path);
    let frames = frames_of(&good);
    let (first, end) = (frames[0].start, frames.last().unwrap().end);
    let piece = (end - first).div_ceil(10);
    for mixture in 0..1 << 10_u32 {
        let mut bytes = good.clone();
        for number in (0..10).filter(|number| mixture & 1 << number != 0) {
            let start = first + number * piece;
            bytes[start..end.min(start + piece)].fill(0);
        }
        small.check_last_segment(&path, &good, &bytes, &frames, &format!("mixture {mixture:b}"));
    }
}

#[test]
fn a_flipped_bit_in_a_sealed_segment_is_found_by_whoever_reads_it() {
    let small = SmallLog::new(File::Growing, true);
    let path = small.stores().swap_remove(1);
    let good = small.fs.bytes(&path);
    let frames = frames_of(&good);
    for byte in worth_trying(&good, good.len()) {
        for bit in byte * 8..byte * 8 + 8 {
            let what = format!("bit {bit}");
            let (log, report) = small.open_with(&path, &with_bit_flipped(&good, bit)).unwrap();
            assert_eq!(report.damage, None, "sealed segments are not read at start");
            let inside = |frame: &Laid| (frame.start..frame.end).contains(&byte);
            let matters = byte < meant_of_header(&good) || frames.iter().any(inside);
            let unreadable = small.check_sealed(&path, &log, &what);
            match log.view().scrub(|_| ()) {
                Err(error) => names(&error, &path, &what),
                Ok(()) => assert!(!matters && unreadable == 0, "{what}: not found"),
            }
            assert!(unreadable <= 2, "{what}: {unreadable} batches are out of reach");
        }
    }
}

#[test]
fn a_sealed_segment_cut_at_any_byte_is_found_by_whoever_reads_it() {
    let small = SmallLog::new(File::Growing, true);
    let [path, next] = [1, 2].map(|number| small.stores().swap_remove(number));
    let good = small.fs.bytes(&path);
    let frames = frames_of(&good);
    let entries_end = frames[frames.len() - 2].end;
    for cut in worth_trying(&good, good.len()) {
        let what = format!("cut at {cut}");
        let (log, _) = small.open_with(&path, &good[..cut]).unwrap();
        let lost = |frame: &&Laid| frame.header.record_count > 0 && (frame.end > cut || cut < 96);
        let unreadable = small.check_sealed(&path, &log, &what);
        assert_eq!(unreadable, frames.iter().filter(lost).count(), "{what}");
        match log.view().scrub(|_| ()) {
            Err(ReadError::Corrupt { path: named, .. }) => {
                assert!(named == path || named == next, "{what}: {}", named.display());
            }
            other => {
                // Whole entries and no part of the mark.
                assert!(
                    other.is_ok() && cut >= entries_end,
                    "{what}: not found by a scrub: {other:?}"
                );
            }
        }
    }
}

#[test]
fn a_damaged_or_cut_index_costs_nothing_but_a_rebuild() {
    let small = SmallLog::new(File::Growing, true);
    let store = small.stores().swap_remove(1);
    let path = store.with_extension("index");
    let good = small.fs.bytes(&path);
    let flipped = (0..good.len() * 8).map(|bit| with_bit_flipped(&good, bit));
    let cut = (0..good.len()).map(|cut| good[..cut].to_vec());
    for bytes in flipped.chain(cut) {
        let (log, _) = small.open_with(&path, &bytes).unwrap();
        small.history.check(&log);
        assert_eq!(small.fs.bytes(&path), good, "it is written again as it was");
    }
}

/// It kept the whole log from being opened.
#[test]
fn a_first_segment_without_a_header_is_named_and_the_others_are_only_read() {
    let small = SmallLog::new(File::Growing, true);
    let path = small.stores().swap_remove(0);
    let good = small.fs.bytes(&path);
    let before: Vec<_> = small.stores().iter().map(|path| small.fs.bytes(path)).collect();
    for bit in 0..96 * 8 {
        let what = format!("bit {bit}");
        let flipped = with_bit_flipped(&good, bit);
        let Ok((mut log, report)) = small.open_with(&path, &flipped) else {
            panic!("{what}: nothing is opened")
        };
        let damage = report.damage.map(|damage| (damage.path, damage.position));
        assert_eq!(damage, Some((path.clone(), Position(0))), "{what}");
        let view = log.view();
        let tail = small.history.tail();
        assert_eq!((view.earliest(), report.tail), (Offset(0), tail), "{what}");
        names(&view.read(Offset(0), tail, 1).unwrap_err(), &path, &what);
        let readable = (0..tail.get()).find(|from| view.read(Offset(*from), tail, 1).is_ok());
        let readable = Offset(readable.expect("the other segments are readable"));
        let (batches, error) = read_all(&view, readable, tail, 1 << 20);
        assert!(error.is_none(), "{what}");
        assert_eq!(batches, small.history.batches(readable, tail), "{what}");
        assert!(matches!(log.sync(), Err(AppendError::Damaged)), "{what}");
        drop(log);
        small.fs.set_bytes(&path, &good);
        let after: Vec<_> = small.stores().iter().map(|path| small.fs.bytes(path)).collect();
        assert_eq!(before, after, "{what}: other files have changed");
    }
}

#[test]
fn a_log_whose_oldest_offset_nobody_knows_begins_with_the_next_segment() {
    let small = SmallLog::new(File::Growing, true);
    let path = small.stores().swap_remove(1);
    let good = small.fs.bytes(&path);
    // Of a version that did not write down where the log begins.
    for path in [&small.stores()[0], &directory().join("beginning")] {
        annals::storage::fs::FileSystem::remove(&small.fs, path).unwrap();
    }
    small.fs.set_bytes(&path, &with_bit_flipped(&good, 0));
    let (log, report) = open(&small.fs, options()).unwrap();
    assert_eq!(report.damage.unwrap().path, path);
    let (view, tail) = (log.view(), small.history.tail());
    assert!(view.earliest() > Offset(0) && view.earliest() < tail);
    let (batches, error) = read_all(&view, view.earliest(), tail, 1 << 20);
    assert!(error.is_none());
    assert_eq!(batches, small.history.batches(view.earliest(), tail));
}

#[test]
fn a_missing_middle_segment_is_reported_where_its_records_should_be() {
    let small = SmallLog::new(File::Growing, true);
    let [before, missing, behind] = [0, 1, 2].map(|number| small.stores().swap_remove(number));
    assert_eq!(missing.parent(), Some(directory()));
    annals::storage::fs::FileSystem::remove(&small.fs, &missing).unwrap();
    let (log, _) = open(&small.fs, options()).unwrap();
    assert!(small.check_sealed(&before, &log, "missing") > 0);
    names(&log.view().scrub(|_| ()).unwrap_err(), &behind, "scrub");
}
