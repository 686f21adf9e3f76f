//! Finds the messages in the bytes of a gRPC body. Pure: it reads five bytes of each message and copies none.

/// A flag (compressed or not) and a length of four bytes, the highest first.
const PREFIX_BYTES: usize = 5;

/// Where in the body's messages the bytes seen so far end.
#[derive(Debug, Default)]
pub struct Prefixes {
    prefix: [u8; PREFIX_BYTES],
    /// How much of a prefix was seen.
    prefix_len: usize,
    /// What is left of the message behind the last whole prefix.
    left: usize,
    in_large: bool,
    begun: u64,
}

/// How far a walk came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    /// Over all bytes.
    End,
    /// To a large message. The walk goes on with the bytes from `at` on.
    Large {
        /// Where its prefix begins in these bytes; 0 when some of it was in earlier ones.
        at: usize,
        /// Its length, without the prefix.
        bytes: usize,
    },
}

impl Prefixes {
    /// Walks over the next bytes of the body, up to a message of more than `small_bytes_max`.
    pub fn walk(&mut self, data: &[u8], small_bytes_max: usize) -> Walked {
        let mut at = 0;
        loop {
            let passed = self.left.min(data.len() - at);
            self.left -= passed;
            at += passed;
            self.in_large &= self.left > 0;
            if at == data.len() {
                return Walked::End;
            }
            if self.prefix_len == 0 {
                self.begun += 1;
            }
            let begins = at;
            let wanted = PREFIX_BYTES - self.prefix_len;
            let seen = wanted.min(data.len() - at);
            self.prefix[self.prefix_len..self.prefix_len + seen].copy_from_slice(&data[at..at + seen]);
            self.prefix_len += seen;
            at += seen;
            if self.prefix_len < PREFIX_BYTES {
                return Walked::End;
            }
            let [_, a, b, c, d] = self.prefix;
            let bytes = u32::from_be_bytes([a, b, c, d]) as usize;
            self.prefix_len = 0;
            self.left = bytes;
            if bytes > small_bytes_max {
                // The walk begins again at the prefix, which then counts as part of the message.
                self.left += seen;
                self.in_large = true;
                return Walked::Large { at: begins, bytes };
            }
        }
    }

    /// Whether the bytes end where a message ends.
    pub fn is_whole(&self) -> bool {
        self.left == 0 && self.prefix_len == 0
    }

    /// Whether the bytes end within a large message.
    pub fn is_in_large(&self) -> bool {
        self.in_large
    }

    /// How many messages have begun.
    pub fn begun(&self) -> u64 {
        self.begun
    }
}
