//! A node keeps its identity whatever the disk does at its first start.

use std::{io, path::Path, sync::Arc};

use annals::storage::{
    data_dir::{DataDir, DataDirError},
    fs::FileSystem,
};

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
