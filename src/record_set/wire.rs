//! Protobuf's wire format, as far as records need it: fields of a message, one after the other.
//!
//! Accepts no more than prost does, so that what a server lets in, every client can decode.

use std::ops::Range;

use super::Malformation;

/// Why bytes are no message, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) position: usize,
    pub(super) problem: Malformation,
}

/// A field of a message.
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) body: Body,
    /// Where its tag begins.
    pub(super) start: usize,
}

/// What a field holds, by its wire type.
pub(super) enum Body {
    /// Wire type 0.
    Varint(u64),
    /// Wire types 1 and 5.
    Fixed,
    /// Wire type 2: where its bytes are.
    Delimited(Range<usize>),
}

/// A place in bytes. Positions count from the beginning of the outermost message.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], range: Range<usize>) -> Self {
        Self {
            bytes: &bytes[..range.end],
            at: range.start,
        }
    }

    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// One field, well-formed, whatever its number.
    #[inline]
    pub(super) fn field(&mut self) -> Result<Field, Fault> {
        let start = self.at;
        let fault = |problem| Fault {
            position: start,
            problem,
        };
        let tag = self.varint()?;
        let number = match u32::try_from(tag) {
            Ok(tag) if tag >> 3 > 0 => tag >> 3,
            Ok(_) | Err(_) => return Err(fault(Malformation::FieldNumber)),
        };
        let body = match tag & 7 {
            0 => Body::Varint(self.varint()?),
            1 => self.skip(8).map(|()| Body::Fixed)?,
            2 => Body::Delimited(self.delimited()?),
            5 => self.skip(4).map(|()| Body::Fixed)?,
            wire_type => {
                return Err(fault(Malformation::UnknownWireType {
                    wire_type: wire_type as u8,
                }));
            }
        };
        Ok(Field { number, body, start })
    }

    /// Moves past the byte `expected`; otherwise gives the one that is there, if any.
    #[inline]
    pub(super) fn tag(&mut self, expected: u8) -> Result<(), Option<u8>> {
        match self.bytes.get(self.at) {
            Some(found) if *found == expected => {
                self.at += 1;
                Ok(())
            }
            found => Err(found.copied()),
        }
    }

    /// A length, and the range of so many bytes behind it; moves past them.
    #[inline]
    pub(super) fn delimited(&mut self) -> Result<Range<usize>, Fault> {
        let position = self.at;
        let length = self.varint()?;
        let left = (self.bytes.len() - self.at) as u64;
        if length > left {
            return Err(Fault {
                position,
                problem: Malformation::Length { length, left },
            });
        }
        let start = self.at;
        self.at += length as usize;
        Ok(start..self.at)
    }

    fn skip(&mut self, count: usize) -> Result<(), Fault> {
        if self.bytes.len() - self.at < count {
            return Err(self.cut());
        }
        self.at += count;
        Ok(())
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Fault> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            Some(_) | None => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Fault> {
        let position = self.at;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.cut())?;
            self.at += 1;
            // Of the tenth byte only the lowest bit fits.
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault {
            position,
            problem: Malformation::Varint,
        })
    }

    #[cold]
    fn cut(&self) -> Fault {
        Fault {
            position: self.bytes.len(),
            problem: Malformation::Cut,
        }
    }
}
