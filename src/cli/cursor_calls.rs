//! Calls about cursors: any node takes them, and each may be made again when nobody knows what became of it.

use std::{future::Future, time::Duration};

use tokio::time;
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    clock,
    proto::annals::v1::{
        CommitCursorRequest, Cursor, DeleteCursorRequest, GetCursorRequest, ListCursorsRequest,
        ListCursorsResponse, ResponseHeader, TakeCursorRequest, cursor_service_client::CursorServiceClient,
    },
};

use super::{
    addresses::Addresses,
    connect::Connection,
    error::CliError,
    reconnect::{Backoff, reconnect},
};

/// A cursor, and who says so.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) cursor: Cursor,
    pub(super) header: ResponseHeader,
}

impl Seen {
    fn of(cursor: Option<Cursor>, header: Option<ResponseHeader>) -> Self {
        Self {
            cursor: cursor.unwrap_or_default(),
            header: header.unwrap_or_default(),
        }
    }
}

/// The way to whichever node answers.
#[derive(Debug)]
pub(super) struct CursorCalls {
    addrs: Addresses,
    timeout: Duration,
    connection: Option<Connection>,
}

impl CursorCalls {
    /// Nobody is asked yet. Each call gives up after `timeout`.
    pub(super) fn new(addrs: Addresses, timeout: Duration) -> Self {
        Self {
            addrs,
            timeout,
            connection: None,
        }
    }

    /// The next call connects anew.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Makes the cursor this program's; the answer has its epoch.
    pub(super) async fn take(&mut self, name: &str) -> Result<Seen, CliError> {
        let request = TakeCursorRequest {
            name: name.to_owned(),
            ..TakeCursorRequest::default()
        };
        let taken = self.call(request, |mut client, request| async move {
            client.take(request).await
        });
        let taken = taken.await?;
        Ok(Seen::of(taken.cursor, taken.header))
    }

    /// Commits an offset; epoch 0: nothing was taken.
    pub(super) async fn commit(&mut self, name: &str, epoch: u64, offset: u64) -> Result<Seen, CliError> {
        let request = CommitCursorRequest {
            log: String::new(),
            name: name.to_owned(),
            epoch,
            offset,
        };
        let committed = self.call(request, |mut client, request| async move {
            client.commit(request).await
        });
        let committed = committed.await?;
        Ok(Seen::of(committed.cursor, committed.header))
    }

    /// Where a cursor stands.
    pub(super) async fn get(&mut self, name: &str) -> Result<Seen, CliError> {
        let request = GetCursorRequest {
            name: name.to_owned(),
            ..GetCursorRequest::default()
        };
        let got = self.call(
            request,
            |mut client, request| async move { client.get(request).await },
        );
        let got = got.await?;
        Ok(Seen::of(got.cursor, got.header))
    }

    /// Where each stands.
    pub(super) async fn list(&mut self) -> Result<ListCursorsResponse, CliError> {
        let request = ListCursorsRequest::default();
        self.call(request, |mut client, request| async move {
            client.list(request).await
        })
        .await
    }

    /// Deletes one; the answer has it as it was.
    pub(super) async fn delete(&mut self, name: &str) -> Result<Seen, CliError> {
        let request = DeleteCursorRequest {
            name: name.to_owned(),
            ..DeleteCursorRequest::default()
        };
        let deleted = self.call(request, |mut client, request| async move {
            client.delete(request).await
        });
        let deleted = deleted.await?;
        Ok(Seen::of(deleted.cursor, deleted.header))
    }

    /// Tries until somebody answers, or the time is up.
    ///
    /// Errors: a refusal that does not pass; `NoAnswer`. Cancel: it may be done or not.
    async fn call<Q: Clone, T, F>(
        &mut self,
        request: Q,
        call: impl Fn(CursorServiceClient<Channel>, Request<Q>) -> F,
    ) -> Result<T, CliError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = clock::now() + self.timeout;
        let mut backoff = Backoff::new(Some(self.timeout));
        loop {
            let asked = match self.connection.take() {
                Some(connection) => Ok(connection),
                None => Connection::open(self.addrs.current()).await,
            };
            let error = match asked {
                Ok(connection) => {
                    let within = deadline.saturating_duration_since(clock::now());
                    let mut request = Request::new(request.clone());
                    request.set_timeout(within);
                    let client = CursorServiceClient::new(connection.channel());
                    match time::timeout(within, call(client, request)).await {
                        Ok(Ok(response)) => {
                            self.connection = Some(connection);
                            return Ok(response.into_inner());
                        }
                        Ok(Err(status)) => connection.explain(status.into()),
                        Err(_) => {
                            return Err(
                                backoff.no_answer(self.addrs.current(), "it does not answer".to_owned())
                            );
                        }
                    }
                }
                Err(error) => error,
            };
            self.connection = Some(reconnect(&mut self.addrs, &mut backoff, error).await?);
        }
    }
}
