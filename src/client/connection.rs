//! A connection to one node, fit for bulk.

use std::{
    error::Error as StdError,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::uri::{PathAndQuery, Uri};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use prost::Message;
use tokio::{net::TcpStream, sync::watch, time};
use tonic::{
    Request, Response, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tower::{Service, ServiceExt, service_fn};

use crate::{
    proto::{annals::v1, raw},
    tls::{ClientTls, Fate, Stream, TlsFailure},
};

use super::{
    address::Address,
    credentials::Credentials,
    error::{Error, ErrorKind},
    first_words::{FirstWords, Listening},
    refusal::root_cause,
};

/// A peer that vanished without a word is noticed after twice this.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// HTTP/2's own 64 KiB would stop a reader every 64 KiB until the window's update has made its way back. What a stream that nobody
/// reads from holds is bounded by this.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// Streams of one node share a connection: with a window that a few of them can fill, a reader that stops would stop every
/// answer to others. So there is none but the streams' own (the largest that HTTP/2 has).
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Of the data frames this side takes; fewer frames cost less.
const FRAME_BYTES_MAX: u32 = 256 << 10;

/// The largest response taken. A node sends chunks of about 256 KiB, but never less than one batch.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// What is said of a connect that took too long.
pub(super) const NOT_IN_TIME: &str = "no connection in time";

/// What is said of a node that hangs from the start: its system takes connections for it.
pub(crate) const SAYS_NOTHING: &str = "it took the connection, and says nothing";

/// A connection to one node. Records pass through it as the bytes they are on the wire: the messages are those of
/// the server's view. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    channel: Channel,
    address: Address,
    /// What ends it, where TLS does.
    fate: SharedFate,
    /// What its other side said first.
    words: FirstWords,
    /// Somebody has lost it.
    broken: Arc<AtomicBool>,
    /// Its node answers nobody.
    silent: Arc<watch::Sender<bool>>,
}

/// Of the connection that is open at present.
type SharedFate = Arc<ArcSwap<Fate>>;

impl Connection {
    /// Connects, once, with what the files of TLS hold at this time.
    ///
    /// Blocking: on those files. Errors: `CannotConnect`; `TlsFiles`; `Tls`, though the node may say only later that it does not take
    /// the certificate (`explain`). Cancel: safe.
    pub(crate) async fn open(
        address: &Address,
        tls: Option<&Credentials>,
        within: Duration,
    ) -> Result<Self, Error> {
        let opened = time::timeout(within, Self::open_unbounded(address, tls, within)).await;
        opened.unwrap_or_else(|_| Err(cannot_connect(address, NOT_IN_TIME)))
    }

    async fn open_unbounded(
        address: &Address,
        tls: Option<&Credentials>,
        within: Duration,
    ) -> Result<Self, Error> {
        let failed = |error: &tonic::transport::Error| match tls_failure(error) {
            Some(failure) => Error::new(ErrorKind::Tls {
                address: address.to_string(),
                failure,
            }),
            None => cannot_connect(address, connect_reason(error)),
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| failed(&error))?;
        let endpoint = endpoint
            .connect_timeout(within)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(KEEPALIVE))
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX);
        let (fate, words) = (SharedFate::default(), FirstWords::default());
        let channel = match tls {
            None => {
                endpoint
                    .connect_with_connector(plain_connector(within, &words))
                    .await
            }
            Some(tls) => {
                let origin = format!("https://{address}")
                    .parse()
                    .map_err(|_| cannot_connect(address, "it makes no URL"))?;
                let connector = secure_connector(address, &tls.renewed()?, &fate, &words);
                endpoint.origin(origin).connect_with_connector(connector).await
            }
        };
        Ok(Self {
            channel: channel.map_err(|error| failed(&error))?,
            address: address.clone(),
            fate,
            words,
            broken: Arc::default(),
            silent: Arc::default(),
        })
    }

    /// Nobody should use it any more.
    pub(super) fn give_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Its node did not answer what any node answers at once: nobody should wait for it any more.
    pub(super) fn fall_silent(&self) {
        self.give_up();
        self.silent.send_replace(true);
    }

    /// Ends when its node has fallen silent: a machine that is gone, or stands still, says nothing to those who wait.
    ///
    /// Cancel: safe.
    pub(crate) async fn silence(&self) -> Error {
        let mut silent = self.silent.subscribe();
        // The other end is in `self`.
        drop(silent.wait_for(|silent| *silent).await);
        Error::lost(self.silent_reason())
    }

    /// What is the matter with a node that does not answer over it.
    pub(crate) fn silent_reason(&self) -> &'static str {
        if self.words.are_none() {
            SAYS_NOTHING
        } else {
            "it does not answer"
        }
    }

    /// Whether somebody has lost it.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// An error of a call, by what it was in truth: that the node does not take the certificate, or that there is no node, shows only as a
    /// connection that is lost.
    pub(crate) fn explain(&self, error: impl Into<Error>) -> Error {
        let error = error.into();
        match (error.kind(), self.fate.load().get()) {
            (ErrorKind::Lost { .. }, Some(failure)) => {
                // Who is not let in has asked nothing yet; what breaks later may have been done.
                let in_doubt = !failure.is_refusal() && !error.has_no_side_effects();
                Error::new(ErrorKind::Tls {
                    address: self.address.to_string(),
                    failure: failure.clone(),
                })
                .in_doubt(in_doubt)
            }
            (ErrorKind::Lost { .. }, None) => match self.words.strange() {
                Some(said) => Error::new(ErrorKind::Stranger {
                    address: self.address.to_string(),
                    said,
                }),
                None => error,
            },
            _ => error,
        }
    }

    /// The channel itself, for the clients that the schema's compiler made.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Error> {
        let mut grpc = Grpc::new(self.channel()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        grpc.ready()
            .await
            .map_err(|error| self.explain(Error::lost(connect_reason(&error)).without_effects()))?;
        Ok(grpc)
    }

    fn answered<T>(&self, response: Result<Response<T>, Status>) -> Result<T, Error> {
        Ok(response.map_err(|status| self.explain(status))?.into_inner())
    }

    async fn unary<Q, A>(&self, request: Q, path: &'static str) -> Result<A, Error>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.ready().await?;
        let path = PathAndQuery::from_static(path);
        self.answered(
            grpc.unary(Request::new(request), path, ProstCodec::default())
                .await,
        )
    }

    /// `LogService.ProduceStream`.
    pub(crate) async fn produce_stream(
        &self,
        requests: impl tokio_stream::Stream<Item = raw::annals::v1::ProduceRequest> + Send + 'static,
    ) -> Result<Streaming<v1::ProduceResponse>, Error> {
        let path = PathAndQuery::from_static("/annals.v1.LogService/ProduceStream");
        let mut grpc = self.ready().await?;
        let responses = grpc.streaming(Request::new(requests), path, ProstCodec::default());
        self.answered(responses.await)
    }

    /// `LogService.Produce`.
    pub(crate) async fn produce(
        &self,
        request: raw::annals::v1::ProduceRequest,
    ) -> Result<v1::ProduceResponse, Error> {
        self.unary(request, "/annals.v1.LogService/Produce").await
    }

    /// `LogService.ConsumeStream`.
    pub(crate) async fn consume_stream(
        &self,
        request: v1::ConsumeRequest,
    ) -> Result<Streaming<raw::annals::v1::ConsumeResponse>, Error> {
        let path = PathAndQuery::from_static("/annals.v1.LogService/ConsumeStream");
        let mut grpc = self.ready().await?;
        let responses = grpc.server_streaming(Request::new(request), path, ProstCodec::default());
        self.answered(responses.await)
    }

    /// `LogService.Consume`.
    pub(crate) async fn consume(
        &self,
        request: v1::ConsumeRequest,
    ) -> Result<raw::annals::v1::ConsumeResponse, Error> {
        self.unary(request, "/annals.v1.LogService/Consume").await
    }

    /// `LogService.DescribeLog` of the default log.
    pub(crate) async fn describe_log(&self) -> Result<v1::DescribeLogResponse, Error> {
        let request = v1::DescribeLogRequest::default();
        self.unary(request, "/annals.v1.LogService/DescribeLog").await
    }

    /// `ClusterService.GetCluster`; `local`: only what the node knows by itself.
    pub(crate) async fn get_cluster(&self, local: bool) -> Result<v1::GetClusterResponse, Error> {
        let request = v1::GetClusterRequest {
            local,
            ..Default::default()
        };
        self.unary(request, "/annals.v1.ClusterService/GetCluster").await
    }

    /// `ClusterService.WatchCluster`.
    pub(crate) async fn watch_cluster(&self) -> Result<Streaming<v1::GetClusterResponse>, Error> {
        let path = PathAndQuery::from_static("/annals.v1.ClusterService/WatchCluster");
        let mut grpc = self.ready().await?;
        let request = Request::new(v1::WatchClusterRequest::default());
        self.answered(grpc.server_streaming(request, path, ProstCodec::default()).await)
    }
}

pub(super) fn cannot_connect(address: &Address, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::CannotConnect {
        address: address.to_string(),
        reason: reason.into(),
    })
}

/// Connects without TLS; what is said first is heard by `words`.
fn plain_connector(
    within: Duration,
    words: &FirstWords,
) -> impl Service<
    Uri,
    Response = TokioIo<Listening<TcpStream>>,
    Error = <HttpConnector as Service<Uri>>::Error,
    Future: Send,
> + use<> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_connect_timeout(Some(within));
    let words = words.clone();
    connector.map_response(move |stream| TokioIo::new(words.listen(stream.into_inner())))
}

/// Connects and shakes hands; what becomes of the connection is told in `fate`, and what is said first is heard by `words`.
fn secure_connector(
    address: &Address,
    tls: &ClientTls,
    fate: &SharedFate,
    words: &FirstWords,
) -> impl Service<Uri, Response = TokioIo<Listening<Stream>>, Error = io::Error, Future = Connecting> + use<>
{
    let (address, tls, fate, words) = (address.clone(), tls.clone(), Arc::clone(fate), words.clone());
    service_fn(move |_: Uri| -> Connecting {
        let (address, tls, fate, words) = (address.clone(), tls.clone(), Arc::clone(&fate), words.clone());
        Box::pin(async move {
            let host = address.host();
            let stream = TcpStream::connect((host.trim_matches(['[', ']']), address.port())).await?;
            stream.set_nodelay(true)?;
            let stream = tls.connect(stream, host).await.map_err(io::Error::other)?;
            fate.store(Arc::new(stream.fate()));
            Ok(TokioIo::new(words.listen(stream)))
        })
    })
}

/// A connection on its way.
type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<Listening<Stream>>>> + Send>>;

/// What TLS has to say in an error, or in one of its causes.
fn tls_failure(error: &(dyn StdError + 'static)) -> Option<TlsFailure> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(failure) = error.downcast_ref::<TlsFailure>() {
            return Some(failure.clone());
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(failure) = inner.and_then(|inner| tls_failure(inner)) {
            return Some(failure);
        }
        cause = error.source();
    }
    None
}

/// What the system says about a failed connect, in its shortest form.
fn connect_reason(error: &tonic::transport::Error) -> String {
    let mut innermost: &(dyn StdError + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<io::Error>() {
        Some(io) if io.raw_os_error().is_some() => io.kind().to_string(),
        _ => root_cause(error),
    }
}
