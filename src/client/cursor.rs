//! Named cursors: a consumer's place in the log, kept in the log itself.

use std::{future::Future, sync::Arc};

use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    proto::annals::v1::{self as proto, cursor_service_client::CursorServiceClient},
    types::{CursorName, Offset},
};

use super::{
    calls::{Answer, Twice},
    error::{Error, ErrorKind, ProtocolError},
    router::{Need, Router},
};

/// A cursor, by its name: 1 to 128 letters, digits, `.`, `_` and `-`. Made by [`Client::cursor`](super::Client::cursor), which asks
/// nobody; nor does any call when that is no name, but ends with `NoCursorName`.
///
/// It is as durable as a record, and is where it was whoever leads. Who must not share it takes it first: of two that took it, the newer
/// goes on and the older is refused at its next commit, whatever either believes.
#[derive(Clone, Debug)]
pub struct Cursor {
    router: Arc<Router>,
    name: String,
}

/// Where a cursor stood when a node was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CursorState {
    /// Its name.
    pub name: String,
    /// Of the take that counts; 0: nobody ever took it.
    pub epoch: u64,
    /// The next offset to read; `None`: it was taken, and nothing was committed yet. It may lie below what is readable, where
    /// records were trimmed that nobody had read.
    pub offset: Option<Offset>,
    /// When it was last taken or committed, in milliseconds since 1970.
    pub changed_ms: u64,
    /// The first offset that is not readable yet, as the node knows it.
    pub high_watermark: Offset,
    /// See [`CursorState::behind`]; `None`: the node is of an earlier version.
    pub(crate) behind: Option<u64>,
}

impl CursorState {
    /// How many records it has before it, by the node that was asked: from its offset, or the earliest where that is higher or nothing was
    /// committed yet, to the high watermark. `None`: the node is of an earlier version, and nothing was committed yet.
    #[must_use]
    pub fn behind(&self) -> Option<u64> {
        let readable = || Some(self.high_watermark.distance_from(self.offset?));
        self.behind.or_else(readable)
    }

    /// Errors: `WithoutCursor`.
    fn of(cursor: Option<proto::Cursor>, header: Option<&proto::ResponseHeader>) -> Result<Self, Error> {
        let cursor = cursor.ok_or(ProtocolError::WithoutCursor)?;
        Ok(Self {
            name: cursor.name,
            epoch: cursor.epoch,
            offset: cursor.offset.map(Offset),
            changed_ms: cursor.changed_ms,
            high_watermark: Offset(header.map_or(0, |header| header.high_watermark)),
            behind: cursor.behind,
        })
    }
}

impl Cursor {
    pub(super) fn new(router: Arc<Router>, name: String) -> Self {
        Self { router, name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// By the rule that nodes have.
    ///
    /// Errors: `NoCursorName`.
    fn checked_name(&self) -> Result<String, Error> {
        match self.name.parse::<CursorName>() {
            Ok(name) => Ok(name.to_string()),
            Err(error) => Err(Error::new(ErrorKind::NoCursorName(error))),
        }
    }

    /// Where it stands, by every change that was answered before this call began.
    ///
    /// Errors: [`UnknownCursor`](super::Reason::UnknownCursor), when there is none of that name. Cancel: safe.
    pub async fn get(&self) -> Result<CursorState, Error> {
        let request = proto::GetCursorRequest {
            name: self.checked_name()?,
            ..Default::default()
        };
        let got = call(
            &self.router,
            Need::Below(0),
            Twice::Nothing,
            request,
            |mut node, request| async move { node.get(request).await },
        );
        let got = got.await?;
        CursorState::of(got.cursor, got.header.as_ref())
    }

    /// Makes it this caller's; whoever had it is refused from then on. Makes it where there is none.
    ///
    /// A try whose answer was lost may be done later than the one that was answered; then the handle is fenced by its own caller, who
    /// takes it again.
    ///
    /// Errors: [`CursorsFull`](super::Reason::CursorsFull). Cancel: it may be taken all the same.
    pub async fn take(&self) -> Result<HeldCursor, Error> {
        let request = proto::TakeCursorRequest {
            name: self.checked_name()?,
            ..Default::default()
        };
        let taken = call(
            &self.router,
            Need::Leader,
            Twice::Same,
            request,
            |mut node, request| async move { node.take(request).await },
        );
        let taken = taken.await?;
        Ok(HeldCursor {
            state: CursorState::of(taken.cursor, taken.header.as_ref())?,
            cursor: self.clone(),
        })
    }

    /// Says that everything below an offset is done with, by whoever likes: of a cursor that nobody ever took, where the last commit
    /// counts. Makes it where there is none.
    ///
    /// Errors: [`Fenced`](super::Reason::Fenced), when somebody took it; otherwise as [`HeldCursor::commit`]. Cancel: it may be
    /// committed all the same.
    pub async fn commit(&self, offset: impl Into<Offset>) -> Result<CursorState, Error> {
        self.commit_as(0, offset.into()).await
    }

    /// Deletes it, whoever holds it; the answer is what it was.
    ///
    /// Errors: [`UnknownCursor`](super::Reason::UnknownCursor), when there is none of that name. Where
    /// [`has_no_side_effects`](Error::has_no_side_effects) is false then, it was perhaps this call that deleted it, in a try whose answer
    /// was lost. Cancel: it may be deleted all the same.
    pub async fn delete(&self) -> Result<CursorState, Error> {
        let request = proto::DeleteCursorRequest {
            name: self.checked_name()?,
            ..Default::default()
        };
        let deleted = call(
            &self.router,
            Need::Leader,
            Twice::Same,
            request,
            |mut node, request| async move { node.delete(request).await },
        );
        let deleted = deleted.await?;
        CursorState::of(deleted.cursor, deleted.header.as_ref())
    }

    async fn commit_as(&self, epoch: u64, offset: Offset) -> Result<CursorState, Error> {
        let request = proto::CommitCursorRequest {
            log: String::new(),
            name: self.checked_name()?,
            epoch,
            offset: offset.get(),
        };
        let committed = call(
            &self.router,
            Need::Leader,
            Twice::Same,
            request,
            |mut node, request| async move { node.commit(request).await },
        );
        let committed = committed.await?;
        CursorState::of(committed.cursor, committed.header.as_ref())
    }
}

/// A cursor that was taken, until somebody else takes it. Made by [`Cursor::take`].
///
/// There is nothing to give back: who drops it leaves it to the next one who takes it.
///
/// ```no_run
/// # async fn example(client: annals::client::Client) -> Result<(), annals::client::Error> {
/// let mut cursor = client.cursor("billing").take().await?;
/// let mut consumer = client.consumer().cursor(&cursor).follow().build();
/// while let Some(record) = consumer.next().await {
///     let record = record?;
///     println!("{}: {:?}", record.offset, record.value());
///     // A commit costs what a record costs: now and then is enough. After a crash, what came since is read again.
///     let next = record.offset.plus(1);
///     if next.get() % 100 == 0 {
///         cursor.commit(next).await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HeldCursor {
    cursor: Cursor,
    state: CursorState,
}

impl HeldCursor {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.cursor.name
    }

    /// Of this take: higher than that of every take before.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.state.epoch
    }

    /// The next offset to read: what was committed last, by this holder or by those before; `None`: nothing ever was.
    #[must_use]
    pub fn offset(&self) -> Option<Offset> {
        self.state.offset
    }

    /// Where it stood when the take, or the last commit through this handle, was answered.
    #[must_use]
    pub fn state(&self) -> &CursorState {
        &self.state
    }

    /// Says that everything below `offset`, which is the next to read, is done with. It may be lower than before: then records are
    /// read again. One commit at a time, so that none that is late overtakes the next.
    ///
    /// Errors: [`Fenced`](super::Reason::Fenced), when somebody else has taken it: whoever this is must stop;
    /// [`UnknownCursor`](super::Reason::UnknownCursor), when it was deleted; [`OffsetOutOfRange`](super::Reason::OffsetOutOfRange), when
    /// no record before the offset is there yet. What [`is_retryable`](Error::is_retryable) is made good by the next commit.
    /// Cancel: it may be committed all the same, also a little later, which sets the cursor back where the next one has gone on
    /// before it.
    pub async fn commit(&mut self, offset: impl Into<Offset>) -> Result<(), Error> {
        self.state = self.cursor.commit_as(self.state.epoch, offset.into()).await?;
        Ok(())
    }
}

/// Where each cursor of the log stands, by name.
pub(super) async fn list(router: &Arc<Router>) -> Result<Vec<CursorState>, Error> {
    let listed = call(
        router,
        Need::Below(0),
        Twice::Nothing,
        proto::ListCursorsRequest::default(),
        |mut node, request| async move { node.list(request).await },
    );
    let listed = listed.await?;
    let states = listed
        .cursors
        .into_iter()
        .map(|cursor| CursorState::of(Some(cursor), listed.header.as_ref()));
    states.collect()
}

/// Makes the call, within the client's time. Any node takes it: changes go to the leader, or are handed on to it.
async fn call<Q, T, F>(
    router: &Arc<Router>,
    need: Need,
    twice: Twice,
    request: Q,
    call: impl Fn(CursorServiceClient<Channel>, Request<Q>) -> F,
) -> Result<T, Error>
where
    Q: Clone,
    T: Answer,
    F: Future<Output = Result<Response<T>, Status>>,
{
    let called = router.call(need, router.settings.within, twice, |connection, within| {
        let mut request = Request::new(request.clone());
        request.set_timeout(within);
        let answered = call(CursorServiceClient::new(connection.channel()), request);
        async move {
            Ok(answered
                .await
                .map_err(|status| connection.explain(status))?
                .into_inner())
        }
    });
    called.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_cursor_makes_no_holder_of_epoch_0_who_would_not_be_fenced() {
        let error = CursorState::of(None, None).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Protocol(ProtocolError::WithoutCursor)),
            "{error}"
        );
    }

    #[test]
    fn a_node_that_does_not_say_how_far_a_cursor_is_behind_has_it_counted_here() {
        let behind = |offset, behind| {
            let cursor = proto::Cursor {
                offset,
                behind,
                ..Default::default()
            };
            let header = proto::ResponseHeader {
                high_watermark: 9,
                ..Default::default()
            };
            CursorState::of(Some(cursor), Some(&header)).unwrap().behind()
        };
        assert_eq!(behind(Some(2), None), Some(7));
        // The node that answers may be behind the one that took the commit.
        assert_eq!(behind(Some(11), None), Some(0));
        assert_eq!(behind(None, None), None);
        // It knows what is trimmed.
        assert_eq!(behind(Some(2), Some(4)), Some(4));
        assert_eq!(behind(None, Some(4)), Some(4));
    }
}
