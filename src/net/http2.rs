//! Connections of HTTP/2, each with a task: what is asked on them goes to a service, and what each may take is bounded.
//!
//! hyper speaks it, and is told the bounds here. tonic's own server does the same, but has no say in how much waits to be sent (ADR 0028).

use std::{error::Error, io, pin::pin};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, transport::server::Connected};
use tower::{Service, ServiceExt};

use super::{Options, connection::Connection, guests};

/// HTTP/2 frames from clients. A frame is read whole; the default of 16 KiB makes a large batch of many frames.
const FRAME_BYTES_MAX: u32 = 64 << 10;
/// The headers of a request: a path, a deadline, a token at most.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Streams that a client opened and took back before they were looked at; one more ends its connection (CVE-2023-44487, "rapid
/// reset").
const RESETS_PENDING_MAX: usize = 20;
/// Streams that this side had to reset because of what the client did; one more ends its connection (CVE-2025-8671, "made you
/// reset").
const RESETS_BY_ERROR_MAX: usize = 256;
/// What of a stream waits for the socket, and a message more: enough that the socket never waits for the next one. A client that says it takes
/// everything and reads nothing holds as much on each stream.
const UNSENT_BYTES_MAX: usize = 64 << 10;

/// Serves connections until `draining` is cancelled, and answers what they have asked.
pub async fn serve<S>(
    service: S,
    options: &Options,
    incoming: mpsc::Receiver<io::Result<Connection>>,
    draining: CancellationToken,
) where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>> + Send,
{
    let bounds = bounds(options);
    guests::each(incoming, &draining, |connection| {
        talk(service.clone(), bounds.clone(), connection, draining.clone())
    })
    .await;
}

/// Serves one connection until its client goes, it is killed, or, once `draining` is cancelled, what it has asked is answered.
async fn talk<S>(
    service: S,
    bounds: http2::Builder<TokioExecutor>,
    connection: Connection,
    draining: CancellationToken,
) where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>> + Send,
{
    let (ends, killed) = (connection.connect_info(), connection.killed());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ends.clone());
        service.clone().oneshot(request.map(Body::new))
    });
    let mut talk = pin!(bounds.serve_connection(TokioIo::new(connection), service));
    let until_over = async {
        tokio::select! {
            over = &mut talk => return over,
            () = draining.cancelled() => talk.as_mut().graceful_shutdown(),
        }
        talk.await
    };
    // A connection that is stuck in what it has to send does not look whether it is killed. Why it ended, the client has been told where it
    // can be.
    drop(killed.run_until_cancelled(until_over).await);
}

fn bounds(options: &Options) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes)
        .max_concurrent_streams(options.streams_per_connection_max)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_pending_accept_reset_streams(Some(RESETS_PENDING_MAX))
        .max_local_error_reset_streams(Some(RESETS_BY_ERROR_MAX))
        .max_send_buf_size(UNSENT_BYTES_MAX)
        .keep_alive_interval(Some(options.keepalive_interval))
        .keep_alive_timeout(options.keepalive_timeout);
    builder
}
