//! Appends in a stream, from node to node: a connection that carries nothing else, in parcels of our own instead of gRPC.
//!
//! An append is what every record waits for, and it is small: what HTTP/2 did around it, in tasks, frames and windows, cost more than its
//! bytes (ADR 0022). Here one task drives a connection: on the side that asks it takes requests and hands on the answers, on the other
//! it does the reverse. Nothing waits in between, and what is ready together goes out in one write.
//!
//! The connection begins with [`FIRST_BYTE`](super::links::APPENDS_FIRST_BYTE) and, where nodes have it, TLS. Then the asking side says who
//! it is ([`hello`](greeting)), and the other one who it is, or why it has nothing to do with it. After that there are streams, each
//! of which has a number and is let in, or not, by itself. Of a stream at most [`STREAM_WINDOW_BYTES`] are unanswered, and of a connection
//! [`CONNECTION_WINDOW_BYTES`]: what is asked is always read, so that a stream that stands still holds up no other, nor a sign of life.
//!
//! [`STREAM_WINDOW_BYTES`]: super::links::STREAM_WINDOW_BYTES
//! [`CONNECTION_WINDOW_BYTES`]: super::links::CONNECTION_WINDOW_BYTES

mod answering;
mod asking;
pub mod greeting;
mod outbox;
pub mod parcel;
mod pulse;
mod side;
mod wire;

#[cfg(test)]
mod tests;

pub use answering::{Answering, AppendAnswers, AppendServer};
pub use asking::{AppendChannel, Asking, Told};
pub use wire::{Wire, WireError};

/// Streams of a connection at a time. There is one for each log that its node leads, and for a moment another one that follows it.
const STREAMS_MAX: usize = 16;
/// While so much waits to be written, nothing is added to it: what is unanswered may be more, but need not be in memory twice.
const UNWRITTEN_BYTES_MAX: usize = 2 << 20;
/// What a request takes of a window beside its bytes, so that the window bounds their number too.
const REQUEST_COST: usize = 256;
