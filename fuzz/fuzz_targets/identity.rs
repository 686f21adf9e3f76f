//! An identity that a node starts with is the one that its file says, to the byte, and any other file is left as it is and
//! refused: by its position, or as a newer program's.
//!
//! Input: whether the checksum is right, the file.

#![no_main]

use std::sync::LazyLock;

use annals::{
    storage::data_dir::{DataDir, DataDirError},
    types::{ClusterId, NodeId},
};
use annals_fuzz::{
    disk::Disk,
    format::{seal, u32_at, u64_at},
    seeds,
};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// The lock of a data directory is the machine's, so it is on the machine: in memory where that can be had, since a lock is
/// written each time.
static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = TempDir::new_in("/dev/shm");
    memory
        .or_else(|_| TempDir::new())
        .expect("there is room for a directory")
});

fuzz_target!(init: seeds::plant("identity", seeds()), |input: &[u8]| {
    if let [sealed, bytes @ ..] = input {
        check(sealed % 2 == 1, bytes.to_vec());
    }
});

/// The file of a node, and of one without a cluster.
fn seeds() -> Vec<Vec<u8>> {
    let of = |cluster_id: u128| {
        let mut bytes = b"ANNALSID\0\0\0\0\x01\0\0\0".to_vec();
        bytes.extend_from_slice(&7_u64.to_le_bytes());
        bytes.extend_from_slice(&cluster_id.to_le_bytes());
        bytes.extend_from_slice(b"\x06\0node-0");
        bytes
    };
    let other_version = [&[1], &of(1)[..12], &[2, 0, 0, 0]].concat();
    vec![
        [&[1], &of(9)[..]].concat(),
        [&[1], &of(0)[..]].concat(),
        [&[0], &of(9)[..]].concat(),
        other_version,
    ]
}

fn check(sealed: bool, mut bytes: Vec<u8>) {
    if sealed {
        seal(&mut bytes, 8, &[], 12);
    }
    let path = DIRECTORY.path();
    let file = path.join("identity");
    let disk = Disk::at(path, &[("identity", &bytes)]);
    match DataDir::open(disk.fs(), path, "node-0") {
        Ok(opened) => {
            assert!(!opened.is_new(), "an identity was written over");
            let identity = opened.identity();
            assert_ne!(identity.node_id, NodeId(0));
            assert_ne!(identity.cluster_id, Some(ClusterId(0)));
            assert_eq!(opened.renamed_from().is_some(), identity.node_name != "node-0");
            let cluster = u128::from_le_bytes(bytes[24..40].try_into().expect("16 bytes"));
            let found = (
                identity.node_id.get(),
                identity.cluster_id.map_or(0, |id| id.0),
                identity.node_name.as_bytes(),
            );
            assert_eq!(found, (u64_at(&bytes, 16), cluster, &bytes[42..]));
        }
        Err(DataDirError::IdentityDamaged { path, position, .. }) => {
            assert!(path == file && position.get() <= bytes.len() as u64);
        }
        Err(DataDirError::NewerFormat { found, .. }) => assert!(found > 1 && found == u32_at(&bytes, 12)),
        Err(other) => panic!("{other:?}"),
    }
    assert_eq!(disk.files(), [(file, bytes)], "the disk was changed");
}
