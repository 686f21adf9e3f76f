//! What a peer is told that could not be answered. Peers read the code alone; the text is for logs.

use tonic::{Code, Status};

use crate::{actors::peer::PeerError, error::causes};

/// The status that ends the call.
#[must_use]
pub fn peer_status(error: &PeerError) -> Status {
    let code = match error {
        PeerError::Unavailable
        | PeerError::NoRoom
        | PeerError::Stopped { .. }
        | PeerError::NotLeader { .. }
        | PeerError::Link(_)
        | PeerError::Call { .. }
        | PeerError::Deadline { .. } => Code::Unavailable,
        PeerError::NoSuchSegment { .. } => Code::NotFound,
        PeerError::Damaged { .. } => Code::DataLoss,
        PeerError::Io(_) => Code::Internal,
        PeerError::Codec(_) => Code::InvalidArgument,
    };
    Status::new(code, causes(error))
}
