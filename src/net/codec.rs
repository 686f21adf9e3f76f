//! How the server's calls are coded: as tonic does it, but that a request which cannot be decoded is told as the client's fault,
//! with the place in it. tonic's own codec calls it INTERNAL, without a reason.

use std::{any::type_name, fmt, marker::PhantomData};

use prost::{DecodeError, Message};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;

use super::status::Refusal;

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
    type Encoder = ProstEncoder<T>;
    type Decoder = RequestDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        RequestDecoder(PhantomData)
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
