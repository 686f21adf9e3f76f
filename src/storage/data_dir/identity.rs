//! `identity`: which node the data belongs to.
//!
//! | position | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic, `ANNALSID` |
//! | 8 | 4 | CRC-32C of everything behind it |
//! | 12 | 4 | format version |
//! | 16 | 8 | node id, not 0 |
//! | 24 | 16 | cluster id; 0: none yet |
//! | 40 | 2 | length of the name |
//! | 42 | .. | the name, UTF-8; the file ends with it |
//!
//! Numbers are little endian. Every version keeps the first 16 bytes as they are, so that an older program can tell a
//! newer file from a damaged one.

use std::{
    io::{self, IoSlice},
    num::{NonZeroU64, NonZeroU128},
    path::Path,
};

use crate::{
    storage::fs::{FileSystem, OpenMode, read_exact_at},
    types::{ClusterId, NodeId, Position},
};

use super::DataDirError;

/// Version of the data directory's layout that this program writes.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes of a node's name at most: more than a DNS label (63) or a file name (255) may have.
pub const NODE_NAME_BYTES_MAX: usize = 255;

pub(super) const FILE_NAME: &str = "identity";
/// Where a new identity is until it is whole.
const TEMPORARY_NAME: &str = "identity.new";

const MAGIC: [u8; 8] = *b"ANNALSID";
const CRC_AT: usize = 8;
const VERSION_AT: usize = 12;
const NODE_ID_AT: usize = 16;
const CLUSTER_ID_AT: usize = 24;
const NAME_LENGTH_AT: usize = 40;
const NAME_AT: usize = 42;

/// Who a node is. Made at its first start and never changed, but that a node without a cluster gets one: promises made to
/// other nodes are bound to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node_id: NodeId,
    /// Its name at its first start; what the configuration calls it now may differ.
    pub node_name: String,
    /// Its cluster; `None` until it has founded or joined one.
    pub cluster_id: Option<ClusterId>,
}

impl Identity {
    /// A new node that is a cluster by itself.
    #[must_use]
    pub fn create(node_name: &str) -> Self {
        let waiting = Self::create_without_cluster(node_name);
        Self {
            cluster_id: Some(ClusterId::founded_by(waiting.node_id)),
            ..waiting
        }
    }

    /// A new node that does not know its cluster yet. Its id is random: 64 bits for one of a handful of nodes.
    #[must_use]
    pub fn create_without_cluster(node_name: &str) -> Self {
        Self {
            node_id: NodeId(rand::random::<NonZeroU64>().get()),
            node_name: node_name.to_owned(),
            cluster_id: None,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(NAME_AT + self.node_name.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; VERSION_AT - CRC_AT]);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.node_id.get().to_le_bytes());
        bytes.extend_from_slice(&self.cluster_id.map_or(0, |id| id.0).to_le_bytes());
        let name_length = u16::try_from(self.node_name.len()).expect("names are checked to be short");
        bytes.extend_from_slice(&name_length.to_le_bytes());
        bytes.extend_from_slice(self.node_name.as_bytes());
        let crc = crc32c::crc32c(&bytes[VERSION_AT..]);
        bytes[CRC_AT..VERSION_AT].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        if array(bytes, 0)? != MAGIC {
            return Err(Flaw::Damaged(0, "it does not begin with ANNALSID"));
        }
        let crc = u32::from_le_bytes(array(bytes, CRC_AT)?);
        let version = u32::from_le_bytes(array(bytes, VERSION_AT)?);
        if crc32c::crc32c(&bytes[VERSION_AT..]) != crc {
            return Err(Flaw::Damaged(CRC_AT, "the checksum does not match"));
        }
        // There is no version before 1, and those after it are unknown.
        match version {
            FORMAT_VERSION => {}
            0 => return Err(Flaw::Damaged(VERSION_AT, "there is no format 0")),
            found => return Err(Flaw::NewerFormat(found)),
        }
        let node_id = NodeId(u64::from_le_bytes(array(bytes, NODE_ID_AT)?));
        if node_id == NodeId::ZERO {
            return Err(Flaw::Damaged(NODE_ID_AT, "the node id is 0"));
        }
        let cluster_id = NonZeroU128::new(u128::from_le_bytes(array(bytes, CLUSTER_ID_AT)?));
        let name_length = usize::from(u16::from_le_bytes(array(bytes, NAME_LENGTH_AT)?));
        let name = &bytes[NAME_AT..];
        if name.len() != name_length || !(1..=NODE_NAME_BYTES_MAX).contains(&name_length) {
            return Err(Flaw::Damaged(
                NAME_LENGTH_AT,
                "the name's length is not what follows",
            ));
        }
        let name = std::str::from_utf8(name).map_err(|_| Flaw::Damaged(NAME_AT, "the name is not UTF-8"))?;
        Ok(Self {
            node_id,
            node_name: name.to_owned(),
            cluster_id: cluster_id.map(|id| ClusterId(id.get())),
        })
    }
}

/// What is wrong with the bytes of an identity.
#[derive(Debug, PartialEq)]
enum Flaw {
    Damaged(usize, &'static str),
    NewerFormat(u32),
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Flaw> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found
        .copied()
        .ok_or(Flaw::Damaged(bytes.len(), "the file ends here"))
}

/// Reads the identity; `None` when there is none. One that is there is durable: a first start may have failed between its
/// rename and the sync of the directory, and what is promised in the identity's name must not outlive it.
pub(super) fn load(fs: &dyn FileSystem, directory: &Path) -> Result<Option<Identity>, DataDirError> {
    let identity = peek(fs, directory)?;
    if identity.is_some() {
        fs.sync_dir(directory)
            .map_err(DataDirError::io("sync", directory))?;
    }
    Ok(identity)
}

/// The same, without making anything durable: for whoever promises nothing.
pub(super) fn peek(fs: &dyn FileSystem, directory: &Path) -> Result<Option<Identity>, DataDirError> {
    let path = directory.join(FILE_NAME);
    let bytes = match read(fs, &path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DataDirError::io("read", &path)(error)),
    };
    match Identity::decode(&bytes) {
        Ok(identity) => Ok(Some(identity)),
        Err(Flaw::NewerFormat(found)) => Err(DataDirError::NewerFormat { path, found }),
        Err(Flaw::Damaged(position, what)) => Err(DataDirError::IdentityDamaged {
            path,
            position: Position(position as u64),
            what,
        }),
    }
}

/// The whole file; of a file that is larger than any identity will be, the first bytes, whose checksum cannot match.
fn read(fs: &dyn FileSystem, path: &Path) -> io::Result<Vec<u8>> {
    const BYTES_MAX: u64 = 64 * 1024;
    let file = fs.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; file.size()?.min(BYTES_MAX) as usize];
    read_exact_at(file.as_ref(), 0, &mut bytes)?;
    Ok(bytes)
}

/// Writes the identity so that after a crash it is there whole or not at all.
pub(super) fn store(fs: &dyn FileSystem, directory: &Path, identity: &Identity) -> Result<(), DataDirError> {
    let temporary = directory.join(TEMPORARY_NAME);
    write_new(fs, &temporary, &identity.encode()).map_err(DataDirError::io("write", &temporary))?;
    let path = directory.join(FILE_NAME);
    fs.rename(&temporary, &path)
        .map_err(DataDirError::io("create", &path))?;
    fs.sync_dir(directory)
        .map_err(DataDirError::io("sync", directory))
}

fn write_new(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A start that was cut short may have left one.
    match fs.remove(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = fs.open(path, OpenMode::CreateNew)?;
    file.write_all_at(0, &mut [IoSlice::new(bytes)])?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::RealFileSystem;

    fn identity() -> Identity {
        Identity {
            node_id: NodeId(0x0102_0304_0506_0708),
            node_name: "node-0".to_owned(),
            cluster_id: Some(ClusterId(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20)),
        }
    }

    #[rustfmt::skip]
    const GOLDEN: [u8; 48] = [
        b'A', b'N', b'N', b'A', b'L', b'S', b'I', b'D',
        0x8d, 0x2e, 0xb8, 0x69,
        1, 0, 0, 0,
        8, 7, 6, 5, 4, 3, 2, 1,
        0x20, 0x1f, 0x1e, 0x1d, 0x1c, 0x1b, 0x1a, 0x19, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
        6, 0,
        b'n', b'o', b'd', b'e', b'-', b'0',
    ];

    #[test]
    fn the_bytes_of_an_identity_stay_as_they_are() {
        assert_eq!(identity().encode(), GOLDEN);
        assert_eq!(Identity::decode(&GOLDEN), Ok(identity()));
    }

    #[test]
    fn a_node_that_waits_for_its_cluster_has_no_cluster_id() {
        let waiting = Identity {
            cluster_id: None,
            ..identity()
        };
        assert_eq!(Identity::decode(&waiting.encode()), Ok(waiting));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE_NAME);
        let refused = |bytes: &[u8], position: usize| {
            std::fs::write(&path, bytes).unwrap();
            let error = load(&RealFileSystem, temp.path()).unwrap_err();
            let DataDirError::IdentityDamaged {
                path: named,
                position: at,
                ..
            } = &error
            else {
                panic!("{error}")
            };
            assert_eq!((named, at.get()), (&path, position as u64), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        };
        for length in 0..GOLDEN.len() {
            let position = if length < NODE_ID_AT { length } else { CRC_AT };
            refused(&GOLDEN[..length], position);
        }
        for bit in 0..GOLDEN.len() * 8 {
            let mut flipped = GOLDEN;
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused(&flipped, if bit / 8 < CRC_AT { 0 } else { CRC_AT });
        }
        refused(&[&GOLDEN[..], &[0]].concat(), CRC_AT);
    }

    #[test]
    fn values_that_are_never_written_are_refused_under_a_good_checksum() {
        let changed = |at: usize, with: &[u8]| {
            let mut bytes = GOLDEN.to_vec();
            bytes[at..at + with.len()].copy_from_slice(with);
            let crc = crc32c::crc32c(&bytes[VERSION_AT..]);
            bytes[CRC_AT..VERSION_AT].copy_from_slice(&crc.to_le_bytes());
            match Identity::decode(&bytes) {
                Err(Flaw::Damaged(position, _)) => position,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(changed(VERSION_AT, &[0]), VERSION_AT);
        assert_eq!(changed(NODE_ID_AT, &[0; 8]), NODE_ID_AT);
        assert_eq!(changed(NAME_LENGTH_AT, &[5]), NAME_LENGTH_AT);
        assert_eq!(changed(NAME_AT, &[0xff]), NAME_AT);
    }

    #[test]
    fn a_newer_format_is_told_from_damage_whatever_its_length() {
        let temp = tempfile::tempdir().unwrap();
        for more in [0, 1000] {
            let mut newer = GOLDEN[..NODE_ID_AT].to_vec();
            newer.extend(vec![7; more]);
            newer[VERSION_AT] = 2;
            let crc = crc32c::crc32c(&newer[VERSION_AT..]);
            newer[CRC_AT..VERSION_AT].copy_from_slice(&crc.to_le_bytes());
            std::fs::write(temp.path().join(FILE_NAME), &newer).unwrap();
            let error = load(&RealFileSystem, temp.path()).unwrap_err();
            assert!(
                matches!(error, DataDirError::NewerFormat { found: 2, .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn what_a_start_that_was_cut_short_left_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(
            temp.path().join(TEMPORARY_NAME),
            "torn, and longer than what comes after it",
        )
        .unwrap();
        assert_eq!(load(&RealFileSystem, temp.path()).unwrap(), None);
        store(&RealFileSystem, temp.path(), &identity()).unwrap();
        assert_eq!(load(&RealFileSystem, temp.path()).unwrap(), Some(identity()));
        assert!(!temp.path().join(TEMPORARY_NAME).exists());
    }
}
