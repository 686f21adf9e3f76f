//! A request's body that is one message without a prefix, received whole: as HTTP has them.

use std::{pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};
use tonic::Status;

use super::{ReceiveBudget, SMALL_BYTES_MAX};
use crate::net::status::Refusal;

/// A body that is whole, with its room.
#[derive(Debug)]
pub struct Whole {
    /// The body.
    pub bytes: Bytes,
    /// Given back when what was read of it is accounted for elsewhere.
    _room: Option<OwnedSemaphorePermit>,
}

impl ReceiveBudget {
    /// Receives a body whole. A large one takes room before it is read: all of it when the client says its length, and as it grows
    /// when not.
    ///
    /// Errors: `MessageTooLarge` and `Overloaded`, before it is read where its length is known; `ReceiveDeadline`; `Invalid` when
    /// it breaks off. Cancel: what was read is lost.
    pub async fn receive<B>(&self, body: B) -> Result<Whole, Refusal>
    where
        B: Body<Data = Bytes, Error = Status> + Unpin,
    {
        let receiving = Receiving {
            budget: self,
            gathered: BytesMut::new(),
            room: None,
        };
        receiving.whole(body).await
    }
}

struct Receiving<'a> {
    budget: &'a ReceiveBudget,
    gathered: BytesMut,
    room: Option<OwnedSemaphorePermit>,
}

impl Receiving<'_> {
    async fn whole<B>(mut self, mut body: B) -> Result<Whole, Refusal>
    where
        B: Body<Data = Bytes, Error = Status> + Unpin,
    {
        let within = self.budget.within;
        let deadline = Instant::now() + within;
        if let Some(bytes) = body.size_hint().exact() {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            self.make_room(bytes, bytes)?;
            self.gathered.reserve(bytes);
        }
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
            let frame = timeout_at(deadline, frame)
                .await
                .map_err(|_| Refusal::ReceiveDeadline { within })?;
            match frame {
                None => break,
                Some(Err(status)) => {
                    let what = format!("the body broke off: {}", status.message());
                    return Err(Refusal::invalid(what));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        let bytes = self.gathered.len() + data.len();
                        // Twice of what is there, so that a long body asks a few times.
                        self.make_room(bytes, bytes.saturating_mul(2))?;
                        self.gathered.extend_from_slice(&data);
                    }
                }
            }
        }
        Ok(Whole {
            bytes: self.gathered.freeze(),
            _room: self.room,
        })
    }

    /// Room for `bytes`; when more has to be asked for, for `wanted`.
    fn make_room(&mut self, bytes: usize, wanted: usize) -> Result<(), Refusal> {
        let bytes_max = self.budget.message_bytes_max;
        if bytes > bytes_max {
            return Err(Refusal::MessageTooLarge {
                what: format!("the body has {bytes} bytes or more, the most is {bytes_max}"),
            });
        }
        let held = self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if bytes <= SMALL_BYTES_MAX.max(held) {
            return Ok(());
        }
        let wanted = wanted.min(bytes_max).max(bytes);
        let more = u32::try_from(wanted - held).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.budget.permits)
            .try_acquire_many_owned(more)
            .map_err(|_| Refusal::Overloaded)?;
        match &mut self.room {
            Some(room) => room.merge(more),
            None => self.room = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        task::{Context, Poll},
        time::Duration,
    };

    use http_body::{Frame, SizeHint};

    use super::*;
    use crate::net::Options;

    const BYTES_MAX: usize = 100 << 10;

    /// Pieces, and then the end, or silence.
    struct Said {
        pieces: VecDeque<Bytes>,
        length: Option<u64>,
        ends: bool,
    }

    impl Said {
        fn pieces(count: usize, bytes: usize) -> Self {
            Self {
                pieces: vec![Bytes::from(vec![b'x'; bytes]); count].into(),
                length: None,
                ends: true,
            }
        }
    }

    impl Body for Said {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            match self.pieces.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }

        fn size_hint(&self) -> SizeHint {
            self.length.map_or_else(SizeHint::new, SizeHint::with_exact)
        }
    }

    fn budget() -> ReceiveBudget {
        ReceiveBudget::new(&Options {
            receive_bytes: BYTES_MAX,
            message_bytes_max: BYTES_MAX,
            request_timeout: Duration::from_millis(50),
            ..Options::default()
        })
    }

    fn free(budget: &ReceiveBudget) -> usize {
        budget.permits.available_permits()
    }

    #[tokio::test]
    async fn a_body_takes_room_as_it_grows_and_gives_it_back() {
        let budget = budget();
        let small = budget.receive(Said::pieces(2, 10 << 10)).await.unwrap();
        assert_eq!((small.bytes.len(), free(&budget)), (20 << 10, BYTES_MAX));
        let large = budget.receive(Said::pieces(7, 10 << 10)).await.unwrap();
        assert_eq!(large.bytes.len(), 70 << 10);
        assert!(free(&budget) <= BYTES_MAX - large.bytes.len());
        let refused = budget.receive(Said::pieces(7, 10 << 10)).await.unwrap_err();
        assert!(matches!(refused, Refusal::Overloaded), "{refused}");
        drop(large);
        assert_eq!(free(&budget), BYTES_MAX);
    }

    #[tokio::test]
    async fn a_body_that_says_its_length_is_refused_before_it_is_read() {
        let budget = budget();
        for (length, expected) in [(BYTES_MAX + 1, "too large"), (BYTES_MAX, "too much is waiting")] {
            let _taken = (length == BYTES_MAX).then(|| budget.permits.try_acquire().unwrap());
            // Reading would wait until the deadline.
            let said = Said {
                length: Some(length as u64),
                ends: false,
                ..Said::pieces(0, 0)
            };
            let refused = budget.receive(said).await.unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_body_of_no_length_is_refused_where_it_is_too_large() {
        let refused = budget().receive(Said::pieces(11, 10 << 10)).await.unwrap_err();
        assert!(matches!(refused, Refusal::MessageTooLarge { .. }), "{refused}");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let said = Said {
            ends: false,
            ..Said::pieces(1, 10)
        };
        let refused = budget().receive(said).await.unwrap_err();
        assert!(matches!(refused, Refusal::ReceiveDeadline { .. }), "{refused}");
    }
}
