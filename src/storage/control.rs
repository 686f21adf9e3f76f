//! Commands that travel in the log itself, so that every node carries them out at the same place.

use bytes::{BufMut, Bytes, BytesMut};

use super::cursors::CursorCommand;
use crate::types::Offset;

const TRIM: u8 = 1;

/// A control entry's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Drop whole segments below an offset.
    Trim {
        /// The offset.
        below: Offset,
    },
    /// Something done to a cursor.
    Cursor(CursorCommand),
}

/// Bytes are not a control command of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("control command of unknown kind or length")]
pub struct UnknownControl;

impl Control {
    /// Its bytes: a kind, then its fields, little endian.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(32);
        match self {
            Self::Trim { below } => {
                bytes.put_u8(TRIM);
                bytes.put_u64_le(below.get());
            }
            Self::Cursor(command) => command.encode(&mut bytes),
        }
        bytes.freeze()
    }

    /// Reads what [`Control::encode`] made.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnknownControl> {
        match bytes {
            [TRIM, below @ ..] => {
                let below = u64::from_le_bytes(below.try_into().map_err(|_| UnknownControl)?);
                Ok(Self::Trim { below: Offset(below) })
            }
            _ => CursorCommand::decode(bytes)
                .map(Self::Cursor)
                .ok_or(UnknownControl),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{storage::cursors::CursorName, types::LogIndex};

    #[test]
    fn a_command_comes_back_from_its_bytes_and_others_are_refused() {
        let trim = Control::Trim { below: Offset(77) };
        let bytes = trim.encode();
        assert_eq!(Control::decode(&bytes), Ok(trim));
        assert_eq!(&bytes[..], [1, 77, 0, 0, 0, 0, 0, 0, 0], "the bytes are on disks");
        for other in [&b""[..], &bytes[..5], b"\x05aaaaaaaa"] {
            assert_eq!(Control::decode(other), Err(UnknownControl));
        }
    }

    #[test]
    fn what_is_done_to_a_cursor_comes_back_from_its_bytes_and_others_are_refused() {
        let name: CursorName = "ab".parse().unwrap();
        let commit = CursorCommand::Commit {
            name: name.clone(),
            epoch: LogIndex(258),
            offset: Offset(3),
        };
        let golden = [
            (CursorCommand::Take { name: name.clone() }, &b"\x02ab"[..]),
            (commit, b"\x03\x02\x01\0\0\0\0\0\0\x03\0\0\0\0\0\0\0ab"),
            (CursorCommand::Delete { name }, b"\x04ab"),
        ];
        for (command, bytes) in golden {
            let command = Control::Cursor(command);
            assert_eq!(&command.encode()[..], bytes, "the bytes are on disks");
            assert_eq!(Control::decode(bytes), Ok(command));
            let cut = &bytes[..bytes.len() - 2];
            assert_eq!(Control::decode(cut), Err(UnknownControl), "no name");
            let wrong = [bytes, b"/"].concat();
            assert_eq!(Control::decode(&wrong), Err(UnknownControl), "no cursor's name");
        }
        let too_long = [&b"\x02"[..], &[b'a'; 129]].concat();
        assert_eq!(Control::decode(&too_long), Err(UnknownControl));
    }
}
