//! `annals.v1.CursorService`: consumers' places in the log. The comments of its proto are its law.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use tonic::{Extensions, Request, Response, Status};

use crate::{
    actors::committer::ProposeError,
    net::{
        authorization::Named,
        consume::start::{Freshness, level_or},
        context::Context,
        deadline,
        status::{CursorNotChanged, Refusal},
    },
    proto::raw::annals::v1,
    storage::cursors::{Cursor, CursorCommand, CursorName, Cursors},
    types::{LogIndex, Offset},
};

/// The service.
#[derive(Clone, Debug)]
pub struct CursorsV1 {
    context: Arc<Context>,
}

impl CursorsV1 {
    /// On `context`.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    fn deadline<T>(&self, request: &Request<T>) -> Instant {
        deadline::of_request(request, self.context.options.request_timeout)
    }

    /// The cursor of a request that changes whose it is, or how far it has come.
    ///
    /// Errors: as [`CursorsV1::named`]; `Denied` (SEC-1).
    fn admitted(&self, extensions: &Extensions, log: &str, name: &str) -> Result<CursorName, Refusal> {
        let name = self.named(log, name)?;
        let asked = self.context.parts.authorization.is_some();
        Named::admit_to_cursor(extensions, asked, name.as_str())?;
        Ok(name)
    }

    /// The cursor of a request.
    ///
    /// Errors: `UnknownLog`, `Invalid`.
    fn named(&self, log: &str, name: &str) -> Result<CursorName, Refusal> {
        self.context.check_log(log)?;
        let parsed = name.parse::<CursorName>();
        parsed.map_err(|error| Refusal::invalid(error.to_string()))
    }

    /// Has something done, and waits for its commit until `deadline`.
    ///
    /// Errors: what the log says of it; `Undecided`. Cancel: it may be done all the same.
    async fn change(&self, command: CursorCommand, deadline: Instant) -> Result<v1::Cursor, Refusal> {
        let answer = self.context.parts.committer.change_cursor(command.clone())?;
        let timed_out = |_| CursorNotChanged::Undecided { timed_out: true };
        match timeout_at(deadline, answer).await.map_err(timed_out)? {
            Ok(Ok(cursor)) => Ok(self.shown(command.name(), cursor)),
            Ok(Err(refusal)) => Err(CursorNotChanged::by_log(&command, refusal).into()),
            Err(ProposeError::OutcomeUnknown) => Err(CursorNotChanged::Undecided { timed_out: false }.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// What `look` sees in the cursors, once they are as fresh as the request asks.
    ///
    /// Errors: `ReadDeadline`, and what the committer says. Cancel: safe.
    async fn look<T>(
        &self,
        read_level: i32,
        deadline: Instant,
        look: impl FnOnce(&Cursors) -> T,
    ) -> Result<T, Refusal> {
        let freshness = Freshness {
            level: level_or(read_level, v1::ReadLevel::Linearizable)?,
            min_offset: Offset::ZERO,
        };
        freshness.reach(&self.context, deadline).await?;
        let seen = self.context.parts.read_path.cursors().look(look);
        seen.ok_or(Refusal::Propose(ProposeError::Unavailable))
    }

    /// The cursor, and how many records this node would yet read to it.
    fn shown(&self, name: &CursorName, cursor: Cursor) -> v1::Cursor {
        let read_path = &self.context.parts.read_path;
        let earliest = read_path.view().earliest();
        let next = cursor.offset.map_or(earliest, |offset| offset.max(earliest));
        v1::Cursor {
            name: name.to_string(),
            epoch: cursor.epoch.get(),
            offset: cursor.offset.map(Offset::get),
            changed_ms: cursor.changed.0,
            behind: Some(read_path.high_watermark().distance_from(next)),
        }
    }
}

#[tonic::async_trait]
impl v1::cursor_service_server::CursorService for CursorsV1 {
    async fn take(
        &self,
        request: Request<v1::TakeCursorRequest>,
    ) -> Result<Response<v1::TakeCursorResponse>, Status> {
        let deadline = self.deadline(&request);
        let (_, extensions, v1::TakeCursorRequest { log, name }) = request.into_parts();
        let name = self.admitted(&extensions, &log, &name)?;
        let cursor = self.change(CursorCommand::Take { name }, deadline).await?;
        Ok(Response::new(v1::TakeCursorResponse {
            header: Some(self.context.header()),
            cursor: Some(cursor),
        }))
    }

    async fn commit(
        &self,
        request: Request<v1::CommitCursorRequest>,
    ) -> Result<Response<v1::CommitCursorResponse>, Status> {
        let deadline = self.deadline(&request);
        let (_, extensions, request) = request.into_parts();
        let command = CursorCommand::Commit {
            name: self.admitted(&extensions, &request.log, &request.name)?,
            epoch: LogIndex(request.epoch),
            offset: Offset(request.offset),
        };
        let cursor = self.change(command, deadline).await?;
        Ok(Response::new(v1::CommitCursorResponse {
            header: Some(self.context.header()),
            cursor: Some(cursor),
        }))
    }

    async fn get(
        &self,
        request: Request<v1::GetCursorRequest>,
    ) -> Result<Response<v1::GetCursorResponse>, Status> {
        let deadline = self.deadline(&request);
        let request = request.into_inner();
        let name = self.named(&request.log, &request.name)?;
        let found = self.look(request.read_level, deadline, |cursors| cursors.get(&name));
        let Some(cursor) = found.await? else {
            let was_held = false;
            return Err(Refusal::from(CursorNotChanged::Unknown { name, was_held }).into());
        };
        Ok(Response::new(v1::GetCursorResponse {
            header: Some(self.context.header()),
            cursor: Some(self.shown(&name, cursor)),
        }))
    }

    async fn list(
        &self,
        request: Request<v1::ListCursorsRequest>,
    ) -> Result<Response<v1::ListCursorsResponse>, Status> {
        let deadline = self.deadline(&request);
        let v1::ListCursorsRequest { log, read_level } = request.into_inner();
        self.context.check_log(&log)?;
        let all = |cursors: &Cursors| {
            let cursors = cursors.iter().map(|(name, cursor)| self.shown(name, *cursor));
            cursors.collect()
        };
        let cursors = self.look(read_level, deadline, all).await?;
        Ok(Response::new(v1::ListCursorsResponse {
            header: Some(self.context.header()),
            cursors,
        }))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteCursorRequest>,
    ) -> Result<Response<v1::DeleteCursorResponse>, Status> {
        let deadline = self.deadline(&request);
        let v1::DeleteCursorRequest { log, name } = request.into_inner();
        let name = self.named(&log, &name)?;
        let cursor = self.change(CursorCommand::Delete { name }, deadline).await?;
        Ok(Response::new(v1::DeleteCursorResponse {
            header: Some(self.context.header()),
            cursor: Some(cursor),
        }))
    }
}
