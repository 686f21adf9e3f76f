//! The data of a node, made without one.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use annals::{
    storage::{
        CommitNoteFile, Committed, Log, LogOptions, Vote, VoteFile,
        control::Control,
        data_dir::{DataDir, IdleDataDir},
        entry::{Batch, Entry, Payload},
        fs::RealFileSystem,
    },
    types::{LogIndex, NodeId, Offset, Term, TimestampMs},
};
use bytes::Bytes;
use prost::Message;

use super::wait_until;

/// A data directory with two segments: records 0..4 in the first, 4..6 in the second, a batch of two each.
pub fn write_node(directory: &Path, name: &str) {
    let file_system = Arc::new(RealFileSystem);
    let data = DataDir::open(file_system.clone(), directory, name).expect("the machine has a disk");
    let options = options(&data);
    let (mut vote, _) = VoteFile::open(file_system.clone(), &options.directory).expect("it can be made");
    let promise = Vote {
        term: Term(1),
        voted_for: Some(NodeId(7)),
        committed: true,
    };
    vote.save(&promise).expect("it can be written");
    let (mut log, _) = Log::open(file_system, options).expect("it can be made");
    for entry in 1..=3 {
        if entry == 3 {
            log.roll().expect("it can be written");
        }
        log.append(vec![records(entry)]).expect("it is the next one");
        log.sync().expect("it can be synced");
    }
    log.mark().expect("it can be written");
    drop((log, vote, data));
    wait_until_idle(directory);
}

/// Trims its log below an offset: the entry says so, and no file is gone yet.
pub fn trim(directory: &Path, below: u64) {
    let file_system = Arc::new(RealFileSystem);
    let data = DataDir::open(file_system.clone(), directory, "node-0").expect("it is there");
    let (mut log, _) = Log::open(file_system, options(&data)).expect("it is whole");
    let trim = Entry {
        payload: Payload::Control(Control::Trim { below: Offset(below) }.encode()),
        ..records(4)
    };
    log.append(vec![trim]).expect("it is the next one");
    log.sync().expect("it can be synced");
    drop((log, data));
    wait_until_idle(directory);
}

fn options(data: &DataDir) -> LogOptions {
    LogOptions {
        directory: data.log_dir("default").expect("it is a name"),
        cluster_id: data.identity().cluster_id.expect("it is a cluster by itself"),
        segment_bytes: 1 << 20,
        segment_age_ms: u64::MAX,
        tail_cache_bytes: 0,
        open_files_max: 2,
        prezero_bytes_per_second: 0,
    }
}

/// Notes that all of it is committed, as a node does that runs for a while.
pub fn note_committed(directory: &Path) {
    let log = directory.join("logs/default");
    let (mut note, _) = CommitNoteFile::open(Arc::new(RealFileSystem), &log);
    let all = Committed {
        log_index: LogIndex(3),
        term: Term(1),
        membership: None,
    };
    note.note(&all).expect("it can be written");
}

/// Waits until nobody holds the directory: a process that another test has just started does, until it is the program.
pub fn wait_until_idle(directory: &Path) {
    wait_until("nobody uses it", || {
        IdleDataDir::open(&RealFileSystem, directory).is_ok()
    });
}

/// Two records each, with the values a and b of the entry.
fn records(entry: u64) -> Entry {
    let record = |letter| annals::proto::annals::v1::Record {
        value: format!("{letter}{entry}").into_bytes().into(),
        ..Default::default()
    };
    let set = annals::proto::annals::v1::RecordSet {
        records: vec![record('a'), record('b')],
    };
    Entry {
        log_index: LogIndex(entry),
        term: Term(1),
        timestamp: TimestampMs(1000 * entry),
        payload: Payload::Records(Batch {
            producer: None,
            expected_offset: None,
            record_count: 2,
            records: Bytes::from(set.encode_to_vec()),
        }),
    }
}

/// The store of the segment that begins with an entry.
pub fn store(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("logs/default/{first:020}.store"))
}

/// Every file below a directory, with its bytes and when it was written last.
pub fn files(directory: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it can be listed").path();
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        if metadata.is_dir() {
            all.extend(files(&path));
        } else {
            let written = metadata.modified();
            // A FIFO has nothing to be read, and a link has it elsewhere.
            let is_file = metadata.is_file();
            let bytes = if is_file {
                fs::read(&path).expect("it can be read")
            } else {
                Vec::new()
            };
            all.insert(path, (bytes, written.expect("the file system keeps times")));
        }
    }
    all
}
