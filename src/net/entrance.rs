//! Where a connection goes once it is accepted: the first byte tells peers from clients, and what a client says next, or has agreed on
//! with TLS, HTTP/1.1 from HTTP/2.
//!
//! Peers and clients share the port and nothing else. Nobody is waited for in the accept loop; who says nothing is let go
//! after a while. A client has its place among `connections_max` from the beginning. When all of them are taken, some more
//! may still show that they are peers.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use slog::{Logger, warn};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    runtime::Handle,
    sync::{Semaphore, mpsc},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, GREETING_WITHIN, Greeting},
    connections::{Connections, Full, Slot},
    farewell,
    handshakes::{Handshakes, PEER_WITHIN, TLS_FIRST_BYTE},
    protocol::{Protocol, Said, spoken_on},
    refusals::Refusals,
};
use crate::{
    consensus::links::{APPENDS_FIRST_BYTE, FIRST_BYTE},
    tls::{Guest, NodeTls, Proven, Stream, Usage},
};

/// Connections that may still show that they are peers when no client is taken any more.
const UNKNOWN_MAX: usize = 64;
/// How long each of them may take: a peer speaks at once.
const UNKNOWN_WITHIN: Duration = Duration::from_secs(2);
/// Connections of peers. A node has three, and for a moment six when it comes back.
const PEERS_MAX: usize = 64;

/// What a peer hears that speaks TLS to a node without: nothing that TLS could be taken for, so that it knows.
const NO_TLS: &[u8] = b"this node has no TLS\n";

/// Where connections wait for their server to take them.
pub type Accepted = mpsc::Sender<io::Result<Connection>>;

/// Nobody serves any more.
#[derive(Debug)]
pub struct Closed;

/// What is on the other side of the door.
#[derive(Clone, Debug)]
pub struct Entrance {
    clients: Clients,
    connections: Arc<Connections>,
    /// `None` when this node has no peers: then everybody is a client.
    peers: Option<Peers>,
    /// `None` where nothing is encrypted.
    handshakes: Option<Handshakes>,
    refused: Arc<Refusals>,
    /// Once it is cancelled, peers alone are let in.
    draining: CancellationToken,
    patience: Patience,
    log: Logger,
}

/// How long a connection may take to say its first byte.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// One that has a place among the clients.
    client: Duration,
    /// One that can only be a peer.
    unknown: Duration,
}

/// A server.
#[derive(Clone, Debug)]
pub struct Side {
    /// Takes its connections.
    pub accepted: Accepted,
    /// Closes those that are open.
    pub kill: CancellationToken,
    /// Drives them.
    pub runtime: Handle,
}

/// The servers of peers, whose connections are as many as there are lanes.
#[derive(Clone, Debug)]
pub struct PeerSides {
    /// What peers call.
    pub calls: Side,
    /// What they append.
    pub appends: Side,
}

/// The servers of clients.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Of HTTP/2.
    pub http2: Side,
    /// Of HTTP/1.1.
    pub http1: Side,
}

/// A connection that is to be served, and who is at its other end, where that is known, and how to end it.
struct Guided {
    stream: Stream,
    said: Said,
    greeting: Greeting,
    known: Option<(Guest, CancellationToken)>,
}

#[derive(Clone, Debug)]
struct Peers {
    sides: PeerSides,
    slots: Arc<Semaphore>,
    unknown: Arc<Semaphore>,
}

impl Entrance {
    /// To `clients`, counted by `connections`, until `draining`, and to `peers`; by TLS, where the node has it. Whoever is not let in is
    /// told of there.
    #[must_use]
    pub fn new(
        clients: Clients,
        connections: Arc<Connections>,
        peers: Option<PeerSides>,
        (tls, refused): (Option<NodeTls>, Refusals),
        draining: CancellationToken,
        log: Logger,
    ) -> Self {
        let refused = Arc::new(refused);
        Self {
            clients,
            connections,
            draining,
            handshakes: tls.map(|tls| Handshakes::new(tls, refused.clone())),
            refused,
            peers: peers.map(|sides| Peers {
                sides,
                slots: Arc::new(Semaphore::new(PEERS_MAX)),
                unknown: Arc::new(Semaphore::new(UNKNOWN_MAX)),
            }),
            patience: Patience {
                client: GREETING_WITHIN,
                unknown: UNKNOWN_WITHIN,
            },
            log,
        }
    }

    /// Takes a connection that was accepted. It is dropped when there is no room, when it is a client's and clients are asked
    /// to go, and when it says nothing before `stop`.
    ///
    /// Errors: nobody serves any more.
    pub async fn enter(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        stop: &CancellationToken,
    ) -> Result<(), Closed> {
        // Acknowledgements are small and waited for; a peer that has gone away shows at the first read.
        drop(stream.set_nodelay(true));
        let slot = match self.draining.is_cancelled() {
            true => Err(None),
            false => self.connections.take(from).map_err(Some),
        };
        let unknown = match (&slot, &self.peers) {
            (Ok(_), _) => None,
            (Err(full), peers) => {
                let place = peers
                    .as_ref()
                    .map(|peers| Arc::clone(&peers.unknown).try_acquire_owned());
                let Some(Ok(place)) = place else {
                    self.turn_away(from, *full);
                    return Ok(());
                };
                Some(place)
            }
        };
        let (entrance, stop) = (self.clone(), stop.clone());
        tokio::spawn(async move {
            // When nobody serves any more there is nobody to tell.
            let sorted = async { entrance.sort(stream, from, slot).await.unwrap_or(()) };
            stop.run_until_cancelled(sorted).await;
            drop(unknown);
        });
        Ok(())
    }

    /// Waits for the first byte and hands the connection to whom it is for.
    async fn sort(
        self,
        stream: TcpStream,
        from: SocketAddr,
        slot: Result<Slot, Option<Full>>,
    ) -> Result<(), Closed> {
        let began = Instant::now();
        let within = match slot {
            Ok(_) => self.patience.client,
            Err(_) => self.patience.unknown,
        };
        let mut first = [0];
        let Ok(Ok(1..)) = timeout(within, stream.peek(&mut first)).await else {
            // It was silent, or closed again.
            return Ok(());
        };
        match &self.peers {
            Some(peers) if first == [FIRST_BYTE] => {
                drop(slot);
                self.to_peers(peers, &peers.sides.calls, stream, from, began)
                    .await
            }
            Some(peers) if first == [APPENDS_FIRST_BYTE] => {
                drop(slot);
                self.to_peers(peers, &peers.sides.appends, stream, from, began)
                    .await
            }
            _ => match slot {
                Ok(slot) if !self.draining.is_cancelled() => {
                    self.to_clients(stream, from, first[0], slot, began).await
                }
                refused => {
                    self.turn_away(from, refused.err().flatten());
                    Ok(())
                }
            },
        }
    }

    async fn to_peers(
        &self,
        peers: &Peers,
        side: &Side,
        mut stream: TcpStream,
        from: SocketAddr,
        began: Instant,
    ) -> Result<(), Closed> {
        if stream.read_exact(&mut [0]).await.is_err() {
            return Ok(());
        }
        let Some(handshakes) = &self.handshakes else {
            return self.to_peers_without_tls(peers, side, stream, from, began).await;
        };
        // Who has proved nothing takes no place of a peer's.
        let Some(proven) = handshakes.peer(stream, from).await else {
            return Ok(());
        };
        match self.place_of_peer(peers, from) {
            Some(slot) => {
                let guided = Guided::proven(proven, &handshakes.tls, &side.kill, began);
                side.take(guided, slot).await
            }
            None => Ok(()),
        }
    }

    /// The same where nothing is encrypted. One that speaks TLS is told so, and this node knows why nobody takes it for a peer.
    async fn to_peers_without_tls(
        &self,
        peers: &Peers,
        side: &Side,
        stream: TcpStream,
        from: SocketAddr,
        began: Instant,
    ) -> Result<(), Closed> {
        let Some(slot) = self.place_of_peer(peers, from) else {
            return Ok(());
        };
        let mut first = [0];
        let Ok(Ok(1..)) = timeout(PEER_WITHIN, stream.peek(&mut first)).await else {
            // It was silent, or closed again.
            return Ok(());
        };
        if first == [TLS_FIRST_BYTE] {
            self.refused.peer_with_tls(from);
            farewell::say(stream, NO_TLS).await;
            return Ok(());
        }
        side.take(Guided::unknown(Stream::Plain(stream), began), slot)
            .await
    }

    fn place_of_peer(&self, peers: &Peers, from: SocketAddr) -> Option<Slot> {
        let slot = Arc::clone(&peers.slots).try_acquire_owned().ok();
        if slot.is_none() {
            warn!(self.log, "too many connections of peers; closed a new one"; "from" => %from, "max" => PEERS_MAX);
        }
        slot.map(Slot::from)
    }

    async fn to_clients(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        first: u8,
        slot: Slot,
        began: Instant,
    ) -> Result<(), Closed> {
        let Some(handshakes) = &self.handshakes else {
            let guided = Guided::unknown(Stream::Plain(stream), began);
            return self.by_protocol(guided, slot, began).await;
        };
        if first != TLS_FIRST_BYTE {
            handshakes.refuse_plain(stream, from).await;
            return Ok(());
        }
        let within = self.patience.client.saturating_sub(began.elapsed());
        match handshakes.client(stream, from, within).await {
            Some(proven) => {
                let guided = Guided::proven(proven, &handshakes.tls, &self.clients.http2.kill, began);
                self.by_protocol(guided, slot, began).await
            }
            None => Ok(()),
        }
    }

    /// Hands a client to the server of what it speaks.
    async fn by_protocol(&self, mut guided: Guided, slot: Slot, began: Instant) -> Result<(), Closed> {
        let within = self.patience.client.saturating_sub(began.elapsed());
        let spoken = tokio::select! {
            spoken = spoken_on(&mut guided.stream, within) => spoken,
            // It was silent until now, and nobody vouches for it any more, or nobody serves.
            () = killed(&guided.known, &self.clients.http2.kill) => return Ok(()),
        };
        // Or it was silent, or closed again.
        let Ok((protocol, said)) = spoken else {
            return Ok(());
        };
        if self.draining.is_cancelled() {
            return Ok(());
        }
        guided.said = said;
        match protocol {
            Protocol::Http2 => self.clients.http2.take(guided, slot).await,
            Protocol::Http1 => {
                guided.greeting = Greeting::HTTP;
                self.clients.http1.take(guided, slot).await
            }
        }
    }

    /// A client is one too many, or comes when all of them are asked to go, which is no reason to tell of it.
    fn turn_away(&self, from: SocketAddr, full: Option<Full>) {
        if let Some(full) = full.filter(|_| !self.draining.is_cancelled()) {
            self.connections.refuse(from, full, &self.log);
        }
    }
}

async fn killed(known: &Option<(Guest, CancellationToken)>, all: &CancellationToken) {
    match known {
        Some((_, kill)) => kill.cancelled().await,
        None => all.cancelled().await,
    }
}

impl Guided {
    /// Nobody is asked who is at the other end.
    fn unknown(stream: Stream, began: Instant) -> Self {
        Self {
            stream,
            said: Said::default(),
            greeting: Greeting::HTTP2.after(began.elapsed()),
            known: None,
        }
    }

    /// Its other end is known, and is let go when nobody vouches for them any more, or when `kill` is cancelled.
    fn proven(proven: Proven, tls: &NodeTls, kill: &CancellationToken, began: Instant) -> Self {
        let kill = kill.child_token();
        let guest = tls.watch(&proven, Usage::Client, kill.clone());
        Self {
            known: Some((guest, kill)),
            ..Self::unknown(proven.stream, began)
        }
    }
}

impl Side {
    /// Takes a connection.
    async fn take(&self, guided: Guided, slot: Slot) -> Result<(), Closed> {
        let connection = self.connection(guided, slot);
        self.accepted.send(connection).await.map_err(|_| Closed)
    }

    /// The connection, with its reads, writes and timers woken by the runtime that drives it.
    fn connection(&self, guided: Guided, slot: Slot) -> io::Result<Connection> {
        let Guided {
            stream,
            said,
            greeting,
            known,
        } = guided;
        let is_there = Handle::current().id() == self.runtime.id();
        let stream = if is_there {
            stream
        } else {
            stream.moved_to(&self.runtime)?
        };
        let (guest, kill) = match known {
            Some((guest, kill)) => (Some(guest), kill),
            None => (None, self.kill.clone()),
        };
        let _inside = self.runtime.enter();
        // What peers say who come to append is as long as what HTTP/2 begins with, and has a deadline of its own.
        Ok(Connection::new(stream, guest, slot, &kill, greeting).having_said(said))
    }
}

#[cfg(test)]
mod tests {
    use slog::{Discard, o};
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;
    use crate::net::refusals::PeerRefusal;

    struct Stage {
        entrance: Entrance,
        clients: mpsc::Receiver<io::Result<Connection>>,
        http1: mpsc::Receiver<io::Result<Connection>>,
        peers: mpsc::Receiver<io::Result<Connection>>,
        appends: mpsc::Receiver<io::Result<Connection>>,
        draining: CancellationToken,
        stop: CancellationToken,
        listener: TcpListener,
    }

    impl Stage {
        async fn new(connections_max: usize) -> Self {
            Self::with_tls(connections_max, None).await
        }

        async fn with_tls(connections_max: usize, tls: Option<NodeTls>) -> Self {
            let side = || {
                let (accepted, incoming) = mpsc::channel(8);
                let kill = CancellationToken::new();
                let runtime = Handle::current();
                (
                    Side {
                        accepted,
                        kill,
                        runtime,
                    },
                    incoming,
                )
            };
            let ((http2, clients_incoming), (http1, http1_incoming)) = (side(), side());
            let ((calls, peers_incoming), (appends, appends_incoming)) = (side(), side());
            let clients = Clients { http2, http1 };
            let peers = PeerSides { calls, appends };
            let connections = Arc::new(Connections::new(connections_max, connections_max));
            let log = Logger::root(Discard, o!());
            let draining = CancellationToken::new();
            let refused = Refusals::new(Arc::default(), PeerRefusal::new(), log.clone());
            let mut entrance = Entrance::new(
                clients,
                connections,
                Some(peers),
                (tls, refused),
                draining.clone(),
                log,
            );
            entrance.patience = Patience {
                client: Duration::from_millis(100),
                unknown: Duration::from_millis(50),
            };
            Self {
                entrance,
                clients: clients_incoming,
                http1: http1_incoming,
                peers: peers_incoming,
                appends: appends_incoming,
                draining,
                stop: CancellationToken::new(),
                listener: TcpListener::bind(("127.0.0.1", 0)).await.unwrap(),
            }
        }

        /// A connection that says `first`, at the entrance.
        async fn enter(&self, first: &[u8]) -> TcpStream {
            let client = TcpStream::connect(self.listener.local_addr().unwrap());
            let (client, accepted) = tokio::join!(client, self.listener.accept());
            let (mut client, (stream, from)) = (client.unwrap(), accepted.unwrap());
            client.write_all(first).await.unwrap();
            self.entrance.enter(stream, from, &self.stop).await.unwrap();
            client
        }
    }

    /// With whoever is slow because the machine is.
    const PATIENT: Patience = Patience {
        client: Duration::from_secs(3600),
        unknown: Duration::from_secs(3600),
    };

    async fn within<F: Future>(future: F) -> F::Output {
        timeout(Duration::from_secs(20), future).await.unwrap()
    }

    async fn next(incoming: &mut mpsc::Receiver<io::Result<Connection>>) -> Connection {
        within(incoming.recv()).await.unwrap().unwrap()
    }

    /// Whether the other side has closed it.
    async fn closed(mut client: TcpStream) -> bool {
        let mut byte = [0];
        matches!(within(client.read(&mut byte)).await, Ok(0) | Err(_))
    }

    /// All that the other side says, until it has closed it.
    async fn last_words(mut client: TcpStream) -> String {
        let mut said = Vec::new();
        within(client.read_to_end(&mut said)).await.unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }

    #[tokio::test]
    async fn the_first_byte_tells_peers_from_clients_and_only_theirs_is_taken_away() {
        let mut stage = Stage::new(4).await;
        let _client = stage.enter(b"PRI * HTTP/2.0").await;
        let mut said = [0; 3];
        next(&mut stage.clients)
            .await
            .read_exact(&mut said)
            .await
            .unwrap();
        assert_eq!(&said, b"PRI");
        let _peer = stage.enter(b"\x01PRI * HTTP/2.0").await;
        next(&mut stage.peers).await.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"PRI");
        let _peer = stage.enter(b"\x02\x09\x00\x00").await;
        next(&mut stage.appends)
            .await
            .read_exact(&mut said)
            .await
            .unwrap();
        assert_eq!(said, [9, 0, 0]);
        assert_eq!(stage.entrance.connections.open(), 0, "all have been dropped");
    }

    #[tokio::test]
    async fn who_says_nothing_is_let_go_and_gives_its_place_back() {
        let mut stage = Stage::new(1).await;
        assert!(closed(stage.enter(b"").await).await);
        let client = stage.enter(b"").await;
        drop(client);
        within(async {
            while stage.entrance.connections.open() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let _client = stage.enter(b"x").await;
        next(&mut stage.http1).await;
    }

    #[tokio::test]
    async fn what_a_client_says_tells_http_1_from_http_2_and_is_not_lost() {
        let mut stage = Stage::new(4).await;
        let soon = std::mem::replace(&mut stage.entrance.patience, PATIENT);
        let mut slow = stage.enter(b"P").await;
        slow.write_all(b"OST / HTTP/1.1").await.unwrap();
        let mut said = [0; 14];
        let mut connection = next(&mut stage.http1).await;
        connection.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"POST / HTTP/1.");
        stage.entrance.patience = soon;
        assert!(closed(stage.enter(b"PR").await).await, "it never said which");
        assert!(stage.clients.try_recv().is_err());
        drop(connection);
        assert_eq!(stage.entrance.connections.open(), 0);
    }

    #[tokio::test]
    async fn a_peer_that_speaks_tls_to_a_node_without_hears_that_there_is_none() {
        let stage = Stage::new(1).await;
        let heard = last_words(stage.enter(b"\x01\x16\x03\x01\x02").await).await;
        assert!(heard.contains("no TLS"), "{heard}");
    }

    /// A node's TLS, with files that need not be kept.
    fn tls() -> NodeTls {
        use crate::certs::{Authority, Holder, Hosts, Key, Terms};
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let terms = Terms {
            now: crate::clock::wall(),
            valid_for: Duration::from_secs(3600),
        };
        let (key, own) = (Key::generate().unwrap(), Key::generate().unwrap());
        let ca = Authority::make(&"a".parse().unwrap(), &key, terms).unwrap();
        let authority = Authority::read(ca.as_bytes(), key).unwrap();
        let holder = Holder::Node("n".parse().unwrap());
        let signed = authority.sign(&holder, &Hosts::default(), &own, terms).unwrap();
        for (name, text) in [("pem", &signed), ("key", &own.to_pem()), ("ca", &ca)] {
            std::fs::write(path(name), text).unwrap();
        }
        let files = crate::tls::Files {
            certificate: path("pem"),
            key: path("key"),
            authorities: path("ca"),
        };
        let names = crate::tls::NodeNames {
            cluster: "a".to_owned(),
            node: "n".to_owned(),
        };
        NodeTls::open(files, names, false).unwrap()
    }

    #[tokio::test]
    async fn who_does_not_finish_the_handshake_is_let_go_and_gives_its_place_back() {
        let stage = Stage::with_tls(1, Some(tls())).await;
        // A record of TLS that goes on for ever.
        assert!(closed(stage.enter(b"\x16\x03\x01\x40\x00\x01").await).await);
        let heard = last_words(stage.enter(b"GET / HTTP/1.1\r\n").await).await;
        assert!(heard.contains("this node wants TLS"), "{heard}");
        within(async {
            while stage.entrance.connections.open() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(stage.entrance.connections.refused(), 0, "they were not too many");
    }

    #[tokio::test]
    async fn peers_get_in_when_clients_have_taken_every_place() {
        let mut stage = Stage::new(1).await;
        let _client = stage.enter(b"x").await;
        let _held = next(&mut stage.http1).await;
        assert!(closed(stage.enter(b"x").await).await);
        assert_eq!(stage.entrance.connections.refused(), 1);
        assert!(closed(stage.enter(b"").await).await, "it had its time");
        let _peer = stage.enter(&[FIRST_BYTE, b'P']).await;
        next(&mut stage.peers).await;
    }

    #[tokio::test]
    async fn peers_alone_get_in_when_clients_are_asked_to_go() {
        let mut stage = Stage::new(1).await;
        stage.entrance.patience.client = Duration::from_secs(3600);
        let mut late = stage.enter(b"").await;
        stage.draining.cancel();
        late.write_all(b"x").await.unwrap();
        assert!(closed(late).await, "it came before, and speaks too late");
        assert!(closed(stage.enter(b"x").await).await);
        let _peer = stage.enter(&[FIRST_BYTE, b'P']).await;
        next(&mut stage.peers).await;
        assert!(stage.http1.try_recv().is_err());
        assert_eq!(stage.entrance.connections.refused(), 0, "they were not too many");
    }

    #[tokio::test]
    async fn nobody_is_waited_for_once_the_door_closes() {
        let mut stage = Stage::new(1).await;
        stage.entrance.patience.client = Duration::from_secs(3600);
        let silent = stage.enter(b"").await;
        stage.stop.cancel();
        assert!(closed(silent).await);
    }
}
