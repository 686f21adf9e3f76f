//! What is said at the end of a stream whose caller may not go on.

use bytes::Bytes;
use http_body::Frame;
use tonic::Status;

use crate::net::{guard::trailers, status::Refusal};

/// How a stream ends whose caller may not go on.
#[derive(Clone, Copy, Debug)]
pub enum Farewell {
    /// By the trailers of gRPC.
    Trailers,
    /// By a last piece of its body.
    Piece(fn(Refusal) -> Bytes),
}

impl Farewell {
    pub(super) fn frame(self, refusal: Refusal) -> Frame<Bytes> {
        match self {
            Self::Trailers => trailers(&Status::from(refusal)),
            Self::Piece(told) => Frame::data(told(refusal)),
        }
    }
}
