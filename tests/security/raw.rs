//! Calls of any method, by its path alone, with an empty message.

use bytes::{Buf, BufMut, Bytes};
use futures::stream;
use http::uri::PathAndQuery;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tonic_types::StatusExt;

use crate::support::node::in_time;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service had it, whatever it made of it.
    LetIn,
    /// The policy does not allow it.
    Denied,
    /// There was no connection to call on.
    NotConnected,
}

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Calls the method; on the wire all kinds of methods look the same.
pub async fn call(channel: &Channel, path: &str) -> Outcome {
    in_time(path, try_call(channel, path))
        .await
        .map_or_else(|status| outcome_of(&status), |()| Outcome::LetIn)
}

async fn try_call(channel: &Channel, path: &str) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready()
        .await
        .map_err(|error| Status::from_error(Box::new(error)))?;
    let path: PathAndQuery = path.parse().unwrap();
    let messages = stream::iter([Bytes::new()]);
    // Who is denied hears it instead of the head of an answer; some streams have nothing to say behind theirs.
    grpc.streaming(Request::new(messages), path, Raw).await.map(drop)
}

pub fn outcome_of(status: &Status) -> Outcome {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match (status.code(), reason.as_deref()) {
        (Code::PermissionDenied, Some("ACL_DENIED")) => Outcome::Denied,
        // Errors of a node say which they are; those of a connection are tonic's own, which takes the end of one that lacks TLS
        // for a lack of permission.
        (
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::PermissionDenied,
            None,
        ) => Outcome::NotConnected,
        _ => Outcome::LetIn,
    }
}
