//! With what a connection of appends begins: who asks, and who answers or why not.

use std::future::poll_fn;

use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{Code, Status};

use super::{Wire, WireError, parcel::Parcel};
use crate::proto::peer;

/// What is believed of the length of a greeting, from whoever it comes.
pub const GREETING_BYTES_MAX: usize = 1 << 10;

/// Says who asks, and hears who answers.
///
/// Errors: the connection ends before that. Within: why the node at the other end refuses. Cancel: the connection is lost.
pub async fn say<I>(
    wire: &mut Wire<I>,
    hello: peer::AppendsHello,
) -> Result<Result<peer::GreetResponse, Status>, WireError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    wire.say(&Parcel::Hello(hello));
    poll_fn(|cx| wire.poll_write(cx)).await?;
    match poll_fn(|cx| wire.poll_parcel(cx)).await? {
        Some(Parcel::Welcome(welcome)) => {
            wire.trust();
            Ok(Ok(welcome))
        }
        Some(Parcel::Over { why, .. }) => Ok(Err(status_of(why))),
        Some(_) => Err(WireError::Unexpected {
            what: "something else than an answer to the greeting",
        }),
        None => Err(WireError::Closed {
            before: "before it answered the greeting; all nodes of a cluster must run versions that understand each other",
        }),
    }
}

/// Hears who asks. What comes is not believed to be of a node.
///
/// Errors: the connection ends before that. Cancel: the connection is lost.
pub async fn hear<I>(wire: &mut Wire<I>) -> Result<peer::AppendsHello, WireError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    match poll_fn(|cx| wire.poll_parcel(cx)).await? {
        Some(Parcel::Hello(hello)) => Ok(hello),
        Some(_) => Err(WireError::Unexpected {
            what: "something else than a greeting",
        }),
        None => Err(WireError::Closed {
            before: "before it said who it is",
        }),
    }
}

/// Says who answers: from here on whoever asks is believed to be a node.
///
/// Errors: the connection ends before that. Cancel: the connection is lost.
pub async fn welcome<I>(wire: &mut Wire<I>, welcome: peer::GreetResponse) -> Result<(), WireError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    wire.trust();
    wire.say(&Parcel::Welcome(welcome));
    poll_fn(|cx| wire.poll_write(cx)).await
}

/// Says why there is no answer.
///
/// Errors: the connection ends before that. Cancel: the connection is lost.
pub async fn refuse<I>(wire: &mut Wire<I>, why: &Status) -> Result<(), WireError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    wire.say(&over(0, Some(why)));
    poll_fn(|cx| wire.poll_write(cx)).await
}

/// The end of a stream; `None` where all of it is answered.
pub(super) fn over(stream: u32, why: Option<&Status>) -> Parcel {
    let why = why.map_or_else(peer::StreamOver::default, |status| peer::StreamOver {
        code: i32::from(status.code()).unsigned_abs(),
        message: status.message().to_owned(),
    });
    Parcel::Over { stream, why }
}

/// What the other side says of an end that is none of its own making.
pub(super) fn status_of(why: peer::StreamOver) -> Status {
    let code = i32::try_from(why.code).map_or(Code::Unknown, Code::from_i32);
    Status::new(code, why.message)
}
