//! How long a message of memberlist's claims to be, from its first bytes (`memberlist-proto` 0.3, `proto.rs` and `proto/decoder.rs`).

/// What an exchange of all that is known may take: some hundred bytes a node, of at most thousands of nodes.
const MESSAGE_BYTES_MAX: u32 = 4 << 20;

/// A checksum around a compressed message; the longest header there is.
pub(super) const HEADER_BYTES_MAX: usize = WRAPPED + COMPRESSED;

/// Tag, what it is wrapped by, length.
const WRAPPED: usize = 6;
/// Tag, what it is compressed by, length before and after.
const COMPRESSED: usize = 11;
/// Tag and a length of up to five bytes of seven bits.
const PLAIN: usize = 6;

const TAG_COMPOUND: u8 = 1;
const TAG_LABELED: u8 = 12;
const TAG_CHECKSUMED: u8 = 13;
const TAG_COMPRESSED: u8 = 14;
const TAG_ENCRYPTED: u8 = 15;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// It may be read.
    Fits,
    /// So many bytes of it are needed to tell.
    Needs(usize),
    /// It claims what no message of ours has.
    TooLong {
        /// Bytes.
        claimed: u32,
    },
}

impl Header {
    /// Of `message`, as much of it as is there.
    pub(super) fn read(message: &[u8]) -> Self {
        let Some(&tag) = message.first() else {
            return Self::Needs(1);
        };
        match tag {
            // We have none; memberlist says so, and its length is one byte.
            TAG_LABELED => Self::Fits,
            TAG_COMPRESSED => Self::compressed(message, 0),
            TAG_CHECKSUMED => match Self::length_at(message, 2) {
                Self::Fits if has_length_of_compressed(message) => match message.get(WRAPPED) {
                    Some(&TAG_COMPRESSED) => Self::compressed(message, WRAPPED),
                    Some(_) => Self::Fits,
                    None => Self::Needs(WRAPPED + 1),
                },
                other => other,
            },
            // What is inside was encrypted by somebody who has the key.
            TAG_COMPOUND | TAG_ENCRYPTED => Self::length_at(message, 2),
            _ => Self::plain(message),
        }
    }

    fn compressed(message: &[u8], from: usize) -> Self {
        match Self::length_at(message, from + 3) {
            Self::Fits => Self::length_at(message, from + 7),
            other => other,
        }
    }

    fn length_at(message: &[u8], at: usize) -> Self {
        match message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => Self::of(u32::from_be_bytes(bytes)),
            None => Self::Needs(at + 4),
        }
    }

    fn plain(message: &[u8]) -> Self {
        let mut claimed: u32 = 0;
        for (at, &byte) in message.iter().enumerate().take(PLAIN).skip(1) {
            let bits = u32::from(byte & 0x7f);
            // Bits that do not fit are for memberlist to refuse; they make it no longer than what is counted here.
            claimed |= bits.wrapping_shl(7 * (u32::try_from(at).unwrap_or_default() - 1));
            if byte < 0x80 {
                return Self::of(claimed);
            }
        }
        if message.len() >= PLAIN {
            return Self::TooLong { claimed };
        }
        Self::Needs(message.len() + 1)
    }

    fn of(claimed: u32) -> Self {
        if claimed > MESSAGE_BYTES_MAX {
            Self::TooLong { claimed }
        } else {
            Self::Fits
        }
    }
}

/// Whether what a checksum is around is long enough to be compressed; nothing that is not there may be waited for.
fn has_length_of_compressed(message: &[u8]) -> bool {
    let length = message.get(2..WRAPPED).and_then(|bytes| bytes.try_into().ok());
    length.is_some_and(|bytes| u32::from_be_bytes(bytes) as usize >= COMPRESSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUGE: u32 = u32::MAX;

    fn wrapped(tag: u8, length: u32) -> Vec<u8> {
        let mut message = vec![tag, 0];
        message.extend(length.to_be_bytes());
        message
    }

    fn compressed(before: u32, after: u32) -> Vec<u8> {
        let mut message = vec![TAG_COMPRESSED, 0, 0];
        message.extend(before.to_be_bytes());
        message.extend(after.to_be_bytes());
        message
    }

    #[test]
    fn what_claims_too_much_is_refused_wherever_the_length_stands() {
        let too_long = Header::TooLong { claimed: HUGE };
        for tag in [TAG_COMPOUND, TAG_CHECKSUMED, TAG_ENCRYPTED] {
            assert_eq!(Header::read(&wrapped(tag, HUGE)), too_long, "{tag}");
        }
        assert_eq!(Header::read(&compressed(HUGE, 1)), too_long);
        assert_eq!(Header::read(&compressed(1, HUGE)), too_long);
        let inside = [wrapped(TAG_CHECKSUMED, 30), compressed(HUGE, 1)].concat();
        assert_eq!(Header::read(&inside), too_long);
        assert_eq!(Header::read(&[8, 0xff, 0xff, 0xff, 0xff, 0x0f]), too_long);
        assert!(matches!(
            Header::read(&[8, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Header::TooLong { .. }
        ));
    }

    #[test]
    fn what_is_short_enough_is_read() {
        let most = MESSAGE_BYTES_MAX;
        for tag in [TAG_COMPOUND, TAG_CHECKSUMED, TAG_ENCRYPTED] {
            let message = [wrapped(tag, most), vec![8]].concat();
            assert_eq!(Header::read(&message), Header::Fits, "{tag}");
        }
        assert_eq!(Header::read(&compressed(most, most)), Header::Fits);
        assert_eq!(Header::read(&[TAG_LABELED]), Header::Fits);
        assert_eq!(Header::read(&[2, 5]), Header::Fits);
        assert_eq!(Header::read(&[8, 0x80, 0x80, 0x80, 0x02]), Header::Fits);
    }

    /// It must end, and may not wait for bytes that a short message does not have.
    #[test]
    fn more_is_asked_for_only_as_long_as_there_is_more() {
        let short = [wrapped(TAG_CHECKSUMED, 3), vec![2, 1, 0]].concat();
        for message in [short, compressed(9, 9), vec![2, 1, 0], wrapped(TAG_ENCRYPTED, 40)] {
            let mut known = 0;
            while let Header::Needs(bytes) = Header::read(&message[..known]) {
                assert!(bytes > known && bytes <= message.len(), "{message:?} {bytes}");
                known = bytes;
            }
            assert_eq!(Header::read(&message[..known]), Header::Fits);
        }
    }
}
