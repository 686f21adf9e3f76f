//! `peers` in the data directory: whom this node knew when it last ran, so that it finds them without a seed.
//!
//! ```text
//! annals peers 1
//! 5577006791947779410 10.0.0.2:8401 node-1
//! crc32c 8d2eb869
//! ```
//!
//! Text, for people; one line a node with its id, its gossip address and its name. The checksum is that of the bytes above
//! its line. It is a cache: one that is damaged, or of a newer program, is put aside with a warning, and nothing is lost but
//! a shortcut.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, IoSlice},
    net::SocketAddr,
    path::Path,
};

use crate::{
    storage::fs::{FileSystem, OpenMode, read_exact_at},
    types::{NodeId, is_name},
};

use super::{PeerTable, Presence, known::PEERS_MAX};

/// The file's name.
pub(super) const FILE_NAME: &str = "peers";
/// Where a new file is until it is whole.
const TEMPORARY_NAME: &str = "peers.new";
const HEAD: &str = "annals peers 1\n";
const TAIL: &str = "crc32c ";
/// Twice what `PEERS_MAX` lines of 20 digits, 47 characters of an IPv6 address and a name of 63 take.
const BYTES_MAX: u64 = 64 * 1024;

/// A node that was a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    /// Where it gossiped.
    pub(super) address: SocketAddr,
    /// Its name, for people.
    pub(super) name: String,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeersFileError {
    /// The system said no.
    #[error("cannot read it")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// Reads the file; nobody when there is none. Blocking.
///
/// Errors: it cannot be read, or is damaged; the caller goes on without it.
pub(super) fn load(
    fs: &dyn FileSystem,
    directory: &Path,
) -> Result<BTreeMap<NodeId, Remembered>, PeersFileError> {
    let file = match fs.open(&directory.join(FILE_NAME), OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let size = file.size()?;
    if size > BYTES_MAX {
        return Err(PeersFileError::Damaged("it is too long"));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    read_exact_at(file.as_ref(), 0, &mut bytes)?;
    decode(&bytes).map_err(PeersFileError::Damaged)
}

/// Writes the file so that after a crash the old one or the new one is there, whole. Blocking.
pub(super) fn store(
    fs: &dyn FileSystem,
    directory: &Path,
    peers: &BTreeMap<NodeId, Remembered>,
) -> io::Result<()> {
    let temporary = directory.join(TEMPORARY_NAME);
    match fs.remove(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = fs.open(&temporary, OpenMode::CreateNew)?;
    file.write_all_at(0, &mut [IoSlice::new(encode(peers).as_bytes())])?;
    file.sync_data()?;
    fs.rename(&temporary, &directory.join(FILE_NAME))?;
    fs.sync_dir(directory)
}

/// Takes in what the table says now. Who is not in it stays: it may not have been seen yet. Who left is not looked for.
pub(super) fn remember(peers: &mut BTreeMap<NodeId, Remembered>, table: &PeerTable) {
    for (node_id, peer) in table.iter() {
        if peer.presence == Presence::Left {
            peers.remove(&node_id);
        } else if peers.len() < PEERS_MAX || peers.contains_key(&node_id) {
            let remembered = Remembered {
                address: peer.gossip_address,
                name: peer.tags.node_name.clone(),
            };
            peers.insert(node_id, remembered);
        }
    }
}

fn encode(peers: &BTreeMap<NodeId, Remembered>) -> String {
    let mut text = HEAD.to_owned();
    for (node_id, Remembered { address, name }) in peers.iter().take(PEERS_MAX) {
        writeln!(text, "{node_id} {address} {name}").expect("writing to a string does not fail");
    }
    let crc = crc32c::crc32c(text.as_bytes());
    format!("{text}{TAIL}{crc:08x}\n")
}

fn decode(bytes: &[u8]) -> Result<BTreeMap<NodeId, Remembered>, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let rest = text
        .strip_prefix(HEAD)
        .ok_or("it does not begin with `annals peers 1`")?;
    let end = text.rfind(TAIL).ok_or("it has no checksum")?;
    let crc = crc32c::crc32c(&bytes[..end]);
    if text[end..] != format!("{TAIL}{crc:08x}\n") {
        return Err("the checksum does not match");
    }
    let lines = &rest[..end - HEAD.len()];
    let peers: Option<BTreeMap<_, _>> = lines.lines().map(decode_line).collect();
    peers
        .filter(|peers| peers.len() <= PEERS_MAX)
        .ok_or("a line names no peer")
}

fn decode_line(line: &str) -> Option<(NodeId, Remembered)> {
    let mut words = line.split(' ');
    let node_id: u64 = words.next()?.parse().ok().filter(|id| *id != 0)?;
    let address = words.next()?.parse().ok()?;
    let name = words.next().filter(|name| is_name(name))?.to_owned();
    let is_all = words.next().is_none();
    is_all.then_some((NodeId(node_id), Remembered { address, name }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::RealFileSystem;

    fn peers() -> BTreeMap<NodeId, Remembered> {
        let node = |id: u64, address: &str, name: &str| {
            let remembered = Remembered {
                address: address.parse().unwrap(),
                name: name.to_owned(),
            };
            (NodeId(id), remembered)
        };
        BTreeMap::from([
            node(7, "10.0.0.2:8401", "node-1"),
            node(u64::MAX, "[::1]:8401", "node-2"),
        ])
    }

    const GOLDEN: &str =
        "annals peers 1\n7 10.0.0.2:8401 node-1\n18446744073709551615 [::1]:8401 node-2\ncrc32c 456a5ee0\n";

    #[test]
    fn the_text_of_the_file_stays_as_it_is() {
        assert_eq!(encode(&peers()), GOLDEN);
        assert_eq!(decode(GOLDEN.as_bytes()), Ok(peers()));
    }

    #[test]
    fn what_is_stored_is_loaded_again_and_no_file_means_nobody() {
        let temp = tempfile::tempdir().unwrap();
        let fs = RealFileSystem;
        assert_eq!(load(&fs, temp.path()).unwrap(), BTreeMap::new());
        for peers in [peers(), BTreeMap::new()] {
            store(&fs, temp.path(), &peers).unwrap();
            assert_eq!(load(&fs, temp.path()).unwrap(), peers);
        }
        assert!(!temp.path().join(TEMPORARY_NAME).exists());
    }

    #[test]
    fn what_a_crash_left_half_written_does_not_hinder() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join(TEMPORARY_NAME), "half").unwrap();
        store(&RealFileSystem, temp.path(), &peers()).unwrap();
        assert_eq!(load(&RealFileSystem, temp.path()).unwrap(), peers());
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused() {
        let golden = GOLDEN.as_bytes();
        for length in 0..golden.len() {
            assert!(decode(&golden[..length]).is_err(), "{length}");
        }
        for bit in 0..golden.len() * 8 {
            let mut flipped = golden.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "{bit}");
        }
    }

    #[test]
    fn lines_that_are_never_written_are_refused_under_a_good_checksum() {
        let with = |line: &str| {
            let text = format!("{HEAD}{line}\n");
            let crc = crc32c::crc32c(text.as_bytes());
            decode(format!("{text}{TAIL}{crc:08x}\n").as_bytes())
        };
        assert!(with("7 10.0.0.2:8401 node-1").is_ok());
        for line in [
            "",
            "0 10.0.0.2:8401 node-1",
            "7 host:8401 node-1",
            "7 10.0.0.2:8401",
            "7 10.0.0.2:8401 n\u{1b}ode",
            "7 10.0.0.2:8401 node-1 x",
        ] {
            assert!(with(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_not_even_read() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join(FILE_NAME), vec![b'a'; 1 << 20]).unwrap();
        let error = load(&RealFileSystem, temp.path()).unwrap_err();
        assert!(
            matches!(error, PeersFileError::Damaged("it is too long")),
            "{error}"
        );
    }

    #[test]
    fn as_many_peers_as_there_may_be_fit_the_file() {
        let address = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
        let longest = |id: u64| {
            let name = "n".repeat(63);
            (NodeId(u64::MAX - id), Remembered { address, name })
        };
        let peers: BTreeMap<_, _> = (0..PEERS_MAX as u64).map(longest).collect();
        let text = encode(&peers);
        assert!(text.len() as u64 <= BYTES_MAX, "{}", text.len());
        assert_eq!(decode(text.as_bytes()), Ok(peers));
    }
}
