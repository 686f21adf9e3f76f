//! Where the log begins for readers: the same on nodes whose segments end at different places.

use annals::{
    storage::{Log, ReadEntriesError, ReadError, control::Control, entry::Payload},
    types::{LogIndex, Offset},
};

use crate::{
    history::{History, batch, open, options, read_all},
    support::sim_fs::SimFileSystem,
};

/// Entries 1 to 20, two records each, but for trims: 8 below 5, 14 below 12, 19 below 9.
fn payload(number: u64) -> Payload {
    let trim = |below| Payload::Control(Control::Trim { below: Offset(below) }.encode());
    match number {
        8 => trim(5),
        14 => trim(12),
        19 => trim(9),
        _ => Payload::Records(batch(format!("entry {number}"), 2)),
    }
}

/// A node that rolls before each so-many-th entry.
fn node(every: u64) -> (SimFileSystem, Log, History) {
    let fs = SimFileSystem::new(1);
    let (mut log, _) = open(&fs, options()).unwrap();
    let mut history = History::new();
    for number in 1..=20 {
        if number % every == 0 {
            log.roll().unwrap();
        }
        history.append_to(&mut log, 1, 1000 + number, payload(number));
        log.sync().unwrap();
    }
    (fs, log, history)
}

/// Where the log begins when all entries up to `committed` are.
fn expected(committed: u64) -> Offset {
    Offset(match committed {
        0..8 => 0,
        8..14 => 5,
        _ => 12,
    })
}

#[test]
fn all_nodes_begin_at_the_same_offset_whatever_they_have_on_their_disks() {
    for every in [3, 4, 7, 100] {
        for committed in 0..=20 {
            let (fs, mut log, history) = node(every);
            let below = log.view().trim_point_at(LogIndex(committed)).unwrap();
            assert_eq!(below, expected(committed), "{every}, {committed}");
            let trimmed = log.trim(below).unwrap();
            // Only whole segments go, so some that is trimmed may be there.
            assert!(trimmed.earliest <= below);
            for reopened in [false, true] {
                if reopened {
                    drop(log);
                    let (opened, report) = open(&fs, options()).unwrap();
                    assert_eq!(
                        report.earliest, trimmed.earliest,
                        "nobody has said what is committed"
                    );
                    log = opened;
                }
                assert_eq!(log.trim_to_committed(LogIndex(committed)).unwrap(), below);
                let view = log.view();
                assert_eq!((view.earliest(), log.state().earliest()), (below, below));
                for from in 0..below.get() {
                    let refused = view.read(Offset(from), history.tail(), 1);
                    assert!(
                        matches!(refused, Err(ReadError::Trimmed { earliest, .. }) if earliest == below),
                        "{refused:?}"
                    );
                    assert_eq!(view.read_resident(Offset(from), history.tail(), 1), None);
                }
                let (batches, error) = read_all(&view, below, history.tail(), 1);
                assert!(error.is_none());
                assert_eq!(batches, history.batches(below, history.tail()));
                history.check(&log);
            }
        }
    }
}

#[test]
fn a_trim_that_is_truncated_has_dropped_nothing() {
    let (fs, mut log, mut history) = node(4);
    assert_eq!(log.trim_to_committed(LogIndex(13)).unwrap(), Offset(5));
    drop(log);
    let (mut log, _) = open(&fs, options()).unwrap();
    assert_eq!(
        log.state().checkpoint().trim_point(),
        Offset(12),
        "as it stands now"
    );
    assert_eq!(log.trim_to_committed(LogIndex(13)).unwrap(), Offset(5));
    log.truncate(LogIndex(14)).unwrap();
    history.keep(13);
    assert_eq!(log.state().checkpoint().trim_point(), Offset(5));
    assert_eq!(log.view().earliest(), Offset(5));
    assert_eq!(log.view().trim_point(), Offset(5));
    history.check(&log);
}

#[test]
fn the_beginning_never_goes_back_and_a_lower_bound_before_the_log_is_refused() {
    let (_, mut log, history) = node(4);
    assert_eq!(log.trim_to_committed(LogIndex(20)).unwrap(), Offset(12));
    assert_eq!(log.trim_to_committed(LogIndex(9)).unwrap(), Offset(12));
    let trimmed = log.trim(Offset(12)).unwrap();
    assert_eq!(trimmed.earliest, Offset(12));
    let first = log.view().first_log_index().unwrap();
    assert!(first > LogIndex(2));
    assert_eq!(
        log.view().trim_point_at(LogIndex(first.get() - 1)).unwrap(),
        Offset(0)
    );
    let refused = log.view().trim_point_at(LogIndex(first.get() - 2));
    assert!(
        matches!(refused, Err(ReadEntriesError::Trimmed { .. })),
        "{refused:?}"
    );
    history.check(&log);
}
