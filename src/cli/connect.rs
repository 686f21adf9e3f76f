//! The way to a node: its address, and a connection fit for bulk.

use std::{fmt, future::Future, io, pin::Pin, str::FromStr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::uri::{PathAndQuery, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::{
    Request, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use crate::{
    proto::{annals::v1, raw},
    tls::{ClientTls, Fate, Stream},
};

use super::{
    addresses::Addresses,
    argument::shell_quoted,
    credentials::Credentials,
    error::CliError,
    refusal::root_cause,
    security::{Security, tls_failure},
};

/// The port of `--addr` when it names none: the default of `rpc.port`.
const PORT: u16 = 8400;

/// A node on this network answers a connect within milliseconds; five seconds outlast a lost SYN and its repeats.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer that vanished without a word is noticed after twice this.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// HTTP/2's own 64 KiB would stop a reader every 64 KiB until the window's update has made its way back.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Of the data frames this side takes; fewer frames cost less.
const FRAME_BYTES_MAX: u32 = 256 << 10;

/// The largest response taken. A node sends chunks of about 256 KiB, but never less than one batch.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Which node to talk to.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Target {
    /// The node's address, as host:port; several nodes of a cluster, with commas between them, are tried in turn
    #[arg(
        long,
        env = "ANNALS_ADDR",
        hide_env_values = true,
        default_value = "127.0.0.1:8400",
        value_name = "ADDR"
    )]
    addr: Addresses,
    #[command(flatten)]
    security: Security,
}

impl Target {
    /// Where to go, and how to speak there.
    ///
    /// Blocking: reads the files of TLS. Errors: `TlsFiles`.
    pub(super) fn addresses(&self) -> Result<Addresses, CliError> {
        Ok(self.addr.clone().secured(self.security.open()?))
    }

    /// The same again, as a shell takes it.
    pub(super) fn arguments(&self) -> String {
        let addr = self.addr.to_string();
        format!("--addr {}{}", shell_quoted(&addr), self.security.arguments())
    }
}

/// A host and a port, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    authority: http::uri::Authority,
    port: u16,
    /// `None`: without TLS.
    tls: Option<Credentials>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.authority.host(), self.port)
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "write host:port, as in 127.0.0.1:8400 or [::1]:8400";
        let text = text.strip_prefix("http://").unwrap_or(text);
        let authority: http::uri::Authority = text.parse().map_err(|_| WANTED)?;
        let has_port = authority.as_str().len() > authority.host().len();
        let port = if has_port {
            authority.port_u16().ok_or(WANTED)?
        } else {
            PORT
        };
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(WANTED);
        }
        Ok(Self {
            authority,
            port,
            tls: None,
        })
    }
}

impl Address {
    /// The same, spoken to in that way.
    pub(super) fn secured(self, tls: Option<Credentials>) -> Self {
        Self { tls, ..self }
    }
}

/// A connection to one node. Records pass through it as the bytes they are on the wire: the messages are those of
/// the server's view.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    channel: Channel,
    addr: String,
    /// What ends it, where TLS does.
    fate: SharedFate,
}

/// Of the connection that is open at present.
type SharedFate = Arc<ArcSwap<Fate>>;

impl Connection {
    /// Connects, once, with what the files of TLS hold at this time.
    ///
    /// Blocking: on those files. Errors: `CannotConnect`; `TlsFiles`; `Tls`, though the node may say only later that it does not take the certificate (`explain`).
    /// Cancel: safe.
    pub(super) async fn open(addr: &Address) -> Result<Self, CliError> {
        let failed = |error: &tonic::transport::Error| match tls_failure(error) {
            Some(failure) => CliError::Tls {
                addr: addr.to_string(),
                failure,
            },
            None => CliError::CannotConnect {
                addr: addr.to_string(),
                reason: connect_reason(error),
            },
        };
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|error| failed(&error))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(KEEPALIVE))
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX);
        let fate = SharedFate::default();
        let channel = match &addr.tls {
            None => endpoint.connect().await,
            Some(tls) => {
                let origin = format!("https://{addr}")
                    .parse()
                    .map_err(|_| CliError::CannotConnect {
                        addr: addr.to_string(),
                        reason: "it makes no URL".to_owned(),
                    })?;
                let connector = secure_connector(addr, &tls.renewed()?, &fate);
                endpoint.origin(origin).connect_with_connector(connector).await
            }
        };
        Ok(Self {
            channel: channel.map_err(|error| failed(&error))?,
            addr: addr.to_string(),
            fate,
        })
    }

    /// An error of a call, by what it was in truth: that the node does not take the certificate shows only as a connection that is
    /// lost.
    pub(super) fn explain(&self, error: CliError) -> CliError {
        match (&error, self.fate.load().get()) {
            (CliError::Lost { .. }, Some(failure)) => CliError::Tls {
                addr: self.addr.clone(),
                failure: failure.clone(),
            },
            _ => error,
        }
    }

    /// The channel itself, for the clients that the schema's compiler made.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    async fn ready(&self) -> Result<Grpc<Channel>, CliError> {
        let mut grpc = Grpc::new(self.channel()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        grpc.ready().await.map_err(|error| CliError::Lost {
            reason: connect_reason(&error),
        })?;
        Ok(grpc)
    }

    /// `LogService.ProduceStream`.
    pub(super) async fn produce_stream(
        &self,
        requests: impl tokio_stream::Stream<Item = raw::annals::v1::ProduceRequest> + Send + 'static,
    ) -> Result<Streaming<v1::ProduceResponse>, CliError> {
        let path = PathAndQuery::from_static("/annals.v1.LogService/ProduceStream");
        let mut grpc = self.ready().await?;
        Ok(grpc
            .streaming(Request::new(requests), path, ProstCodec::default())
            .await?
            .into_inner())
    }

    /// `LogService.Produce`.
    pub(super) async fn produce(
        &self,
        request: raw::annals::v1::ProduceRequest,
    ) -> Result<v1::ProduceResponse, CliError> {
        let path = PathAndQuery::from_static("/annals.v1.LogService/Produce");
        let mut grpc = self.ready().await?;
        Ok(grpc
            .unary(Request::new(request), path, ProstCodec::default())
            .await?
            .into_inner())
    }

    /// `LogService.ConsumeStream`.
    pub(super) async fn consume_stream(
        &self,
        request: v1::ConsumeRequest,
    ) -> Result<Streaming<raw::annals::v1::ConsumeResponse>, CliError> {
        let path = PathAndQuery::from_static("/annals.v1.LogService/ConsumeStream");
        let mut grpc = self.ready().await?;
        Ok(grpc
            .server_streaming(Request::new(request), path, ProstCodec::default())
            .await?
            .into_inner())
    }

    /// `LogService.Consume`.
    pub(super) async fn consume(
        &self,
        request: v1::ConsumeRequest,
    ) -> Result<raw::annals::v1::ConsumeResponse, CliError> {
        let path = PathAndQuery::from_static("/annals.v1.LogService/Consume");
        let mut grpc = self.ready().await?;
        Ok(grpc
            .unary(Request::new(request), path, ProstCodec::default())
            .await?
            .into_inner())
    }

    /// `LogService.DescribeLog` of the default log.
    pub(super) async fn describe_log(&self) -> Result<v1::DescribeLogResponse, CliError> {
        let mut client = v1::log_service_client::LogServiceClient::new(self.channel());
        Ok(client
            .describe_log(v1::DescribeLogRequest::default())
            .await?
            .into_inner())
    }
}

/// Connects and shakes hands; what becomes of the connection is told in `fate`.
fn secure_connector(
    addr: &Address,
    tls: &ClientTls,
    fate: &SharedFate,
) -> impl Service<Uri, Response = TokioIo<Stream>, Error = io::Error, Future = Connecting> + use<> {
    let (addr, tls, fate) = (addr.clone(), tls.clone(), Arc::clone(fate));
    service_fn(move |_: Uri| -> Connecting {
        let (addr, tls, fate) = (addr.clone(), tls.clone(), Arc::clone(&fate));
        Box::pin(async move {
            let host = addr.authority.host();
            let stream = TcpStream::connect((host.trim_matches(['[', ']']), addr.port)).await?;
            stream.set_nodelay(true)?;
            let stream = tls.connect(stream, host).await.map_err(io::Error::other)?;
            fate.store(Arc::new(stream.fate()));
            Ok(TokioIo::new(stream))
        })
    })
}

/// A connection on its way.
type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

/// What the system says about a failed connect, in its shortest form.
fn connect_reason(error: &tonic::transport::Error) -> String {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<io::Error>() {
        Some(io) if io.raw_os_error().is_some() => io.kind().to_string(),
        _ => root_cause(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_maybe_a_port() {
        let table = [
            ("127.0.0.1:8400", Some("127.0.0.1:8400")),
            ("127.0.0.1", Some("127.0.0.1:8400")),
            ("localhost:1", Some("localhost:1")),
            ("http://node-0.example:9000", Some("node-0.example:9000")),
            ("[::1]:8400", Some("[::1]:8400")),
            ("[::1]", Some("[::1]:8400")),
            ("", None),
            (":8400", None),
            ("host:", None),
            ("host:port", None),
            ("host:70000", None),
            ("me@host:8400", None),
            ("host:8400/path", None),
            ("https://host:8400", None),
        ];
        for (text, wanted) in table {
            let got = text.parse::<Address>().ok().map(|address| address.to_string());
            assert_eq!(got.as_deref(), wanted, "{text}");
        }
    }
}
