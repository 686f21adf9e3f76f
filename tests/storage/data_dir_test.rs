//! A node keeps its identity whatever the disk does at its first start.

use std::{io, path::Path, sync::Arc};

use annals::storage::{
    data_dir::{DataDir, DataDirError},
    fs::FileSystem,
};
use annals::types::ClusterId;

use crate::support::sim_fs::{CallKind, Fault, Leaves, On, SimFileSystem};

fn open(fs: &SimFileSystem, path: &Path) -> Result<DataDir, DataDirError> {
    DataDir::open(Arc::new(fs.clone()), path, "node")
}

#[test]
fn a_first_start_that_fails_anywhere_leaves_no_identity_or_a_whole_one() {
    // The lock is on the machine's disk, so the directory is too.
    let temp = tempfile::tempdir().unwrap();
    let fs = SimFileSystem::new(0);
    open(&fs, temp.path()).unwrap();
    let calls = fs.trace().len() as u64;
    assert_eq!(calls, 6, "{:#?}", fs.trace());
    for nth in 1..=calls {
        for leaves in [
            Leaves::Nothing,
            Leaves::Prefix,
            Leaves::Mixture,
            Leaves::Everything,
        ] {
            for seed in 0..50 {
                let fs = SimFileSystem::new(seed);
                fs.inject(
                    Fault::nth(On::Any, nth, io::ErrorKind::Other)
                        .lasting()
                        .leaving(leaves),
                );
                let error = open(&fs, temp.path()).unwrap_err();
                assert!(matches!(error, DataDirError::Io { .. }), "{error}");
                fs.clear_faults();
                if seed % 2 == 0 {
                    fs.crash(seed);
                }
                let identity = open(&fs, temp.path()).unwrap().identity().clone();
                fs.crash(seed);
                assert_eq!(open(&fs, temp.path()).unwrap().identity(), &identity);
            }
        }
    }
}

/// A node that waits for its cluster.
fn waiting(fs: &SimFileSystem, path: &Path) -> DataDir {
    DataDir::open_without_cluster(Arc::new(fs.clone()), path, "node").unwrap()
}

#[test]
fn an_adoption_that_fails_anywhere_leaves_the_node_waiting_or_in_that_cluster() {
    const OURS: ClusterId = ClusterId(7);
    let temp = tempfile::tempdir().unwrap();
    let fs = SimFileSystem::new(0);
    let mut data = waiting(&fs, temp.path());
    let before = fs.trace().len();
    data.adopt_cluster(OURS).unwrap();
    let calls = (fs.trace().len() - before) as u64;
    assert_eq!(calls, 5, "{:#?}", fs.trace());
    drop(data);
    let mut outcomes = [0, 0];
    for nth in 1..=calls {
        for leaves in [
            Leaves::Nothing,
            Leaves::Prefix,
            Leaves::Mixture,
            Leaves::Everything,
        ] {
            for seed in 0..50 {
                let fs = SimFileSystem::new(seed);
                let mut data = waiting(&fs, temp.path());
                let node_id = data.identity().node_id;
                fs.inject(
                    Fault::nth(On::Any, nth, io::ErrorKind::Other)
                        .lasting()
                        .leaving(leaves),
                );
                let error = data.adopt_cluster(OURS).unwrap_err();
                assert!(matches!(error, DataDirError::Io { .. }), "{error}");
                assert_eq!(data.identity().cluster_id, None);
                fs.clear_faults();
                // It may be in that cluster already, so it must not go to another one.
                let error = data.adopt_cluster(ClusterId(8)).unwrap_err();
                assert!(matches!(error, DataDirError::OtherCluster { .. }), "{error}");
                drop(data);
                if seed % 2 == 0 {
                    fs.crash(seed);
                }
                let mut data = waiting(&fs, temp.path());
                let found = data.identity().clone();
                assert_eq!((found.node_id, data.is_new()), (node_id, false));
                assert!([None, Some(OURS)].contains(&found.cluster_id), "{found:?}");
                outcomes[usize::from(found.cluster_id.is_some())] += 1;
                data.adopt_cluster(OURS).unwrap();
                drop(data);
                fs.crash(seed);
                assert_eq!(waiting(&fs, temp.path()).identity().cluster_id, Some(OURS));
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}

#[test]
fn a_cluster_that_was_adopted_survives_every_crash() {
    let temp = tempfile::tempdir().unwrap();
    for seed in 0..100 {
        let fs = SimFileSystem::new(seed);
        let mut data = waiting(&fs, temp.path());
        data.adopt_cluster(ClusterId(7)).unwrap();
        let identity = data.identity().clone();
        drop(data);
        fs.crash(seed);
        assert_eq!(waiting(&fs, temp.path()).identity(), &identity);
    }
}

#[test]
fn an_identity_that_was_given_out_survives_every_crash() {
    let temp = tempfile::tempdir().unwrap();
    for seed in 0..100 {
        let fs = SimFileSystem::new(seed);
        let first = open(&fs, temp.path()).unwrap();
        let identity = first.identity().clone();
        let log = first.log_dir("default").unwrap();
        drop(first);
        fs.crash(seed);
        let again = open(&fs, temp.path()).unwrap();
        assert!(!again.is_new());
        assert_eq!(again.identity(), &identity);
        assert!(fs.list(&log).is_ok());
    }
}

#[test]
fn an_identity_that_cannot_be_read_is_not_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let fs = SimFileSystem::new(0);
    drop(open(&fs, temp.path()).unwrap());
    let path = temp.path().join("identity");
    let bytes = fs.bytes(&path);
    fs.fail_nth(CallKind::Read, 1, io::ErrorKind::Other);
    let error = open(&fs, temp.path()).unwrap_err();
    assert!(
        matches!(error, DataDirError::Io { action: "read", .. }),
        "{error}"
    );
    assert_eq!(fs.bytes(&path), bytes);
}
