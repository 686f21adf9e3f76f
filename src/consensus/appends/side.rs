//! What both sides of a connection do: hear all that has come, say what there is to say, and write it as one.

use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{UNWRITTEN_BYTES_MAX, Wire, WireError, parcel::Parcel};

/// One of the two sides.
pub(super) trait Side {
    /// What the connection is made of.
    type Io: AsyncRead + AsyncWrite + Unpin;

    /// The connection.
    fn wire(&mut self) -> &mut Wire<Self::Io>;

    /// Takes what the other side says.
    ///
    /// Errors: it may not say that; the connection is to end.
    fn hear(&mut self, parcel: Parcel) -> Result<(), WireError>;

    /// Says what there is to say, as far as there is room for it, and leaves a waker for more.
    ///
    /// Errors: the other side has been silent for too long.
    fn poll_say(&mut self, cx: &mut Context<'_>) -> Result<(), WireError>;

    /// Drives the connection. Ready when it has ended; `Ok` when the other side has closed it.
    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        loop {
            while let Poll::Ready(parcel) = self.wire().poll_parcel(cx)? {
                match parcel {
                    None => return Poll::Ready(Ok(())),
                    Some(parcel) => self.hear(parcel)?,
                }
            }
            self.poll_say(cx)?;
            let was_full = self.wire().out.bytes() >= UNWRITTEN_BYTES_MAX;
            let is_written = self.wire().poll_write(cx)?.is_ready();
            // What did not fit has not been looked at, so that nobody would wake this.
            if !(was_full && is_written) {
                return Poll::Pending;
            }
        }
    }
}
