//! What is left of a request's body when its answer is there already, over HTTP/2.
//!
//! A stream whose body nobody holds any more is reset behind its answer. It is done with NO_ERROR, as RFC 9113 has it (8.1), and yet there
//! are clients, curl 7.88 among them, that are still sending then, take the reset for a failure, and forget the answer which they have.
//! Others end a body early when they hear a refusal, which is a fault of the protocol, and are reset for that. So an answer waits for the
//! rest of its request for a moment. Where more of it comes, it is held for another, behind the end of the answer, since most have ended
//! theirs by then. Connections of HTTP/1.1 are listened to for as long where a body was not read (`conversation`).

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use http_body::Body;
use tokio::time::timeout;

/// For how long an answer waits for the rest of its request: what a client has underway is here by then, over the longest ways too.
pub const BEFORE: Duration = Duration::from_millis(500);
/// For how long who has been answered is listened to.
pub const BEHIND: Duration = Duration::from_secs(1);
/// The most that is read of it all: a body of the largest message that may be configured, and about what a client sends in a second.
pub const BYTES_MAX: u64 = 16 << 20;

/// What is left of a body.
///
/// Of one that says that it is larger than what would be read, nothing is read, so that its client can send no more than its window.
#[derive(Debug)]
pub struct Rest<B> {
    body: B,
    bytes_left: u64,
    /// Whether it may end before that.
    may_end: bool,
}

impl<B> Rest<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Of that body.
    pub fn new(body: B) -> Self {
        Self::with_bound(body, BYTES_MAX)
    }

    fn with_bound(body: B, bytes_max: u64) -> Self {
        Self {
            may_end: body.size_hint().lower() <= bytes_max,
            bytes_left: bytes_max,
            body,
        }
    }

    /// Reads it for as long as `within`, if it may end at all; whether it is to be let go, since it has ended, or nothing more is read.
    ///
    /// Cancel: safe.
    pub async fn is_over(&mut self, within: Duration) -> bool {
        self.may_end && timeout(within, self.read()).await.is_ok()
    }

    /// Holds it for as long as `within`, and reads it if it may end.
    ///
    /// Cancel: safe.
    pub async fn outlast(mut self, within: Duration) {
        let over = async {
            match self.may_end {
                true => self.read().await,
                false => std::future::pending().await,
            }
        };
        // However it went: there is nobody to tell.
        drop(timeout(within, over).await);
    }

    async fn read(&mut self) {
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.bytes_left.checked_sub(bytes) {
                Some(left) => self.bytes_left = left,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        task::{Context, Poll},
    };

    use http_body::{Frame, SizeHint};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_millis(20);

    /// Gives pieces of ten bytes for as long as there are some, and then ends, or is silent.
    struct Said<'a> {
        pieces: &'a mut usize,
        ends: bool,
        length: u64,
    }

    impl Body for Said<'_> {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match *self.pieces {
                0 if self.ends => Poll::Ready(None),
                0 => Poll::Pending,
                _ => {
                    *self.pieces -= 1;
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"0123456789")))))
                }
            }
        }

        fn size_hint(&self) -> SizeHint {
            let mut hint = SizeHint::new();
            hint.set_lower(self.length);
            hint
        }
    }

    #[tokio::test]
    async fn a_rest_is_read_to_its_end_or_to_the_bounds_and_not_at_all_where_it_would_not_end() {
        // Pieces; whether it ends then; what it says of its length; how long it may take; whether it is over; how many pieces are left.
        for (pieces, ends, length, within, is_over, unread) in [
            (10, true, 0, LONG, true, 0),
            (10, false, 100, SOON, false, 0),
            (20, true, 0, LONG, true, 9),
            (20, true, 101, LONG, false, 20),
        ] {
            let mut left = pieces;
            let said = Said {
                pieces: &mut left,
                ends,
                length,
            };
            let mut rest = Rest::with_bound(said, 100);
            assert_eq!(rest.is_over(within).await, is_over, "{pieces} {ends} {length}");
            if !is_over {
                rest.outlast(SOON).await;
            }
            assert_eq!(left, unread, "{pieces} {ends} {length}");
        }
    }
}
