//! A log that no node has open: everything wrong with it is found, nothing of it is changed, and what is found is what a
//! start would say.

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use annals::{
    storage::{
        CommitNoteFile, Committed, Vote, VoteFile,
        frame::FrameKind,
        fs::{FileSystem, OpenMode},
        offline::{
            Finding, FramesError, ReadOnly, SegmentState, Start, StoredFrame, Verified, VoteCopies, Weight,
            summarize, verify, walk,
        },
    },
    types::{ClusterId, LogIndex, Offset, Term},
};

use crate::{
    damage_test::{File, SmallLog, frames_of, meant_of_header, worth_trying},
    history::{directory, open, options},
    support::sim_fs::{SimFileSystem, Snapshot},
};

const CLUSTER: ClusterId = ClusterId(9);

/// A small log with all the files that a log has, and how it was.
struct Whole {
    small: SmallLog,
    before: Snapshot,
}

impl Whole {
    fn new(file: File) -> Self {
        let small = SmallLog::new(file, true);
        let fs = Arc::new(small.fs.clone());
        let (mut vote, _) = VoteFile::open(fs.clone(), directory()).unwrap();
        let promise = Vote {
            term: Term(3),
            ..Vote::default()
        };
        vote.save(&promise).unwrap();
        let (mut note, _) = CommitNoteFile::open(fs, directory());
        let all = Committed {
            log_index: LogIndex(small.history.last()),
            term: Term(3),
            membership: None,
        };
        note.note(&all).unwrap();
        let before = small.fs.snapshot();
        Self { small, before }
    }

    fn fs(&self) -> &SimFileSystem {
        &self.small.fs
    }

    fn store(&self, number: usize) -> PathBuf {
        self.small.stores()[number].clone()
    }

    /// What is found when one byte of a file is another.
    fn with_byte(&self, path: &Path, at: usize) -> Verified {
        let mut bytes = self.fs().bytes(path);
        bytes[at] ^= 1 << (at % 8);
        self.with_bytes(path, &bytes)
    }

    fn with_bytes(&self, path: &Path, bytes: &[u8]) -> Verified {
        self.fs().restore(&self.before);
        self.fs().set_bytes(path, bytes);
        let verified = verified(self.fs());
        self.fs().restore(&self.before);
        verified
    }
}

fn read_only(fs: &SimFileSystem) -> ReadOnly {
    ReadOnly::new(Arc::new(fs.clone()))
}

/// What is found; nothing may be changed by it.
fn verified(fs: &SimFileSystem) -> Verified {
    let calls = fs.trace().len();
    let verified = verify(&read_only(fs), directory(), Some(CLUSTER), &mut |_| ()).unwrap();
    assert_eq!(fs.trace().len(), calls, "whoever looks changes nothing");
    verified
}

fn faults(verified: &Verified) -> Vec<&Finding> {
    let is_fault = |finding: &&Finding| finding.weight == Weight::Fault;
    verified.findings.iter().filter(is_fault).collect()
}

#[test]
fn nothing_is_found_in_a_log_as_it_was_written() {
    for file in [File::Growing, File::PreZeroed] {
        let whole = Whole::new(file);
        let stores = whole.small.stores();
        let size: usize = stores.iter().map(|path| whole.fs().bytes(path).len()).sum();
        let mut read = 0;
        let verified = verify(&read_only(whole.fs()), directory(), Some(CLUSTER), &mut |bytes| {
            read += bytes
        })
        .unwrap();
        // A file that was being prepared when the log was closed may be left, and is nothing to worry about.
        let is_draft = |finding: &Finding| finding.path.extension().is_some_and(|end| end == "preparing");
        let told: Vec<_> = verified
            .findings
            .iter()
            .filter(|finding| !is_draft(finding))
            .collect();
        assert!(
            told.is_empty() && verified.findings.worst() <= Some(Weight::Note),
            "{told:?}"
        );
        assert_eq!((verified.bytes, read), (size as u64, size as u64));
        assert_eq!(verified.segments, 3);
        assert_eq!(verified.entries, whole.small.history.last());
        assert_eq!(
            (verified.earliest, verified.tail),
            (Some(Offset(0)), Some(whole.small.history.tail()))
        );
    }
}

#[test]
fn each_byte_of_a_sealed_segment_that_means_something_is_missed() {
    let whole = Whole::new(File::Growing);
    for number in 0..2 {
        let path = whole.store(number);
        let good = whole.fs().bytes(&path);
        let frames = frames_of(&good);
        for at in worth_trying(&good, good.len()) {
            let found = whole.with_byte(&path, at);
            let frame = frames.iter().find(|frame| (frame.start..frame.end).contains(&at));
            let position = match frame {
                Some(frame) => Some(frame.start as u64),
                None => (at < meant_of_header(&good)).then_some(0),
            };
            let faults = faults(&found);
            let said: Vec<_> = faults
                .iter()
                .map(|fault| (fault.path.clone(), fault.position.map(|position| position.get())))
                .collect();
            let wanted: Vec<_> = position
                .map(|position| (path.clone(), Some(position)))
                .into_iter()
                .collect();
            assert_eq!(
                said, wanted,
                "byte {at} of segment {number}: {:?}",
                found.findings
            );
        }
    }
}

#[test]
fn of_the_last_segment_the_same_is_said_as_by_a_start() {
    for (file, marked) in [
        (File::Growing, true),
        (File::Growing, false),
        (File::PreZeroed, false),
    ] {
        let small = SmallLog::new(file, marked);
        let path = small.stores().pop().unwrap();
        let good = small.fs.bytes(&path);
        let end = frames_of(&good).last().unwrap().end;
        let before = small.fs.snapshot();
        let compare = |bytes: &[u8], what: &str| {
            small.fs.set_bytes(&path, bytes);
            let found = verified(&small.fs);
            let expected = match open(&small.fs, options()) {
                Err(_) => (true, false),
                // A start needs no more of the header than what it means.
                Ok(_) if bytes.len() < 4096 => (true, false),
                Ok((_, report)) => (report.damage.is_some(), report.cut_bytes > 0),
            };
            let in_store = |weight| {
                let mut all = found.findings.iter();
                all.any(|finding| finding.weight == weight && finding.path == path)
            };
            let said = (in_store(Weight::Fault), in_store(Weight::Mends));
            assert_eq!(said, expected, "{what}: {:?}", found.findings);
            small.fs.restore(&before);
        };
        for at in worth_trying(&good, good.len().min(end + 64)) {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << (at % 8);
            compare(&flipped, &format!("byte {at} flipped"));
            compare(&good[..at], &format!("cut at {at}"));
        }
    }
}

#[test]
fn a_sealed_segment_that_is_cut_is_missed_wherever_it_ends() {
    let whole = Whole::new(File::Growing);
    let path = whole.store(1);
    let good = whole.fs().bytes(&path);
    let frames = frames_of(&good);
    for cut in worth_trying(&good, good.len()) {
        let found = whole.with_bytes(&path, &good[..cut]);
        // Without its last mark it has all that it had; its index says that it was longer.
        let only_mark = frames[frames.len() - 2].end..=frames[frames.len() - 1].start;
        let wanted = if only_mark.contains(&cut) {
            Weight::Mends
        } else {
            Weight::Fault
        };
        assert_eq!(found.findings.worst(), Some(wanted), "cut at {cut}");
    }
}

#[test]
fn the_files_beside_the_segments_are_read_too() {
    let whole = Whole::new(File::Growing);
    let check = |path: &Path, meant: &dyn Fn(usize) -> bool, weight: Weight| {
        for at in 0..whole.fs().bytes(path).len().min(9000) {
            let worst = whole.with_byte(path, at).findings.worst();
            assert_eq!(
                worst,
                meant(at).then_some(weight),
                "byte {at} of {}",
                path.display()
            );
        }
    };
    let log = directory();
    check(&log.join("beginning"), &|_| true, Weight::Fault);
    check(&log.join("vote"), &|at| at % 4096 < 64, Weight::Mends);
    check(&log.join("00000000000000000001.index"), &|_| true, Weight::Mends);
    // The first note is in the second slot.
    let note = whole.fs().bytes(&log.join("committed"));
    let used = 16384..16384 + 64;
    assert_eq!(note.len(), used.end);
    for at in used {
        let worst = whole.with_byte(&log.join("committed"), at).findings.worst();
        assert_eq!(worst, Some(Weight::Mends), "byte {at} of committed");
    }
}

#[test]
fn an_index_that_is_whole_and_of_other_frames_is_found() {
    let whole = Whole::new(File::Growing);
    let index = directory().join("00000000000000000001.index");
    let mut bytes = whole.fs().bytes(&index);
    // Its first entry leads 8 bytes further, under checksums that match.
    bytes[72] += 8;
    let crc = crc32c::crc32c(&bytes[64..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    let found = whole.with_bytes(&index, &bytes);
    assert_eq!(found.findings.worst(), Some(Weight::Mends));
    assert_eq!(
        found.findings.iter().next().map(|finding| &finding.path),
        Some(&index)
    );
}

#[test]
fn whatever_is_missing_is_missed() {
    let whole = Whole::new(File::Growing);
    for number in 0..3 {
        whole.fs().restore(&whole.before);
        whole.fs().remove(&whole.store(number)).unwrap();
        let found = verified(whole.fs());
        assert_eq!(faults(&found).len(), 1, "segment {number}: {:?}", found.findings);
    }
    whole.fs().restore(&whole.before);
    whole.fs().remove(&directory().join("vote")).unwrap();
    let found = verified(whole.fs());
    assert!(
        faults(&found)[0].what.contains("votes were lost"),
        "{:?}",
        found.findings
    );
    // All of it: what is noted as committed says that there was something.
    for number in (0..3).rev() {
        whole.fs().remove(&whole.store(number)).unwrap();
    }
    let found = verified(whole.fs());
    assert!(
        faults(&found)[0].what.contains("no segment is left"),
        "{:?}",
        found.findings
    );
}

#[test]
fn the_log_of_another_cluster_is_told() {
    let whole = Whole::new(File::Growing);
    let other = Some(ClusterId(8));
    let found = verify(&read_only(whole.fs()), directory(), other, &mut |_| ()).unwrap();
    assert_eq!(faults(&found).len(), 4, "{:?}", found.findings);
    let found = verify(&read_only(whole.fs()), directory(), None, &mut |_| ()).unwrap();
    assert_eq!(found.findings.worst(), None);
}

/// What another node gets of a log: its sealed segments, staged, with the manifest under that name.
fn received(whole: &Whole, manifest_name: &str) -> SimFileSystem {
    let (log, _) = open(whole.fs(), options()).unwrap();
    let manifest = log
        .view()
        .manifest(LogIndex(whole.small.history.last()))
        .unwrap()
        .unwrap();
    assert_eq!(manifest.segments.len(), 2);
    let fs = SimFileSystem::new(2);
    fs.create_dir_all(directory()).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let file = fs.open(&directory().join(name), OpenMode::CreateNew).unwrap();
        file.write_all_at(0, &mut [std::io::IoSlice::new(bytes)]).unwrap();
    };
    write(manifest_name, &manifest.encode());
    for (number, segment) in manifest.segments.iter().enumerate() {
        let name = format!("{:020}.staged", segment.first_log_index.get());
        write(&name, &whole.fs().bytes(&whole.store(number)));
    }
    fs
}

#[test]
fn what_is_received_is_looked_at_and_only_what_is_being_installed_is_counted_on() {
    let whole = Whole::new(File::Growing);
    for (name, unfinished, weight) in [
        ("manifest.incoming", Weight::Note, Weight::Mends),
        ("manifest.installing", Weight::Mends, Weight::Fault),
    ] {
        let fs = received(&whole, name);
        assert_eq!(verified(&fs).findings.worst(), Some(unfinished), "{name}");
        let before = fs.snapshot();
        let staged = directory().join("00000000000000000007.staged");
        for (path, at) in [(directory().join(name), 20), (staged.clone(), 4096 + 70)] {
            let mut bytes = fs.bytes(&path);
            bytes[at] ^= 1;
            fs.set_bytes(&path, &bytes);
            let found = verified(&fs);
            let told = found
                .findings
                .iter()
                .any(|finding| finding.weight == weight && finding.path == path);
            assert!(told, "{name}: {:?}", found.findings);
            fs.restore(&before);
        }
        fs.remove(&staged).unwrap();
        let is_missed = verified(&fs).findings.worst() == Some(Weight::Fault);
        assert_eq!(
            is_missed,
            name == "manifest.installing",
            "what is not there yet is to come"
        );
    }
}

fn walked(fs: &SimFileSystem, start: Start) -> (Vec<StoredFrame>, Option<FramesError>) {
    let mut frames = Vec::new();
    let ended = walk(&read_only(fs), directory(), start, |frame| {
        frames.push(frame);
        ControlFlow::Continue(())
    });
    (frames, ended.err())
}

#[test]
fn frames_are_shown_from_anywhere_and_end_at_damage() {
    let whole = Whole::new(File::PreZeroed);
    let history = &whole.small.history;
    for from in 0..history.tail().get() {
        let (frames, error) = walked(whole.fs(), Start::Offset(Offset(from)));
        assert!(error.is_none(), "{error:?}");
        let batches: Vec<_> = frames.iter().filter_map(StoredFrame::batch).collect();
        assert_eq!(
            batches,
            history.batches(Offset(from), history.tail()),
            "from {from}"
        );
    }
    for from in 1..=history.last() {
        let (frames, _) = walked(whole.fs(), Start::LogIndex(LogIndex(from)));
        let entries = frames.iter().filter(|frame| frame.header.kind != FrameKind::Mark);
        let indexes: Vec<_> = entries.map(|frame| frame.header.log_index.get()).collect();
        assert_eq!(indexes, (from..=history.last()).collect::<Vec<_>>());
    }
    let path = whole.store(1);
    let good = whole.fs().bytes(&path);
    let bad = frames_of(&good)[1];
    let mut bytes = good.clone();
    bytes[bad.end - 1] ^= 1;
    whole.fs().set_bytes(&path, &bytes);
    let (frames, error) = walked(whole.fs(), Start::Earliest);
    assert_eq!(
        frames.last().unwrap().header.log_index.plus(1),
        bad.header.log_index
    );
    match error {
        Some(FramesError::Damaged(damage)) => {
            assert_eq!(
                (damage.path, damage.position.get()),
                (path.clone(), bad.start as u64)
            );
        }
        other => panic!("{other:?}"),
    }
    whole.fs().restore(&whole.before);
    whole.fs().remove(&path).unwrap();
    let (_, error) = walked(whole.fs(), Start::Earliest);
    assert!(
        matches!(&error, Some(FramesError::Damaged(damage)) if damage.what.contains("are missing")),
        "{error:?}"
    );
    whole.fs().remove(&whole.store(0)).unwrap();
    for start in [
        Start::Earliest,
        Start::Offset(Offset(0)),
        Start::LogIndex(LogIndex(1)),
    ] {
        let (frames, error) = walked(whole.fs(), start);
        assert!(matches!(error, Some(FramesError::Missing(_))), "{error:?}");
        assert_eq!(frames[0].header.log_index, LogIndex(10), "what is there is shown");
    }
    // What was trimmed is not missing.
    whole.fs().restore(&whole.before);
    let (mut log, _) = open(whole.fs(), options()).unwrap();
    log.trim(Offset(4)).unwrap();
    drop(log);
    let (_, error) = walked(whole.fs(), Start::Offset(Offset(0)));
    assert!(matches!(error, Some(FramesError::Before { .. })), "{error:?}");
    let (frames, error) = walked(whole.fs(), Start::Earliest);
    assert_eq!((frames[0].header.log_index, error.is_none()), (LogIndex(7), true));
}

#[test]
fn a_summary_says_where_each_segment_ends_and_what_was_promised() {
    let whole = Whole::new(File::PreZeroed);
    let summary = summarize(&read_only(whole.fs()), directory()).unwrap();
    let history = &whole.small.history;
    let lasts: Vec<_> = summary
        .segments
        .iter()
        .map(|segment| segment.last.map(LogIndex::get))
        .collect();
    assert_eq!(lasts, [Some(6), Some(9), Some(history.last())]);
    let states: Vec<_> = summary.segments.iter().map(|segment| segment.state).collect();
    assert_eq!(
        states,
        [SegmentState::Sealed, SegmentState::Sealed, SegmentState::Active]
    );
    let offsets: Vec<_> = summary
        .segments
        .iter()
        .map(|segment| segment.next_offset)
        .collect();
    assert_eq!(offsets, [Some(Offset(4)), Some(Offset(8)), Some(history.tail())]);
    assert_eq!(summary.end.as_ref(), Some(history.checkpoint(history.last())));
    assert_eq!(summary.begins, Some(LogIndex(1)));
    assert_eq!(summary.torn_bytes, 0);
    assert!(matches!(summary.vote, VoteCopies::Same(vote) if vote.term == Term(3)));
    assert_eq!(
        summary.committed.map(|note| note.log_index),
        Some(LogIndex(history.last()))
    );
    // One whose header is bad, and one that is not there.
    let mut bytes = whole.fs().bytes(&whole.store(1));
    bytes[30] ^= 1;
    whole.fs().set_bytes(&whole.store(1), &bytes);
    let summary = summarize(&read_only(whole.fs()), directory()).unwrap();
    assert_eq!(summary.segments[1].state, SegmentState::Damaged);
    assert_eq!(summary.segments[0].next_offset, None);
}

/// A disk that does not let one of its files be read.
#[derive(Debug)]
struct Unreadable {
    disk: SimFileSystem,
    path: PathBuf,
}

impl FileSystem for Unreadable {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn annals::storage::fs::File>> {
        if path == self.path {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.open(path, mode)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.disk.create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.disk.sync_dir(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.disk.free_bytes(directory)
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_and_all_others_are_looked_at() {
    let whole = Whole::new(File::Growing);
    let log = directory();
    let index = log.join("00000000000000000001.index");
    let beside = ["vote", "committed", "beginning"].map(|name| log.join(name));
    let stores = (0..3).map(|number| whole.store(number));
    for path in beside.into_iter().chain(stores).chain([index]) {
        let disk = whole.fs().clone();
        let disk = ReadOnly::new(Arc::new(Unreadable {
            disk,
            path: path.clone(),
        }));
        let found = verify(&disk, log, Some(CLUSTER), &mut |_| ()).unwrap();
        let told: Vec<_> = faults(&found)
            .iter()
            .map(|fault| (&fault.path, fault.what.as_str()))
            .collect();
        assert_eq!(told, [(&path, "it cannot be read: permission denied")]);
        assert_eq!(found.segments, 3);
        let summary = summarize(&disk, log).unwrap();
        let is_looked_at = !path.ends_with("00000000000000000001.index");
        let is_told = summary.findings.iter().any(|finding| finding.path == path);
        assert_eq!(is_told, is_looked_at, "{}", path.display());
    }
}
