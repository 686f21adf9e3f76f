//! A log of two segments, the first of them sealed.

use std::sync::LazyLock;

use annals::{
    storage::{
        Log,
        entry::{Batch, Entry, Payload},
    },
    types::{ClusterId, LogIndex, Offset, Term, TimestampMs},
};

use crate::{
    disk::{Disk, options},
    format::put,
    index::seal,
    store::{packed, salt, seal_frames, seal_header, unpacked},
};

/// Entries of the sealed segment, of two records and more than a page each.
pub const ENTRIES: u64 = 4;
/// Whose log it is.
pub const CLUSTER: ClusterId = ClusterId(1);
/// The offset behind the sealed segment.
pub const TAIL: Offset = Offset(2 * ENTRIES);
/// The sealed store.
pub const STORE: &str = "00000000000000000001.store";
/// Its index.
pub const INDEX: &str = "00000000000000000001.index";
/// The active store, which holds nothing yet.
pub const NEXT_STORE: &str = "00000000000000000005.store";

/// Its files.
#[derive(Debug)]
pub struct TwoSegments {
    /// [`STORE`].
    pub store: Vec<u8>,
    /// [`INDEX`].
    pub index: Vec<u8>,
    /// [`NEXT_STORE`].
    pub next_store: Vec<u8>,
}

/// The log as it should be.
pub static GOLDEN: LazyLock<TwoSegments> = LazyLock::new(|| {
    let disk = Disk::of(&[]);
    let (mut log, _) = Log::open(disk.fs(), options(CLUSTER)).expect("an empty log opens");
    log.append((1..=ENTRIES).map(entry).collect())
        .expect("nothing fails here");
    log.roll().expect("nothing fails here");
    let store = unchanging(disk.bytes(STORE));
    let mut index = disk.bytes(INDEX);
    seal(&mut index, salt(&store), store.len() as u64);
    let next_store = unchanging(disk.bytes(NEXT_STORE));
    TwoSegments {
        store,
        index,
        next_store,
    }
});

/// The store with another salt and another time than those of its making, so that a find is one in the next process, too.
fn unchanging(mut store: Vec<u8>) -> Vec<u8> {
    put(&mut store, 24, &7_u64.to_le_bytes());
    put(&mut store, 48, &0_u64.to_le_bytes());
    seal_header(&mut store);
    let first = unpacked(&packed(&store)).1;
    seal_frames(&mut store, first, usize::MAX);
    store
}

/// An entry of it.
pub fn entry(number: u64) -> Entry {
    let records = vec![u8::try_from(number).expect("small"); 5000];
    let batch = Batch {
        producer: None,
        expected_offset: None,
        record_count: 2,
        records: records.into(),
    };
    Entry {
        log_index: LogIndex(number),
        term: Term(1),
        timestamp: TimestampMs(number),
        payload: Payload::Records(batch),
    }
}

/// The log with another sealed store, or another index.
///
/// Errors: what opening it says.
pub fn open_with(store: &[u8], index: &[u8]) -> Result<Log, annals::storage::OpenError> {
    let files: [(&str, &[u8]); 3] = [(STORE, store), (INDEX, index), (NEXT_STORE, &GOLDEN.next_store)];
    Log::open(Disk::of(&files).fs(), options(CLUSTER)).map(|(log, _)| log)
}
