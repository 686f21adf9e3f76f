//! Commands that travel in the log itself, so that every node carries them out at the same place.

use bytes::{BufMut, Bytes, BytesMut};

use crate::types::Offset;

const TRIM: u8 = 1;

/// A control entry's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Drop whole segments below an offset.
    Trim {
        /// The offset.
        below: Offset,
    },
}

/// Bytes are not a control command of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("control command of unknown kind or length")]
pub struct UnknownControl;

impl Control {
    /// Its bytes: a kind, then its fields, little endian.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(9);
        match self {
            Self::Trim { below } => {
                bytes.put_u8(TRIM);
                bytes.put_u64_le(below.get());
            }
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
            _ => Err(UnknownControl),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_comes_back_from_its_bytes_and_others_are_refused() {
        let trim = Control::Trim { below: Offset(77) };
        let bytes = trim.encode();
        assert_eq!(Control::decode(&bytes), Ok(trim));
        assert_eq!(&bytes[..], [1, 77, 0, 0, 0, 0, 0, 0, 0], "the bytes are on disks");
        for other in [&b""[..], &bytes[..5], b"\x02aaaaaaaa"] {
            assert_eq!(Control::decode(other), Err(UnknownControl));
        }
    }
}
