//! The bytes of a connection of appends: parcels, one after the other.
//!
//! `length u32 | kind u8 | stream u32 | body`, little-endian; the length is that of what follows it. Bodies are messages of
//! `peer.proto`; that of an answer begins with a `u32`: how many requests it is for.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::{error::Disposition, proto::peer};

/// Length, kind, stream.
pub(super) const HEAD_BYTES: usize = 9;
/// What the length counts of the head.
const HEAD_COUNTED: usize = HEAD_BYTES - 4;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const BEGIN: u8 = 3;
const TAKEN: u8 = 4;
pub(super) const APPEND: u8 = 5;
const ANSWER: u8 = 6;
const END: u8 = 7;
const UNWANTED: u8 = 8;
const OVER: u8 = 9;
const PING: u8 = 10;
const PONG: u8 = 11;

/// What one side says to the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Parcel {
    /// Who asks, and whom. The first of all.
    Hello(peer::AppendsHello),
    /// Who answers. The answer to [`Parcel::Hello`]; or [`Parcel::Over`], of stream 0.
    Welcome(peer::GreetResponse),
    /// A stream begins. Its number is higher than those before.
    Begin {
        /// Its number.
        stream: u32,
    },
    /// It is let in. Otherwise it is over.
    Taken {
        /// Its number.
        stream: u32,
    },
    /// A request: an encoded `AppendRequest`.
    Append {
        /// Of this stream.
        stream: u32,
        /// Not looked into here.
        request: Bytes,
    },
    /// The answer to the oldest requests that have none.
    Answer {
        /// Of this stream.
        stream: u32,
        /// To so many of them, of which it says what it says of the last.
        requests: u32,
        /// What is said.
        response: peer::AppendResponse,
    },
    /// There will be no more requests; answers go on.
    End {
        /// Of this stream.
        stream: u32,
    },
    /// Nobody takes answers any more.
    Unwanted {
        /// Of this stream.
        stream: u32,
    },
    /// There will be no more answers.
    Over {
        /// Of this stream.
        stream: u32,
        /// Why: code 0 when all requests have theirs.
        why: peer::StreamOver,
    },
    /// The other side is to say something.
    Ping,
    /// This is something.
    Pong,
}

/// Bytes that are no parcel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParcelError {
    /// It is larger than any that nodes send, or shorter than its own head.
    #[error("a parcel is said to have {bytes} bytes; from {HEAD_COUNTED} to {bytes_max} are sent")]
    Length {
        /// What it says of itself.
        bytes: u64,
        /// What it may have.
        bytes_max: usize,
    },
    /// There is no such kind.
    #[error("a parcel is of kind {kind}, which there is not: do the nodes run the same version?")]
    UnknownKind {
        /// The kind.
        kind: u8,
    },
    /// An answer does not say to how many requests.
    #[error("an answer does not say to how many requests it is")]
    NoCount,
    /// Its body is not what its kind says.
    #[error("the {message} in a parcel cannot be decoded")]
    Undecodable {
        /// What it should be.
        message: &'static str,
        /// What protobuf says.
        #[source]
        source: prost::DecodeError,
    },
}

impl ParcelError {
    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Length { .. } | Self::UnknownKind { .. } | Self::NoCount | Self::Undecodable { .. } => {
                Disposition::Reject
            }
        }
    }
}

impl Parcel {
    /// Takes the first parcel off `bytes`; `None` while it is not whole: then there is room in `bytes` for all of it. Nothing is copied.
    ///
    /// Errors: it is none, or has more than `bytes_max` bytes. Nothing that follows can be read then.
    pub fn split(bytes: &mut BytesMut, bytes_max: usize) -> Result<Option<Self>, ParcelError> {
        let Some(length) = bytes.first_chunk().map(|length| u32::from_le_bytes(*length)) else {
            return Ok(None);
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| (HEAD_COUNTED..=bytes_max).contains(length))
            .ok_or(ParcelError::Length {
                bytes: length.into(),
                bytes_max,
            })?;
        let whole = 4 + length;
        if bytes.len() < whole {
            bytes.reserve(whole - bytes.len());
            return Ok(None);
        }
        let mut parcel = bytes.split_to(whole).freeze();
        parcel.advance(4);
        let (kind, stream) = (parcel.get_u8(), parcel.get_u32_le());
        Self::read(kind, stream, parcel).map(Some)
    }

    fn read(kind: u8, stream: u32, mut body: Bytes) -> Result<Self, ParcelError> {
        Ok(match kind {
            HELLO => Self::Hello(decode("greeting", body)?),
            WELCOME => Self::Welcome(decode("welcome", body)?),
            BEGIN => Self::Begin { stream },
            TAKEN => Self::Taken { stream },
            APPEND => Self::Append {
                stream,
                request: body,
            },
            ANSWER => {
                let requests = body.try_get_u32_le().map_err(|_| ParcelError::NoCount)?;
                let response = decode("answer", body)?;
                Self::Answer {
                    stream,
                    requests,
                    response,
                }
            }
            END => Self::End { stream },
            UNWANTED => Self::Unwanted { stream },
            OVER => Self::Over {
                stream,
                why: decode("end of a stream", body)?,
            },
            PING => Self::Ping,
            PONG => Self::Pong,
            kind => return Err(ParcelError::UnknownKind { kind }),
        })
    }

    /// Puts it behind `bytes`.
    pub fn put(&self, bytes: &mut BytesMut) {
        match self {
            Self::Hello(hello) => put_message(bytes, HELLO, 0, hello),
            Self::Welcome(welcome) => put_message(bytes, WELCOME, 0, welcome),
            Self::Begin { stream } => put_head(bytes, BEGIN, *stream, 0),
            Self::Taken { stream } => put_head(bytes, TAKEN, *stream, 0),
            Self::Append { stream, request } => {
                put_head(bytes, APPEND, *stream, request.len());
                bytes.put_slice(request);
            }
            Self::Answer {
                stream,
                requests,
                response,
            } => {
                put_head(bytes, ANSWER, *stream, 4 + response.encoded_len());
                bytes.put_u32_le(*requests);
                response.encode_raw(bytes);
            }
            Self::End { stream } => put_head(bytes, END, *stream, 0),
            Self::Unwanted { stream } => put_head(bytes, UNWANTED, *stream, 0),
            Self::Over { stream, why } => put_message(bytes, OVER, *stream, why),
            Self::Ping => put_head(bytes, PING, 0, 0),
            Self::Pong => put_head(bytes, PONG, 0, 0),
        }
    }
}

/// The head of a parcel whose body has `body` bytes.
pub(super) fn put_head(bytes: &mut BytesMut, kind: u8, stream: u32, body: usize) {
    let length = HEAD_COUNTED + body;
    bytes.put_u32_le(
        u32::try_from(length).expect("a parcel is made of what fits one message, which is far less"),
    );
    bytes.put_u8(kind);
    bytes.put_u32_le(stream);
}

fn put_message(bytes: &mut BytesMut, kind: u8, stream: u32, message: &impl Message) {
    put_head(bytes, kind, stream, message.encoded_len());
    message.encode_raw(bytes);
}

fn decode<M: Message + Default>(message: &'static str, body: Bytes) -> Result<M, ParcelError> {
    M::decode(body).map_err(|source| ParcelError::Undecodable { message, source })
}
