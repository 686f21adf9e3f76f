//! What a node says about itself in gossip, as the at most 512 bytes that memberlist carries for it.
//!
//! | position | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 1 | standing: 1 joining, 2 member, 3 leaving |
//! | 2 | 1 | bit 0: the node has data; other bits are ignored |
//! | 3 | 8 | node id, not 0 |
//! | 11 | 16 | cluster id; 0: none yet |
//! | 27 | .. | four texts, each behind its length in one byte: node name, cluster name, rpc address (empty: not known), program version |
//!
//! Numbers are little endian. What stands behind the texts is of newer programs and ignored, so that nodes of two
//! versions understand each other; the version changes only when that is impossible. The bytes come from the network and
//! end up in log lines and in requests to connect, so nothing is let through that was not looked at.

use crate::types::{ClusterId, NodeId, is_host_and_port, is_name};

/// Version of the bytes that this program writes, and the only one that it reads.
const VERSION: u8 = 1;
/// What memberlist carries for a node at most (its `META_MAX_SIZE`).
pub const TAGS_BYTES_MAX: usize = 512;
/// Longest program version.
const PROGRAM_VERSION_BYTES_MAX: usize = 32;
/// The bit of a node that has data.
const HAS_DATA: u8 = 1;

/// How a node stands to its cluster, by its own account. Gossip only suggests; Raft decides who votes (G7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It does not belong to the cluster yet.
    Joining,
    /// It belongs.
    Member,
    /// It is about to go for good: when it disappears now, it has left and not failed.
    Leaving,
}

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// The node; also its id in memberlist, as text.
    pub node_id: NodeId,
    /// What people call it.
    pub node_name: String,
    /// The cluster that it is configured for.
    pub cluster_name: String,
    /// The cluster that it belongs to; `None` before it has founded or joined one.
    pub cluster_id: Option<ClusterId>,
    /// Where clients and peers connect to, `host:port`; `None` before that is bound.
    pub rpc_address: Option<String>,
    /// How it stands to its cluster.
    pub standing: Standing,
    /// Whether anything of a log is on its disk.
    pub has_data: bool,
    /// The version of its program.
    pub program_version: String,
}

/// Tags are not what any node of ours says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagsError {
    /// They are written in a way that this program does not know.
    #[error("the tags have version {found}, this program knows version {VERSION}")]
    Version {
        /// Their version.
        found: u8,
    },
    /// They end too early.
    #[error("the tags end after {length} bytes, in the middle of a value")]
    Short {
        /// Bytes that there are.
        length: usize,
    },
    /// A value is not one that is ever written.
    #[error("the tags' {field} is not one")]
    Value {
        /// Which value.
        field: &'static str,
    },
}

impl Tags {
    /// As bytes for memberlist.
    ///
    /// Errors: a value that could not be decoded again.
    pub fn encode(&self) -> Result<Vec<u8>, TagsError> {
        self.check()?;
        let mut bytes = Vec::with_capacity(128);
        bytes.push(VERSION);
        bytes.push(match self.standing {
            Standing::Joining => 1,
            Standing::Member => 2,
            Standing::Leaving => 3,
        });
        bytes.push(if self.has_data { HAS_DATA } else { 0 });
        bytes.extend_from_slice(&self.node_id.get().to_le_bytes());
        bytes.extend_from_slice(&self.cluster_id.map_or(0, |id| id.0).to_le_bytes());
        for text in [
            &self.node_name,
            &self.cluster_name,
            self.rpc_address.as_ref().unwrap_or(&String::new()),
            &self.program_version,
        ] {
            bytes.push(u8::try_from(text.len()).expect("checked to be short"));
            bytes.extend_from_slice(text.as_bytes());
        }
        Ok(bytes)
    }

    /// From the bytes that came with the node of that memberlist id.
    ///
    /// Errors: they are not what any node of ours says, or not what that node says.
    pub fn decode(id: &str, bytes: &[u8]) -> Result<Self, TagsError> {
        let mut rest = Reader { bytes, at: 0 };
        match rest.byte()? {
            VERSION => {}
            found => return Err(TagsError::Version { found }),
        }
        let standing = match rest.byte()? {
            1 => Standing::Joining,
            2 => Standing::Member,
            3 => Standing::Leaving,
            _ => return Err(TagsError::Value { field: "standing" }),
        };
        let has_data = rest.byte()? & HAS_DATA != 0;
        let node_id = NodeId(u64::from_le_bytes(rest.array()?));
        let cluster_id = u128::from_le_bytes(rest.array()?);
        let node_name = rest.text("node name")?;
        let cluster_name = rest.text("cluster name")?;
        let rpc_address = rest.text("rpc address")?;
        let program_version = rest.text("program version")?;
        let tags = Self {
            node_id,
            node_name,
            cluster_name,
            cluster_id: (cluster_id != 0).then_some(ClusterId(cluster_id)),
            rpc_address: (!rpc_address.is_empty()).then_some(rpc_address),
            standing,
            has_data,
            program_version,
        };
        tags.check()?;
        // Ids are compared as text by memberlist: one node must not be able to be there twice.
        if id != node_id.to_string() {
            return Err(TagsError::Value { field: "node id" });
        }
        Ok(tags)
    }

    fn check(&self) -> Result<(), TagsError> {
        let version = &self.program_version;
        let fields = [
            ("node id", self.node_id != NodeId::ZERO),
            ("cluster id", self.cluster_id != Some(ClusterId(0))),
            ("node name", is_name(&self.node_name)),
            ("cluster name", is_name(&self.cluster_name)),
            (
                "rpc address",
                self.rpc_address.as_deref().is_none_or(is_host_and_port),
            ),
            (
                "program version",
                version.len() <= PROGRAM_VERSION_BYTES_MAX
                    && version.bytes().all(|byte| byte.is_ascii_graphic()),
            ),
        ];
        match fields.iter().find(|(_, is_right)| !is_right) {
            Some((field, _)) => Err(TagsError::Value { field }),
            None => Ok(()),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], TagsError> {
        let taken = self.bytes.get(self.at..self.at + count).ok_or(TagsError::Short {
            length: self.bytes.len(),
        })?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, TagsError> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TagsError> {
        let taken = self.take(N)?;
        Ok(*taken.first_chunk().expect("as many bytes were taken"))
    }

    fn text(&mut self, field: &'static str) -> Result<String, TagsError> {
        let length = usize::from(self.byte()?);
        let text = std::str::from_utf8(self.take(length)?);
        text.map(str::to_owned).map_err(|_| TagsError::Value { field })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX};

    fn tags() -> Tags {
        Tags {
            node_id: NodeId(0x0102_0304_0506_0708),
            node_name: "node-0".to_owned(),
            cluster_name: "annals".to_owned(),
            cluster_id: Some(ClusterId(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20)),
            rpc_address: Some("127.0.0.1:8400".to_owned()),
            standing: Standing::Member,
            has_data: true,
            program_version: "0.1.0".to_owned(),
        }
    }

    const ID: &str = "72623859790382856";

    #[rustfmt::skip]
    const GOLDEN: &[u8] = &[
        1, 2, 1,
        8, 7, 6, 5, 4, 3, 2, 1,
        0x20, 0x1f, 0x1e, 0x1d, 0x1c, 0x1b, 0x1a, 0x19, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
        6, b'n', b'o', b'd', b'e', b'-', b'0',
        6, b'a', b'n', b'n', b'a', b'l', b's',
        14, b'1', b'2', b'7', b'.', b'0', b'.', b'0', b'.', b'1', b':', b'8', b'4', b'0', b'0',
        5, b'0', b'.', b'1', b'.', b'0',
    ];

    #[test]
    fn the_bytes_of_tags_stay_as_they_are() {
        assert_eq!(tags().encode().unwrap(), GOLDEN);
        assert_eq!(Tags::decode(ID, GOLDEN), Ok(tags()));
    }

    #[test]
    fn what_a_node_does_not_know_of_itself_is_left_out() {
        for standing in [Standing::Joining, Standing::Member, Standing::Leaving] {
            let young = Tags {
                cluster_id: None,
                rpc_address: None,
                has_data: false,
                standing,
                ..tags()
            };
            assert_eq!(Tags::decode(ID, &young.encode().unwrap()), Ok(young));
        }
    }

    #[test]
    fn the_longest_tags_fit_what_memberlist_carries() {
        let longest = Tags {
            node_name: "n".repeat(NAME_BYTES_MAX),
            cluster_name: "c".repeat(NAME_BYTES_MAX),
            rpc_address: Some(format!("{}:65535", "h".repeat(ADDRESS_BYTES_MAX - 6))),
            program_version: "v".repeat(PROGRAM_VERSION_BYTES_MAX),
            ..tags()
        };
        let bytes = longest.encode().unwrap();
        assert!(bytes.len() <= TAGS_BYTES_MAX, "{}", bytes.len());
        assert_eq!(Tags::decode(ID, &bytes), Ok(longest));
    }

    #[test]
    fn what_newer_programs_add_is_ignored_and_other_versions_are_refused() {
        assert_eq!(Tags::decode(ID, &[GOLDEN, b"more"].concat()), Ok(tags()));
        let newer = [&[2], &GOLDEN[1..]].concat();
        assert_eq!(Tags::decode(ID, &newer), Err(TagsError::Version { found: 2 }));
    }

    #[test]
    fn every_cut_is_refused() {
        for length in 0..GOLDEN.len() {
            assert_eq!(
                Tags::decode(ID, &GOLDEN[..length]),
                Err(TagsError::Short { length })
            );
        }
    }

    #[test]
    fn values_that_no_node_writes_are_refused_by_writer_and_reader() {
        let refused = |field: &'static str, spoil: fn(&mut Tags)| {
            let mut spoilt = tags();
            spoil(&mut spoilt);
            assert_eq!(spoilt.encode(), Err(TagsError::Value { field }));
        };
        refused("node id", |tags| tags.node_id = NodeId(0));
        refused("cluster id", |tags| tags.cluster_id = Some(ClusterId(0)));
        refused("node name", |tags| tags.node_name = "a\u{1b}[31mb".to_owned());
        refused("node name", |tags| {
            tags.node_name = "n".repeat(NAME_BYTES_MAX + 1)
        });
        refused("cluster name", |tags| tags.cluster_name = String::new());
        refused("rpc address", |tags| {
            tags.rpc_address = Some("nowhere".to_owned())
        });
        refused("program version", |tags| tags.program_version = "a b".to_owned());

        let with = |at: usize, byte: u8| {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] = byte;
            Tags::decode(ID, &bytes)
        };
        assert_eq!(with(1, 0), Err(TagsError::Value { field: "standing" }));
        assert_eq!(with(1, 4), Err(TagsError::Value { field: "standing" }));
        assert_eq!(with(28, b'\n'), Err(TagsError::Value { field: "node name" }));
        assert_eq!(with(28, 0xff), Err(TagsError::Value { field: "node name" }));
    }

    #[test]
    fn tags_of_another_node_than_the_one_they_came_with_are_refused() {
        for id in ["1", "", "072623859790382856", "+72623859790382856", "node-0"] {
            assert_eq!(
                Tags::decode(id, GOLDEN),
                Err(TagsError::Value { field: "node id" }),
                "{id}"
            );
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_what_is_accepted_is_clean(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(tags) = Tags::decode(ID, &bytes) {
                prop_assert!(tags.encode().is_ok());
            }
        }

        #[test]
        fn a_change_of_any_byte_never_panics(at in 0..GOLDEN.len(), to in any::<u8>()) {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] = to;
            if let Ok(tags) = Tags::decode(ID, &bytes) {
                prop_assert!(tags.encode().unwrap().len() <= bytes.len());
            }
        }
    }
}
