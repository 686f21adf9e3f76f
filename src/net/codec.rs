//! How the server's calls are coded: as tonic does it, but that a request which cannot be decoded is told as the client's fault,
//! with the place in it (tonic's own codec calls it INTERNAL, without a reason), and that what is encoded takes no more memory than it has
//! bytes: it may wait for a client that never reads.

use std::{any::type_name, fmt, marker::PhantomData};

use prost::{DecodeError, Message};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::status::Refusal;

/// For messages as they mostly are, some together; a larger one takes what it has.
const BUFFER_BYTES: usize = 8 << 10;
/// Messages are gathered up to this before they are sent.
const GATHERED_BYTES: usize = 16 << 10;

/// Of a server: `T` goes out, `U` comes in. Named in `build.rs`.
pub struct ServerCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ServerCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> fmt::Debug for ServerCodec<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCodec").finish()
    }
}

impl<T, U> Codec for ServerCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ResponseEncoder<T>;
    type Decoder = RequestDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ResponseEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        RequestDecoder(PhantomData)
    }
}

/// Encodes responses.
pub struct ResponseEncoder<T>(PhantomData<T>);

impl<T> fmt::Debug for ResponseEncoder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseEncoder").finish()
    }
}

impl<T: Message> Encoder for ResponseEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, response: T, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.reserve(response.encoded_len());
        response.encode_raw(into);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, GATHERED_BYTES)
    }
}

/// Decodes requests.
pub struct RequestDecoder<U>(PhantomData<U>);

impl<U> fmt::Debug for RequestDecoder<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestDecoder").finish()
    }
}

impl<U: Message + Default> Decoder for RequestDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let decoded = U::decode(buf).map_err(|error| undecodable::<U>(&error));
        Ok(Some(decoded?))
    }
}

fn undecodable<U>(error: &DecodeError) -> Refusal {
    let name = type_name::<U>();
    let name = name.rsplit("::").next().unwrap_or(name);
    Refusal::invalid(format!(
        "the message is no {name}: {error}; encode it by this version's schema, which is in proto/ and is given by reflection"
    ))
}
