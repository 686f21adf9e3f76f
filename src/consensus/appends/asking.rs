//! The side of a connection of appends that asks: a leader's.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};
use tonic::Status;

use super::{
    REQUEST_COST, STREAMS_MAX, UNWRITTEN_BYTES_MAX, Wire, WireError, greeting::status_of, parcel::Parcel,
    pulse::Pulse, side::Side,
};
use crate::{
    consensus::{
        links::{CONNECTION_WINDOW_BYTES, Contact, STREAM_WINDOW_BYTES},
        messages::AppendRequest,
    },
    proto::peer::{self, AppendResponse},
};

/// Requests of a stream without an answer, and answers that nobody has taken yet; further requests wait.
const UNANSWERED_MAX: usize = 4096;

/// What is told of a stream: answers in the order of the requests, each for one or more of them; then its end, or why it ended.
pub type Told = Result<AppendResponse, Status>;

/// A connection to a peer for appends, for whoever has some. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AppendChannel {
    begins: mpsc::Sender<Begin>,
    contact: Arc<Contact>,
}

/// A stream that somebody wants.
struct Begin {
    log: Arc<str>,
    requests: BoxStream<'static, AppendRequest>,
    taken: oneshot::Sender<Result<(), Status>>,
    told: mpsc::Sender<Option<Told>>,
    /// Its other end goes when nobody takes answers any more.
    unwanted: oneshot::Receiver<()>,
}

impl fmt::Debug for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Begin")
    }
}

impl AppendChannel {
    /// Whether it can still be used, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.begins.is_closed()
    }

    /// Sends what comes of `requests` as fast as the windows allow, once the peer has let it in, for the log `log`. Dropping the answers ends the
    /// requests, on both sides.
    ///
    /// Errors: the peer refuses, or the connection is lost. Cancel: as if the answers were dropped.
    pub async fn begin(
        &self,
        log: Arc<str>,
        requests: BoxStream<'static, AppendRequest>,
    ) -> Result<impl Stream<Item = Told> + Send + use<>, Status> {
        let (taken, is_taken) = oneshot::channel();
        let (told, heard) = mpsc::channel(UNANSWERED_MAX + 1);
        let (wanted, unwanted) = oneshot::channel::<()>();
        let begin = Begin {
            log,
            requests,
            taken,
            told,
            unwanted,
        };
        self.begins.send(begin).await.map_err(|_| lost())?;
        is_taken.await.map_err(|_| lost())??;
        let contact = Arc::clone(&self.contact);
        let answers = stream::unfold(Some((heard, wanted)), async |answers| {
            let (mut heard, wanted) = answers?;
            match heard.recv().await {
                Some(Some(Ok(answer))) => Some((Ok(answer), Some((heard, wanted)))),
                Some(Some(Err(status))) => Some((Err(status), None)),
                Some(None) => None,
                None => Some((Err(lost()), None)),
            }
        });
        Ok(answers.inspect(move |told| {
            if told.is_ok() {
                contact.heard();
            }
        }))
    }
}

fn lost() -> Status {
    Status::unknown("the connection to the peer was lost")
}

/// Drives the connection for as long as it lasts; `Ok` when the peer has closed it.
#[derive(Debug)]
pub struct Asking<I> {
    wire: Wire<I>,
    pub(super) pulse: Pulse,
    begins: mpsc::Receiver<Begin>,
    streams: Vec<Asked>,
    /// The number of the newest one.
    newest: u32,
    /// Of the connection's window, how much is taken.
    unanswered: usize,
}

/// A stream that is asked.
#[derive(Debug)]
struct Asked {
    stream: u32,
    log: Arc<str>,
    /// `None` once there are no more.
    requests: Option<Requests>,
    /// `None` once it is let in.
    taken: Option<oneshot::Sender<Result<(), Status>>>,
    told: mpsc::Sender<Option<Told>>,
    unwanted: oneshot::Receiver<()>,
    /// What each request takes of the windows that has no answer yet.
    costs: VecDeque<usize>,
    unanswered: usize,
}

struct Requests(BoxStream<'static, AppendRequest>);

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests")
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Asking<I> {
    /// Over `wire`, on which the greeting is over. It is to be awaited, on the runtime that moves its bytes.
    #[must_use]
    pub fn new(wire: Wire<I>, contact: Arc<Contact>) -> (AppendChannel, Self) {
        let (begins, begun) = mpsc::channel(STREAMS_MAX);
        let asking = Self {
            wire,
            pulse: Pulse::new(),
            begins: begun,
            streams: Vec::new(),
            newest: 0,
            unanswered: 0,
        };
        (AppendChannel { begins, contact }, asking)
    }

    fn poll_begins(&mut self, cx: &mut Context<'_>) {
        while self.streams.len() < STREAMS_MAX {
            let Poll::Ready(Some(begin)) = self.begins.poll_recv(cx) else {
                return;
            };
            self.newest += 1;
            let stream = self.newest;
            self.wire.say(&Parcel::Begin { stream });
            self.streams.push(Asked {
                stream,
                log: begin.log,
                requests: Some(Requests(begin.requests)),
                taken: Some(begin.taken),
                told: begin.told,
                unwanted: begin.unwanted,
                costs: VecDeque::new(),
                unanswered: 0,
            });
        }
    }

    fn find(&mut self, stream: u32) -> Option<&mut Asked> {
        self.streams.iter_mut().find(|asked| asked.stream == stream)
    }

    /// Ends the streams whose answers nobody takes any more.
    fn poll_wanted(&mut self, cx: &mut Context<'_>) {
        let Self {
            wire,
            streams,
            unanswered,
            ..
        } = self;
        streams.retain_mut(|asked| {
            let is_wanted = Pin::new(&mut asked.unwanted).poll(cx).is_pending();
            if !is_wanted {
                *unanswered -= asked.unanswered;
                wire.say(&Parcel::Unwanted { stream: asked.stream });
            }
            is_wanted
        });
    }

    /// Sends what is asked, as far as there is room for it.
    fn poll_requests(&mut self, cx: &mut Context<'_>) {
        let Self {
            wire,
            streams,
            unanswered,
            ..
        } = self;
        for asked in streams {
            while *unanswered < CONNECTION_WINDOW_BYTES as usize
                && wire.out.bytes() < UNWRITTEN_BYTES_MAX
                && asked.has_room()
            {
                let Some(Poll::Ready(request)) = asked.poll_request(cx) else {
                    break;
                };
                let Some(request) = request else {
                    wire.say(&Parcel::End { stream: asked.stream });
                    break;
                };
                let bytes = wire.out.put_append(asked.stream, &asked.log, request);
                *unanswered += asked.sent(bytes);
            }
        }
    }
}

impl Asked {
    fn has_room(&self) -> bool {
        // Each request has a place for its answer, and the end has one.
        self.unanswered < STREAM_WINDOW_BYTES as usize && self.costs.len() + 1 < self.told.capacity()
    }

    /// `None` when there are no more, and that was said.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Option<Poll<Option<AppendRequest>>> {
        let request = self.requests.as_mut()?.0.poll_next_unpin(cx);
        if matches!(request, Poll::Ready(None)) {
            self.requests = None;
        }
        Some(request)
    }

    /// What it takes of the windows.
    fn sent(&mut self, bytes: usize) -> usize {
        let cost = bytes + REQUEST_COST;
        self.costs.push_back(cost);
        self.unanswered += cost;
        cost
    }

    fn is_taken(&mut self) {
        if let Some(taken) = self.taken.take() {
            // Where it is not wanted any more, that is seen elsewhere.
            drop(taken.send(Ok(())));
        }
    }

    /// What is free of the windows again.
    fn answered(&mut self, requests: u32, response: AppendResponse) -> Result<usize, WireError> {
        let requests = requests as usize;
        if requests == 0 || requests > self.costs.len() {
            return Err(WireError::Unexpected {
                what: "an answer to what was not asked",
            });
        }
        let freed = self.costs.drain(..requests).sum();
        self.unanswered -= freed;
        self.tell(Some(Ok(response)));
        Ok(freed)
    }

    fn over(mut self, why: peer::StreamOver) {
        let ended = (why.code != 0).then(|| status_of(why));
        match (self.taken.take(), ended) {
            (Some(taken), status) => drop(taken.send(Err(status.unwrap_or_else(lost)))),
            (None, status) => self.tell(status.map(Err)),
        }
    }

    fn tell(&self, told: Option<Told>) {
        // There is room (`has_room`); and who takes no answers is seen elsewhere.
        drop(self.told.try_send(told));
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Side for Asking<I> {
    type Io = I;

    fn wire(&mut self) -> &mut Wire<I> {
        &mut self.wire
    }

    fn hear(&mut self, parcel: Parcel) -> Result<(), WireError> {
        // What is said of a stream that is gone was said before the other side knew.
        match parcel {
            Parcel::Taken { stream } => {
                if let Some(asked) = self.find(stream) {
                    asked.is_taken();
                }
            }
            Parcel::Answer {
                stream,
                requests,
                response,
            } => {
                if let Some(asked) = self.find(stream) {
                    let freed = asked.answered(requests, response)?;
                    self.unanswered -= freed;
                }
            }
            Parcel::Over { stream, why } => {
                if let Some(at) = self.streams.iter().position(|asked| asked.stream == stream) {
                    let asked = self.streams.remove(at);
                    self.unanswered -= asked.unanswered;
                    asked.over(why);
                }
            }
            Parcel::Pong => {}
            Parcel::Hello(_)
            | Parcel::Welcome(_)
            | Parcel::Begin { .. }
            | Parcel::Append { .. }
            | Parcel::End { .. }
            | Parcel::Unwanted { .. }
            | Parcel::Ping => {
                return Err(WireError::Unexpected {
                    what: "what only a node that asks may say",
                });
            }
        }
        Ok(())
    }

    fn poll_say(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        while self.pulse.poll_beat(cx, &mut self.wire.heard)?.is_ready() {
            self.wire.say(&Parcel::Ping);
        }
        self.poll_wanted(cx);
        self.poll_begins(cx);
        self.poll_requests(cx);
        Ok(())
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Future for Asking<I> {
    type Output = Result<(), WireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_drive(cx)
    }
}
