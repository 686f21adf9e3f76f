//! A directory in which nothing is left of a log but what is known of it.

use std::sync::Arc;

use annals::{
    storage::{CommitNoteFile, Committed, OpenError, entry::Payload, fs::FileSystem},
    types::{LogIndex, Term},
};

use crate::{
    history::{History, batch, directory, open, options},
    support::sim_fs::SimFileSystem,
};

/// A log that was begun there would be one that had forgotten what it acknowledged.
#[test]
fn where_something_was_committed_and_no_segment_is_left_no_new_log_is_begun() {
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    let mut history = History::new();
    history.append_to(&mut log, 1, 1, Payload::Records(batch("a", 1)));
    log.sync().unwrap();
    drop(log);
    let committed = Committed {
        log_index: LogIndex(1),
        term: Term(1),
        membership: None,
    };
    let (mut note, _) = CommitNoteFile::open(Arc::new(fs.clone()), directory());
    note.note(&committed).unwrap();
    for name in fs.list(directory()).unwrap() {
        if name.ends_with(".store") || name.ends_with(".index") {
            fs.remove(&directory().join(name)).unwrap();
        }
    }
    let left = fs.list(directory()).unwrap();
    let refused = open(&fs, options()).map(|(_, report)| report);
    let Err(OpenError::Damaged(damage)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(damage.path, directory());
    assert_eq!(
        damage.what,
        "entries up to 1 were committed here, and no segment is left"
    );
    assert_eq!(fs.list(directory()).unwrap(), left, "it is left as it was found");
    // Without the note it is a new directory.
    for name in left {
        fs.remove(&directory().join(name)).unwrap();
    }
    let (_, report) = open(&fs, options()).unwrap();
    assert_eq!(report.last_log_index, LogIndex::ZERO);
}
