//! HTTP/1.1 as a client speaks it who looks at each byte: requests are written as they are given, responses read one by one.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{ALL_VERSIONS, pki_types::ServerName};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{certs::Pair, node::in_time, tls::client_config};

/// A connection.
#[derive(Debug)]
pub(crate) struct Talk<S> {
    stream: S,
    /// What has come and was not looked at.
    heard: Vec<u8>,
}

/// What stands before a body.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

/// A response that is whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Head {
    fn of(text: &str) -> Self {
        let (first, rest) = text.split_once("\r\n").unwrap_or((text, ""));
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let pairs = rest.lines().filter_map(|line| line.split_once(": "));
        Self {
            status: status.unwrap_or_else(|| panic!("no response: {text:?}")),
            headers: pairs
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let pair = self.headers.iter().find(|(known, _)| known == name)?;
        Some(&pair.1)
    }
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("it is text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// Why it was refused.
    pub(crate) fn reason(&self) -> String {
        self.json()["error"]["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }
}

impl Talk<TcpStream> {
    /// With a node.
    pub(crate) async fn with(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("the node listens"))
    }
}

impl Talk<TlsStream<TcpStream>> {
    /// With a node that has TLS, as who has that certificate, or none, and believes these authorities.
    ///
    /// Errors: the node does not let it in. It may say so only when it is asked something.
    pub(crate) async fn encrypted(
        address: SocketAddr,
        own: Option<&Pair>,
        authorities: &str,
        protocols: &[&str],
    ) -> io::Result<Self> {
        let mut config = client_config(own, authorities, ALL_VERSIONS);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        let host = ServerName::try_from("localhost").expect("it is a name");
        let connected = TlsConnector::from(Arc::new(config)).connect(host, stream);
        in_time("a handshake", connected).await.map(Self::over)
    }

    /// What was agreed on to be spoken.
    pub(crate) fn protocol(&self) -> Option<String> {
        let name = self.stream.get_ref().1.alpn_protocol()?;
        Some(String::from_utf8_lossy(name).into_owned())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            heard: Vec::new(),
        }
    }

    /// Says something.
    pub(crate) async fn say(&mut self, words: impl AsRef<[u8]>) {
        // Who was let go hears it below.
        drop(self.stream.write_all(words.as_ref()).await);
    }

    /// Says a request with a body.
    pub(crate) async fn ask(&mut self, verb: &str, path: &str, headers: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let head = format!(
            "{verb} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        self.say([head.as_bytes(), body].concat()).await;
    }

    /// Whether more came.
    async fn hear(&mut self) -> io::Result<bool> {
        let heard = in_time("a word of the node", self.stream.read_buf(&mut self.heard)).await?;
        Ok(heard > 0)
    }

    /// What comes up to that, which is taken away; `None` when the connection ends before.
    async fn up_to(&mut self, end: &str) -> io::Result<Option<Vec<u8>>> {
        loop {
            let at = self
                .heard
                .windows(end.len())
                .position(|bytes| bytes == end.as_bytes());
            if let Some(at) = at {
                let rest = self.heard.split_off(at + end.len());
                let mut said = std::mem::replace(&mut self.heard, rest);
                said.truncate(at);
                return Ok(Some(said));
            }
            if !self.hear().await? {
                return Ok(None);
            }
        }
    }

    async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.heard.len() < count {
            assert!(
                self.hear().await.expect("the body is whole"),
                "the body ends early"
            );
        }
        let rest = self.heard.split_off(count);
        std::mem::replace(&mut self.heard, rest)
    }

    /// The next response's head.
    ///
    /// Errors: there is none.
    pub(crate) async fn try_head(&mut self) -> io::Result<Head> {
        let said = self.up_to("\r\n\r\n").await?;
        let said = said.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Head::of(&String::from_utf8_lossy(&said)))
    }

    pub(crate) async fn head(&mut self) -> Head {
        self.try_head().await.expect("there is a response")
    }

    /// The next piece of a body of no length; `None` at its end.
    pub(crate) async fn piece(&mut self) -> Option<Vec<u8>> {
        let length = self.up_to("\r\n").await.ok()??;
        let length = usize::from_str_radix(&String::from_utf8_lossy(&length), 16).expect("a length");
        let piece = self.exactly(length).await;
        self.exactly(2).await;
        (length > 0).then_some(piece)
    }

    /// The next response, whole.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        self.body_of(head).await
    }

    /// What comes behind a head.
    pub(crate) async fn body_of(&mut self, head: Head) -> Answer {
        let mut body = Vec::new();
        if head.header("transfer-encoding") == Some("chunked") {
            while let Some(piece) = self.piece().await {
                body.extend(piece);
            }
        } else if let Some(length) = head.header("content-length") {
            body = self.exactly(length.parse().expect("a length")).await;
        }
        Answer { head, body }
    }

    /// Whether the node has closed it, with nothing more said.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.heard.is_empty() && !matches!(self.hear().await, Ok(true))
    }
}

/// A request on a connection of its own.
pub(crate) async fn ask(
    address: SocketAddr,
    verb: &str,
    path: &str,
    headers: &str,
    body: impl AsRef<[u8]>,
) -> Answer {
    let mut talk = Talk::with(address).await;
    talk.ask(verb, path, headers, body).await;
    talk.answer().await
}

/// The same of a GET.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "", "").await
}

/// A POST of JSON.
pub(crate) async fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    let headers = "content-type: application/json\r\n";
    ask(address, "POST", path, headers, body.to_string()).await
}

/// Events of a server, one after the other.
#[derive(Debug)]
pub(crate) struct Events<S> {
    talk: Talk<S>,
    said: String,
    /// The last id that was seen.
    pub(crate) last_id: String,
}

/// An event, or a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) comment: String,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Events<S> {
    /// Those of a path, behind the headers.
    ///
    /// Panics when there are none.
    pub(crate) async fn of(mut talk: Talk<S>, path: &str, headers: &str) -> Self {
        talk.ask("GET", path, headers, "").await;
        let head = talk.head().await;
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        Self {
            talk,
            said: String::new(),
            last_id: String::new(),
        }
    }

    /// The id that is said before any event.
    pub(crate) async fn first_id(&mut self) -> String {
        let piece = self.talk.piece().await.expect("it begins");
        self.said
            .push_str(std::str::from_utf8(&piece).expect("events are text"));
        let id = self.said.lines().find_map(|line| line.strip_prefix("id: "));
        id.expect("it says where it begins").to_owned()
    }

    /// The next event or comment; `None` at the end. What only says an id is passed over.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.said.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.said = rest;
                let mut event = Event::default();
                for line in block.lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => id.clone_into(&mut self.last_id),
                        Some(("event", name)) => name.clone_into(&mut event.name),
                        Some(("data", data)) => data.clone_into(&mut event.data),
                        Some(("", comment)) => comment.clone_into(&mut event.comment),
                        Some(("retry", _)) => {}
                        _ => panic!("no line of an event: {line:?}"),
                    }
                }
                if event != Event::default() {
                    return Some(event);
                }
            }
            let piece = self.talk.piece().await?;
            self.said
                .push_str(std::str::from_utf8(&piece).expect("events are text"));
        }
    }

    /// The next event, past comments.
    pub(crate) async fn next_event(&mut self) -> Option<Event> {
        loop {
            let event = self.next().await?;
            if event.comment.is_empty() {
                return Some(event);
            }
        }
    }
}
