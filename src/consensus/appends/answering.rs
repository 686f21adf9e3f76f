//! The side of a connection of appends that answers: a follower's.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use super::{
    REQUEST_COST, STREAMS_MAX, UNWRITTEN_BYTES_MAX, Wire, WireError, greeting::over, parcel::Parcel,
    pulse::Pulse, side::Side,
};
use crate::{
    consensus::{
        links::{CONNECTION_WINDOW_BYTES, MESSAGE_BYTES_MAX},
        messages::AppendRequest,
    },
    proto::peer::{AppendResponse, append_response::Result as Answer},
};

/// What a peer may have unanswered: the connection's window, which the last request may go beyond.
const UNANSWERED_BYTES_MAX: usize = CONNECTION_WINDOW_BYTES as usize + MESSAGE_BYTES_MAX + REQUEST_COST;

/// Answers in the order of the requests, one each. Behind one that accepts nothing, and behind an error, there are none.
pub type AppendAnswers = BoxStream<'static, Result<AppendResponse, Status>>;

/// Whoever lets streams in, and answers them.
pub trait AppendServer: Send {
    /// Reads a request, as it was sent.
    ///
    /// Errors: it makes no sense. Its stream ends, once what came before is answered.
    fn read(&self, request: Bytes) -> Result<AppendRequest, Status>;

    /// Lets a stream in. Its requests end when the peer ends or breaks it, or sends what makes no sense.
    ///
    /// Errors: why it is not let in.
    fn begin(&mut self, requests: BoxStream<'static, AppendRequest>) -> Result<AppendAnswers, Status>;
}

/// Drives the connection for as long as it lasts; `Ok` when the peer has closed it.
#[derive(Debug)]
pub struct Answering<I, S> {
    wire: Wire<I>,
    pub(super) pulse: Pulse,
    server: S,
    streams: Vec<Answered>,
    /// The number of the newest stream.
    newest: u32,
    /// What all requests take that have no answer yet.
    unanswered: usize,
}

/// A stream that is answered.
struct Answered {
    stream: u32,
    /// `None` once there are no more.
    requests: Option<mpsc::UnboundedSender<AppendRequest>>,
    answers: AppendAnswers,
    /// Why requests ended before the peer said so.
    broken: Option<Status>,
    /// What each request takes that has no answer yet.
    costs: VecDeque<usize>,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin, S: AppendServer> Answering<I, S> {
    /// Over `wire`, on which the greeting is over; `server` answers. It is to be awaited, on the runtime that moves its bytes.
    #[must_use]
    pub fn new(wire: Wire<I>, server: S) -> Self {
        Self {
            wire,
            pulse: Pulse::new(),
            server,
            streams: Vec::new(),
            newest: 0,
            unanswered: 0,
        }
    }

    /// Where a stream is; `None` when it is over, which the peer may not have known.
    fn find(&self, stream: u32) -> Result<Option<usize>, WireError> {
        if stream == 0 || stream > self.newest {
            return Err(WireError::Unexpected {
                what: "a stream that has not begun",
            });
        }
        Ok(self.streams.iter().position(|answered| answered.stream == stream))
    }

    fn begin(&mut self, stream: u32) -> Result<(), WireError> {
        if stream <= self.newest {
            return Err(WireError::Unexpected {
                what: "a stream that has begun before",
            });
        }
        self.newest = stream;
        let (requests, taken) = mpsc::unbounded_channel();
        let begun = if self.streams.len() < STREAMS_MAX {
            self.server.begin(UnboundedReceiverStream::new(taken).boxed())
        } else {
            Err(Status::resource_exhausted("too many streams on one connection"))
        };
        match begun {
            Ok(answers) => {
                self.wire.say(&Parcel::Taken { stream });
                self.streams.push(Answered {
                    stream,
                    requests: Some(requests),
                    answers,
                    broken: None,
                    costs: VecDeque::new(),
                });
            }
            Err(status) => self.wire.say(&over(stream, Some(&status))),
        }
        Ok(())
    }

    fn asked(&mut self, at: usize, request: Bytes) -> Result<(), WireError> {
        let answered = &mut self.streams[at];
        let Some(requests) = &answered.requests else {
            return Ok(());
        };
        let cost = request.len() + REQUEST_COST;
        if self.unanswered + cost > UNANSWERED_BYTES_MAX {
            return Err(WireError::Unexpected {
                what: "more requests than may be unanswered",
            });
        }
        match self.server.read(request) {
            Ok(request) => {
                answered.costs.push_back(cost);
                self.unanswered += cost;
                // Who takes no more of them ends the answers, too.
                drop(requests.send(request));
            }
            Err(status) => {
                answered.broken = Some(status);
                answered.requests = None;
            }
        }
        Ok(())
    }

    fn remove(&mut self, at: usize) -> Answered {
        let answered = self.streams.remove(at);
        self.unanswered -= answered.costs.iter().sum::<usize>();
        answered
    }

    /// Sends what is answered.
    fn poll_answers(&mut self, cx: &mut Context<'_>) {
        let mut at = 0;
        while at < self.streams.len() {
            match self.streams[at].poll_answers(cx, &mut self.wire, &mut self.unanswered) {
                Poll::Pending => at += 1,
                Poll::Ready(why) => {
                    let mut answered = self.remove(at);
                    let why = why.or_else(|| answered.broken.take());
                    self.wire.say(&over(answered.stream, why.as_ref()));
                }
            }
        }
    }
}

impl Answered {
    /// Sends answers, those that accept as one. Ready when there will be no more, with why.
    fn poll_answers<I: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire<I>,
        unanswered: &mut usize,
    ) -> Poll<Option<Status>> {
        let (mut requests, mut newest) = (0, None);
        let ended = loop {
            if wire.out.bytes() >= UNWRITTEN_BYTES_MAX {
                break Poll::Pending;
            }
            match self.answers.poll_next_unpin(cx) {
                Poll::Pending => break Poll::Pending,
                Poll::Ready(None) => break Poll::Ready(None),
                Poll::Ready(Some(Err(status))) => break Poll::Ready(Some(status)),
                Poll::Ready(Some(Ok(response))) => {
                    *unanswered -= self.costs.pop_front().unwrap_or(0);
                    if !accepts(&response) {
                        self.answer(wire, requests, newest.take());
                        requests = 0;
                    }
                    requests += 1;
                    newest = Some(response);
                }
            }
        };
        self.answer(wire, requests, newest);
        ended
    }

    fn answer<I: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: &mut Wire<I>,
        requests: u32,
        newest: Option<AppendResponse>,
    ) {
        if let Some(response) = newest {
            let stream = self.stream;
            wire.say(&Parcel::Answer {
                stream,
                requests,
                response,
            });
        }
    }
}

/// Whether it says all that was said by those before it.
fn accepts(response: &AppendResponse) -> bool {
    matches!(response.result, Some(Answer::Accepted(_)))
}

impl<I: AsyncRead + AsyncWrite + Unpin, S: AppendServer> Side for Answering<I, S> {
    type Io = I;

    fn wire(&mut self) -> &mut Wire<I> {
        &mut self.wire
    }

    fn hear(&mut self, parcel: Parcel) -> Result<(), WireError> {
        match parcel {
            Parcel::Begin { stream } => return self.begin(stream),
            Parcel::Append { stream, request } => {
                if let Some(at) = self.find(stream)? {
                    self.asked(at, request)?;
                }
            }
            Parcel::End { stream } => {
                if let Some(at) = self.find(stream)? {
                    self.streams[at].requests = None;
                }
            }
            Parcel::Unwanted { stream } => {
                if let Some(at) = self.find(stream)? {
                    self.remove(at);
                }
            }
            Parcel::Ping => self.wire.say(&Parcel::Pong),
            Parcel::Hello(_)
            | Parcel::Welcome(_)
            | Parcel::Taken { .. }
            | Parcel::Answer { .. }
            | Parcel::Over { .. }
            | Parcel::Pong => {
                return Err(WireError::Unexpected {
                    what: "what only a node that answers may say",
                });
            }
        }
        Ok(())
    }

    fn poll_say(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        while self.pulse.poll_beat(cx, &mut self.wire.heard)?.is_ready() {}
        self.poll_answers(cx);
        Ok(())
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin, S: AppendServer + Unpin> Future for Answering<I, S> {
    type Output = Result<(), WireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_drive(cx)
    }
}
