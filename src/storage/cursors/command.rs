//! What is done to a cursor, as it travels in a control entry.

use bytes::{Buf, BufMut, BytesMut};

use super::CursorName;
use crate::types::{LogIndex, Offset};

/// Something to be done to a cursor. All may be said twice: the second time changes nothing more, but that a second take gives
/// another epoch, and a second deletion finds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CursorCommand {
    /// From now on only who took it commits to it. Makes it where there is none.
    Take {
        /// Which.
        name: CursorName,
    },
    /// Everything below `offset` is done with. Makes it where there is none, unless an epoch is said.
    Commit {
        /// Which.
        name: CursorName,
        /// Of whoever commits: what its take gave. 0: it took nothing, and counts only where nobody has.
        epoch: LogIndex,
        /// The next offset to read.
        offset: Offset,
    },
    /// It is gone, whoever holds it.
    Delete {
        /// Which.
        name: CursorName,
    },
}

/// Kinds of control entries; 1 is a trim.
const TAKE: u8 = 2;
const COMMIT: u8 = 3;
const DELETE: u8 = 4;

impl CursorCommand {
    /// Of which cursor.
    #[must_use]
    pub fn name(&self) -> &CursorName {
        match self {
            Self::Take { name } | Self::Commit { name, .. } | Self::Delete { name } => name,
        }
    }

    /// Its bytes: a kind, its fields, little endian, and the name up to the end.
    pub(in crate::storage) fn encode(&self, into: &mut BytesMut) {
        match self {
            Self::Take { .. } => into.put_u8(TAKE),
            Self::Commit { epoch, offset, .. } => {
                into.put_u8(COMMIT);
                into.put_u64_le(epoch.get());
                into.put_u64_le(offset.get());
            }
            Self::Delete { .. } => into.put_u8(DELETE),
        }
        into.put_slice(self.name().as_str().as_bytes());
    }

    /// Reads what [`CursorCommand::encode`] made; `None` for all other bytes.
    pub(in crate::storage) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let kind = bytes.try_get_u8().ok()?;
        match kind {
            TAKE => {
                let name = CursorName::of_bytes(bytes)?;
                Some(Self::Take { name })
            }
            COMMIT => {
                let epoch = LogIndex(bytes.try_get_u64_le().ok()?);
                let offset = Offset(bytes.try_get_u64_le().ok()?);
                let name = CursorName::of_bytes(bytes)?;
                Some(Self::Commit { name, epoch, offset })
            }
            DELETE => {
                let name = CursorName::of_bytes(bytes)?;
                Some(Self::Delete { name })
            }
            _ => None,
        }
    }
}
