//! Who is let in at a node's port, as a client and as a peer, and what the others hear.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use annals::{certs::Terms, types::TimestampMs};
use rustls::{AlertDescription, SupportedProtocolVersion, pki_types::ServerName, version::TLS12};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    appending::{APPENDER, Appender},
    speaking::{Heard, PEER, PREFACE, Speaker, by_another_tool, signed_at},
    support::{
        certs::{Cluster, DAY, Pair, ago, client, node},
        node::{Place, TestNode, in_time, until},
        tls::{CLUSTER, Credentials},
    },
};

/// A node, and the authority that was made so long ago that what it signed for a day has expired.
struct Stage {
    node: TestNode,
    credentials: Arc<Credentials>,
}

impl Stage {
    async fn new() -> Self {
        let authority = Cluster::made_at(CLUSTER, ago(DAY * 10), DAY * 3650);
        let credentials = Arc::new(Credentials::by(authority));
        let node = TestNode::start(&Place::real().secured(&credentials)).await;
        Self { node, credentials }
    }

    fn sign(&self, holder: &annals::certs::Holder) -> Pair {
        self.credentials.sign(holder)
    }

    async fn hears(&self, own: Option<Pair>, first: &[u8]) -> Heard {
        let speaker = Speaker::new(own, &self.credentials.authority.certificate);
        speaker.speak(self.node.addresses.rpc, first).await
    }

    /// Whether the node has told of somebody refused for that reason.
    async fn until_told(&self, line: &str, why: &str) {
        until(why, async || {
            let told = self.node.lines.beginning(line);
            told.iter().any(|line| line.contains(why))
        })
        .await;
    }

    async fn stop(self) {
        assert_eq!(self.node.shut_down().await.exit_code, 0);
    }
}

/// Shakes hands, says nothing, and ends the connection below TLS, as a process does that is killed.
async fn vanish(speaker: &Speaker, address: SocketAddr) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let host = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(speaker.config()));
    let mut stream = connector.connect(host, stream).await.unwrap();
    stream.get_mut().0.shutdown().await.unwrap();
    stream
}

/// The library's own words for it are about its interface, and where to read of that.
#[tokio::test]
async fn of_a_connection_that_ends_unannounced_is_said_that_it_was_closed() {
    let credentials = Credentials::of(CLUSTER);
    let tls = credentials.node("node-0");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let proven = tls.accept_client(stream, Duration::from_secs(20)).await;
        proven.unwrap().stream.read_to_end(&mut Vec::new()).await
    };
    let own = credentials.sign(&client("app"));
    let speaker = Speaker::new(Some(own), &credentials.authority.certificate);
    let both = async { tokio::join!(serve, vanish(&speaker, address)) };
    let (read, _gone) = in_time("the end", both).await;
    let error = read.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(error.to_string(), "the connection was closed");
}

/// Whoever is connected is told that the connection is over, and not cut off: that could be anybody's doing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_ends_its_connections_as_tls_wants_it() {
    let stage = Stage::new().await;
    let address = stage.node.addresses.rpc;
    let mut streams = Vec::new();
    for (holder, first) in [(client("app"), &[][..]), (node("node-7"), PEER)] {
        let speaker = Speaker::new(
            Some(stage.sign(&holder)),
            &stage.credentials.authority.certificate,
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut config = speaker.config();
        if first == PEER {
            config.alpn_protocols = vec![b"annals-peer".to_vec()];
        }
        let connector = TlsConnector::from(Arc::new(config));
        let host = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(host, stream).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        stream.read_exact(&mut [0; 9]).await.unwrap();
        streams.push(stream);
    }
    stage.stop().await;
    for mut stream in streams {
        let mut rest = Vec::new();
        let ended = in_time("the end", stream.read_to_end(&mut rest)).await;
        ended.expect("an end that was announced");
    }
}

/// In an hour.
fn later() -> Terms {
    Terms {
        now: TimestampMs(annals::clock::wall().0 + 2 * 3_600_000),
        valid_for: DAY,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_whom_the_authority_vouches_for_now_is_let_in_as_a_client() {
    let stage = Stage::new().await;
    let authority = &stage.credentials.authority;
    let (_, nameless) = by_another_tool("root", &[]);
    let table = [
        (None, AlertDescription::CertificateRequired, "no certificate"),
        (
            Some(Cluster::new(CLUSTER).sign(&client("app"), DAY)),
            AlertDescription::DecryptError,
            "signed by no authority",
        ),
        (
            Some(nameless),
            AlertDescription::UnknownCA,
            "signed by no authority",
        ),
        (
            Some(authority.sign(&client("app"), DAY)),
            AlertDescription::CertificateExpired,
            "has expired",
        ),
        (
            Some(signed_at(authority, &client("app"), later())),
            AlertDescription::CertificateExpired,
            "is not valid yet",
        ),
    ];
    for (own, alert, why) in table {
        assert_eq!(stage.hears(own, &[]).await, Heard::Alert(alert), "{why}");
        stage.until_told("refused a client", why).await;
    }
    let nodes_own = stage.sign(&node("node-0"));
    for own in [stage.sign(&client("app")), nodes_own] {
        assert_eq!(stage.hears(Some(own), &[]).await, Heard::Settings);
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_nodes_of_the_cluster_are_let_in_as_peers() {
    let stage = Stage::new().await;
    let authority = &stage.credentials.authority;
    // The same key of the same authority signs for another cluster too.
    let key = annals::certs::Key::generate().unwrap();
    let terms = Terms {
        now: ago(DAY),
        valid_for: DAY * 99,
    };
    let payments = annals::certs::Authority::make(&"payments".parse().unwrap(), &key, terms).unwrap();
    let both = format!("{}{payments}", authority.certificate);
    let payments = annals::certs::Authority::read(payments.as_bytes(), key).unwrap();
    let payments = Cluster {
        certificate: String::new(),
        authority: payments,
        now: ago(DAY),
    };
    let files = stage.credentials.files("node-0");
    stage.credentials.put(&files, &stage.sign(&node("node-0")), &both);
    let table = [
        (None, AlertDescription::CertificateRequired, "no certificate"),
        (
            Some(stage.sign(&client("app"))),
            AlertDescription::CertificateUnknown,
            "annals://annals/client/app, which is no node",
        ),
        (
            Some(Cluster::new(CLUSTER).sign(&node("node-1"), DAY)),
            AlertDescription::DecryptError,
            "signed by no authority",
        ),
        (
            Some(authority.sign(&node("node-1"), DAY)),
            AlertDescription::CertificateExpired,
            "has expired",
        ),
    ];
    for (own, alert, why) in table {
        for first in [PEER, APPENDER] {
            assert_eq!(
                stage.hears(own.clone(), first).await,
                Heard::Alert(alert),
                "{why}"
            );
        }
        stage.until_told("refused a peer", why).await;
    }
    // Once the other cluster's authority is believed too, its clients are clients, and its nodes are no peers.
    until("the other authority to be believed", async || {
        let own = payments.sign(&client("app"), DAY * 9);
        stage.hears(Some(own), &[]).await == Heard::Settings
    })
    .await;
    for first in [PEER, APPENDER] {
        let other = payments.sign(&node("node-1"), DAY * 9);
        assert_eq!(
            stage.hears(Some(other), first).await,
            Heard::Alert(AlertDescription::CertificateUnknown)
        );
    }
    stage
        .until_told(
            "refused a peer",
            "annals://payments/node/node-1, and only nodes of cluster annals",
        )
        .await;
    let own = stage.sign(&node("node-1"));
    assert_eq!(stage.hears(Some(own.clone()), PEER).await, Heard::Settings);
    let speaker = Speaker::new(Some(own), &stage.credentials.authority.certificate);
    let appender = Appender::connect(stage.node.addresses.rpc, speaker.config()).await;
    assert!(!appender.unwrap().is_heard_without_a_greeting().await);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_common_name_alone_lets_in_only_where_that_is_allowed() {
    for allowed in [false, true] {
        let credentials = Arc::new(Credentials::of(CLUSTER));
        let (authority, root) = by_another_tool("root", &["localhost"]);
        let both = format!("{}{authority}", credentials.authority.certificate);
        credentials.put(
            &credentials.files("node-0"),
            &credentials.sign(&node("node-0")),
            &both,
        );
        let node = TestNode::start_with(&Place::real().secured(&credentials), |options| {
            options.tls = Some(credentials.node_that_allows("node-0", allowed));
        })
        .await;
        let speaker = Speaker::new(Some(root), &both);
        let heard = speaker.speak(node.addresses.rpc, &[]).await;
        let wanted = match allowed {
            true => Heard::Settings,
            false => Heard::Alert(AlertDescription::CertificateUnknown),
        };
        assert_eq!(heard, wanted);
        assert_eq!(
            speaker.speak(node.addresses.rpc, PEER).await,
            Heard::Alert(AlertDescription::CertificateUnknown),
            "as a peer it is nobody"
        );
        if !allowed {
            until("to be told", async || {
                let told = node.lines.beginning("refused a client");
                told.iter()
                    .any(|line| line.contains("tls.allow_common_name = true"))
            })
            .await;
        }
        node.shut_down().await;
    }
}

const ONLY_TLS_1_2: &[&SupportedProtocolVersion] = &[&TLS12];

/// A client's hello of TLS 1.1 with a cipher of that time.
const HELLO_OF_TLS_1_1: &[u8] = b"\x16\x03\x01\x00\x37\x01\x00\x00\x33\x03\x02\
    ................................\x00\x00\x02\x00\x2f\x01\x00\x00\x08\x00\x0d\x00\x04\x00\x02\x04\x03";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_2_is_spoken_and_nothing_older() {
    let stage = Stage::new().await;
    let mut speaker = Speaker::new(
        Some(stage.sign(&client("app"))),
        &stage.credentials.authority.certificate,
    );
    speaker.versions = ONLY_TLS_1_2;
    let address = stage.node.addresses.rpc;
    assert_eq!(speaker.speak(address, &[]).await, Heard::Settings);
    speaker.own = None;
    assert!(
        matches!(speaker.speak(address, &[]).await, Heard::Alert(_)),
        "it is asked in TLS 1.2 too"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(HELLO_OF_TLS_1_1).await.unwrap();
    let mut alert = Vec::new();
    in_time("the end", stream.read_to_end(&mut alert)).await.unwrap();
    // A fatal alert, 70: protocol_version (RFC 8446, 6).
    assert_eq!(alert[0], 0x15);
    assert_eq!(alert[5..], [2, 70]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_tls_is_told_what_it_lacks() {
    let stage = Stage::new().await;
    let hears = async |said: &[u8]| {
        let mut stream = TcpStream::connect(stage.node.addresses.rpc).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut heard = Vec::new();
        let end = in_time("the end", stream.read_to_end(&mut heard));
        let ends = tokio::time::timeout(Duration::from_secs(20), end).await;
        ends.expect("it is not kept waiting").unwrap();
        heard
    };
    let heard = hears(PREFACE).await;
    // Settings, then GOAWAY with INADEQUATE_SECURITY.
    assert_eq!(heard[3], 4);
    assert_eq!((heard[12], heard[25]), (7, 12));
    assert!(heard.ends_with(b"this node wants TLS"));
    let heard = hears(b"POST / HTTP/1.1\r\nhost: node\r\n\r\n").await;
    let heard = String::from_utf8(heard).unwrap();
    assert!(
        heard.starts_with("HTTP/1.1 400 ") && heard.contains("this node wants TLS"),
        "{heard}"
    );
    stage
        .until_told("refused a client", "it speaks without TLS")
        .await;
    stage.stop().await;
}
