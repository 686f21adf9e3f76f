//! Connections of HTTP/1.1, each with a task: one request after the other, each head and each silence within its time.
//!
//! hyper reads and writes; what it is told here are the bounds. A request whose length can be read in two ways it refuses, or, where it is
//! in chunks and has a length too, reads by its chunks, and then it is the last of its connection (RFC 9112, 6.1). `tests/http/abuse.rs` has both.

use std::{convert::Infallible, error::Error, future::poll_fn, io, sync::Arc};

use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, transport::server::Connected};

use super::{Http, pace::Paced, rest};
use crate::net::{Options, connection::Connection, guests};

/// The head of a request: as for HTTP/2. A proxy adds some headers, a person some more.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// What is read ahead of a body that nobody has asked for yet, and what is gathered to be sent.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Serves connections until the context drains, and answers what they have asked.
pub async fn serve(http: Arc<Http>, incoming: mpsc::Receiver<io::Result<Connection>>) {
    let draining = http.context().draining.clone();
    guests::each(incoming, &draining, |connection| {
        converse(Arc::clone(&http), connection)
    })
    .await;
}

async fn converse(http: Arc<Http>, connection: Connection) {
    let (draining, options) = (http.context().draining.clone(), http.context().options.clone());
    let ends = connection.connect_info();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let http = Arc::clone(&http);
        request.extensions_mut().insert(ends.clone());
        Box::pin(async move { Ok::<_, Infallible>(http.answer(request.map(Body::new)).await) })
    });
    answer(service, connection, &options, draining).await;
}

/// Answers with `service` until the client has no more questions, or, once `draining` is cancelled, the one that it has asked.
///
/// Cancel: as if the connection was killed.
pub async fn answer<S, B>(service: S, connection: Connection, options: &Options, draining: CancellationToken)
where
    S: HttpService<Incoming, ResBody = B> + Unpin,
    S::Future: Unpin,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let killed = connection.killed();
    // Whatever it was, there is nobody to tell: a client that is there has been answered.
    drop(
        killed
            .run_until_cancelled(talk(service, connection, options, draining))
            .await,
    );
}

async fn talk<S, B>(
    service: S,
    connection: Connection,
    options: &Options,
    draining: CancellationToken,
) -> io::Result<()>
where
    S: HttpService<Incoming, ResBody = B> + Unpin,
    S::Future: Unpin,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let io = TokioIo::new(Paced::new(connection, options.request_timeout));
    let mut conversation = bounds(options).serve_connection(io, service);
    let mut asked_to_go = false;
    loop {
        let over = poll_fn(|cx| conversation.poll_without_shutdown(cx));
        tokio::select! {
            // Why it ended, the client has been told where it can be.
            _over = over => break,
            () = draining.cancelled(), if !asked_to_go => {
                asked_to_go = true;
                std::pin::Pin::new(&mut conversation).graceful_shutdown();
            }
        }
    }
    say_farewell(conversation.into_parts().io.into_inner()).await
}

fn bounds(options: &Options) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // From when the answer before it was sent: a silent connection ends with it too.
        .header_read_timeout(options.keepalive_interval)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
}

/// Closes this side, and waits a moment for the other: what arrives at a closed connection would take back the answer.
async fn say_farewell(mut stream: Paced<Connection>) -> io::Result<()> {
    let farewell = async {
        stream.shutdown().await?;
        let mut rest = stream.take(rest::BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        Ok(())
    };
    timeout(rest::BEHIND, farewell).await.unwrap_or(Ok(()))
}
