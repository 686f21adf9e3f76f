//! No payload, key or secret in a log line, an error or a metric: three nodes that say all that they can say, clients that have everything refused that
//! can be refused, and data that is damaged under a node; and then nothing that was marked is anywhere to be seen.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use annals::proto::annals::v1::{
    ConsumeRequest, Header, ProduceRequest, ProduceResponse, Producer, ReadLevel, Record, RecordSet,
    log_service_client::LogServiceClient,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::{
    init::Made,
    support::{DEADLINE, Node, annals, get, line_with, marks::Mark},
};

/// What records hold here, each in another place.
const VALUE: &[u8] = b"Vq7-the-value-nobody-logs-W9x";
const KEY: &[u8] = b"Kq7-the-key-nobody-logs-X8y";
const HEADER: &str = "Hq7-the-header-nobody-logs-Y7z";
const HEADER_VALUE: &[u8] = b"Jq7-the-header-value-nobody-logs-Z6a";

/// A batch is at most 1 MiB.
const TOO_LARGE_BYTES: usize = (1 << 20) + 1;

/// A request whose records are no records.
#[derive(Clone, PartialEq, prost::Message)]
struct Broken {
    #[prost(bytes = "vec", tag = "2")]
    records: Vec<u8>,
}

fn record() -> Record {
    Record {
        value: VALUE.into(),
        key: KEY.into(),
        headers: vec![Header {
            name: HEADER.to_owned(),
            value: HEADER_VALUE.into(),
        }],
        ..Record::default()
    }
}

fn request(records: Vec<Record>) -> ProduceRequest {
    ProduceRequest {
        records: Some(RecordSet { records }),
        ..ProduceRequest::default()
    }
}

/// The files of a client.
struct Client {
    directory: PathBuf,
    name: &'static str,
}

impl Client {
    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).expect("it was made")
    }

    fn channel(&self, node: &Node) -> Channel {
        let (pem, key) = (format!("{}.pem", self.name), format!("{}.key", self.name));
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.file("ca.pem")))
            .identity(Identity::from_pem(self.file(&pem), self.file(&key)));
        let endpoint = Endpoint::from_shared(format!("https://{}", node.rpc)).expect("it is an address");
        endpoint
            .tls_config(tls)
            .expect("they fit together")
            .connect_lazy()
    }

    /// What a request by HTTP/1.1 is answered.
    async fn http(&self, node: &Node, kind: &str, body: &str) -> String {
        let certificates = |file: &str| {
            CertificateDer::pem_slice_iter(self.file(file).as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .expect("it is PEM")
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates("ca.pem") {
            roots.add(authority).expect("it is an authority");
        }
        let key = self.file(&format!("{}.key", self.name));
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("it is PEM");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("rustls has them")
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&format!("{}.pem", self.name)), key)
            .expect("they fit together");
        let stream = TcpStream::connect(&node.rpc).await.expect("it listens");
        let host = ServerName::try_from("localhost").expect("it is a name");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(host, stream).await.expect("it speaks TLS");
        let head = format!(
            "POST /v1/records HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(&[head.as_bytes(), body.as_bytes()].concat())
            .await
            .expect("it is sent");
        let mut answer = Vec::new();
        let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        read.expect("it is answered").expect("it ends");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// All that a refusal says.
fn said(status: &Status) -> String {
    format!("{} {status:?} {:?}", status.message(), status.get_error_details())
}

/// Has everything refused at a node that can be refused of a producer; what that is told.
async fn refusals(node: &Node, app: &Client, stranger: &Client) -> Vec<String> {
    let mut client = LogServiceClient::new(app.channel(node));
    let mut refused = Vec::new();
    let stamped = |sequence, epoch| ProduceRequest {
        producer: Some(Producer {
            id: 7,
            epoch,
            sequence,
        }),
        ..request(vec![record()])
    };
    let too_large = Record {
        value: VALUE.repeat(TOO_LARGE_BYTES / VALUE.len() + 1).into(),
        ..record()
    };
    let elsewhere = ProduceRequest {
        expected_offset: Some(1 << 40),
        ..request(vec![record()])
    };
    let other_log = ProduceRequest {
        log: "other".to_owned(),
        ..request(vec![record()])
    };
    for wrong in [
        elsewhere,
        other_log,
        stamped(99, 9),
        request(vec![too_large]),
        request(Vec::new()),
    ] {
        let messages = tokio_stream::iter([wrong.clone()]);
        refused.push(said(&client.produce(wrong).await.expect_err("it is wrong")));
        let mut answers = client
            .produce_stream(messages)
            .await
            .expect("it is let in")
            .into_inner();
        refused.push(format!(
            "{:?}",
            answers.message().await.map_err(|status| said(&status))
        ));
    }
    for records in [VALUE.to_vec(), [&[0x0a, 0x7f][..], KEY, VALUE].concat()] {
        let mut grpc = Grpc::new(app.channel(node));
        grpc.ready().await.expect("it listens");
        let path = "/annals.v1.LogService/Produce".parse().expect("it is a path");
        let codec = ProstCodec::<Broken, ProduceResponse>::default();
        let answer = grpc.unary(Request::new(Broken { records }), path, codec).await;
        refused.push(said(&answer.expect_err("it is broken")));
    }
    let denied = LogServiceClient::new(stranger.channel(node))
        .produce(request(vec![record()]))
        .await;
    refused.push(said(&denied.expect_err("no line allows it")));
    let (value, key) = (String::from_utf8_lossy(VALUE), String::from_utf8_lossy(KEY));
    for (kind, body) in [
        (
            "application/json",
            format!("{{\"records\":[{{\"value\":\"{value}\"}}]}}"),
        ),
        ("application/json", format!("{{\"records\":\"{value}\"}}")),
        (
            "application/json",
            format!("{{\"records\":[{{\"timestamp_ms\":\"{value}\",\"key\":\"{key}\"}}]}}"),
        ),
        (
            "application/json",
            format!("{{\"records\":[{{\"headers\":[\"{HEADER}\",\"{value}"),
        ),
        ("application/x-ndjson", format!("{{\"value\":{value}}}\n{key}\n")),
        ("text/plain", format!("{value}{key}")),
    ] {
        refused.push(app.http(node, kind, &body).await);
    }
    refused
}

/// Does it, as soon as the node can: one that is just back may not know yet who leads.
async fn done<T>(mut act: impl AsyncFnMut() -> Result<T, Status>) -> T {
    let give_up = annals::clock::now() + DEADLINE;
    loop {
        match act().await {
            Ok(done) => return done,
            Err(status) if status.code() == Code::Unavailable && annals::clock::now() < give_up => {}
            Err(status) => panic!("{status}"),
        }
    }
}

/// Stores records, in each way, and reads them at each level.
async fn store(node: &Node, app: &Client) {
    let client = LogServiceClient::new(app.channel(node));
    done(async || client.clone().produce(request(vec![record(); 3])).await).await;
    done(async || {
        let messages = tokio_stream::iter(vec![request(vec![record()]); 3]);
        let mut answers = client.clone().produce_stream(messages).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            if let Some(failure) = answer.failure {
                return Err(Status::new(failure.code.into(), failure.message));
            }
        }
        Ok(())
    })
    .await;
    for level in [ReadLevel::Local, ReadLevel::Lease, ReadLevel::Linearizable] {
        let read = ConsumeRequest {
            read_level: level.into(),
            ..ConsumeRequest::default()
        };
        done(async || client.clone().consume(read.clone()).await).await;
    }
}

/// The last store of a node that does not run.
fn store_of(data_dir: &Path) -> PathBuf {
    let names = fs::read_dir(data_dir.join("logs").join("default")).expect("it has a log");
    let mut stores: Vec<_> = names
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    stores.retain(|path| path.extension().is_some_and(|ending| ending == "store"));
    stores.sort();
    stores.pop().expect("it has a segment")
}

fn place_of(mark: &[u8], bytes: &[u8]) -> usize {
    let found = bytes.windows(mark.len()).rposition(|window| window == mark);
    found.expect("records are on the disk as they were sent")
}

/// Turns a bit of a record over.
fn corrupt(store: &Path) {
    let mut bytes = fs::read(store).expect("it can be read");
    let at = place_of(VALUE, &bytes);
    bytes[at + VALUE.len() / 2] ^= 1;
    fs::write(store, bytes).expect("it can be written");
}

/// Lets it end in the middle of a record.
fn truncate(store: &Path) {
    let bytes = fs::read(store).expect("it can be read");
    let at = place_of(VALUE, &bytes);
    fs::write(store, &bytes[..at + VALUE.len() / 2]).expect("it can be written");
}

/// The middle of what stands in a file of PEM or in base64: in a private key, the part that is private.
fn secret_of(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).expect("it was made");
    let body: String = text
        .lines()
        .filter(|line| !line.starts_with(['-', '#']))
        .collect();
    let bytes = BASE64_STANDARD.decode(body).expect("it is base64");
    // PKCS#8 of P-256 has the private number at 36..68, and a key of gossip is 32 bytes.
    let from = if bytes.len() > 68 { 40 } else { 4 };
    bytes[from..from + 24].to_vec()
}

fn marks(certificates: &Path, gossip_keys: &Path) -> Vec<Mark> {
    let mut marks = vec![
        Mark::new("a value", VALUE),
        Mark::new("a key", KEY),
        Mark::new("the name of a header", HEADER.as_bytes()),
        Mark::new("the value of a header", HEADER_VALUE),
        Mark::new("the key of gossip", &secret_of(gossip_keys)),
    ];
    for name in ["ca", "node-0", "node-1", "node-2", "app"] {
        let secret = secret_of(&certificates.join(format!("{name}.key")));
        marks.push(Mark::new(&format!("the key of {name}"), &secret));
    }
    marks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_records_and_keys_is_in_a_log_an_error_or_a_metric() {
    let made = Made::new(3, &["--nodes", "3"]);
    let directory = made.path();
    let certificates = directory.join("certs");
    let stranger = ["certs", "client", "stranger", "--dir"];
    annals().args(stranger).arg(&certificates).run();
    let client = |name| Client {
        directory: certificates.clone(),
        name,
    };
    let (app, stranger) = (client("app"), client("stranger"));
    let mut nodes: Vec<_> = made.talkative().into_iter().map(Some).collect();
    let mut texts = Vec::new();
    for (number, node) in nodes.iter().flatten().enumerate() {
        store(node, &app).await;
        for told in refusals(node, &app, &stranger).await {
            texts.push((format!("what node-{number} refused"), told));
        }
    }

    for (what, damage) in [("corrupted", corrupt as fn(&Path)), ("truncated", truncate)] {
        let node = nodes[2].take().expect("it runs");
        let begins = node.process.err.wait_for("it says where its data is", |text| {
            line_with(text, "\"msg\":\"node starts\"")
        });
        let begins: serde_json::Value = serde_json::from_str(&begins).expect("it is JSON");
        let data_dir = PathBuf::from(begins["data_dir"].as_str().expect("it says so"));
        texts.push((
            format!("the log of node-2, before it was {what}"),
            node.process.stop().err,
        ));
        damage(&store_of(&data_dir));
        let verified = annals().args(["storage", "verify"]).arg(&data_dir).run();
        let told = String::from_utf8_lossy(&verified.out);
        texts.push((
            format!("annals storage verify, {what}"),
            format!("{told}{}", verified.err),
        ));
        let node = made.talkative_one(2);
        store(&node, &app).await;
        nodes[2] = Some(node);
    }

    for (number, node) in nodes.into_iter().flatten().enumerate() {
        for path in ["/metrics", "/status", "/readyz?verbose"] {
            texts.push((format!("{path} of node-{number}"), get(&node.admin, path)));
        }
        texts.push((format!("the log of node-{number}"), node.process.stop().err));
    }
    let everything = |part: &str| texts.iter().any(|(_, text)| text.contains(part));
    for talk in [
        "\"level\":\"DEBUG\"",
        "\"target\":\"openraft::",
        "\"audit\":true",
        "\"verdict\":\"denied\"",
    ] {
        assert!(everything(talk), "they do not say {talk}: this shows nothing");
    }
    let marks = marks(&certificates, &directory.join("gossip.keys"));
    let seen = texts.iter().flat_map(|(place, text)| {
        let marks = marks.iter().flat_map(|mark| mark.seen_in(text));
        marks.map(move |seen| format!("{place}: {seen}"))
    });
    let seen: Vec<_> = seen.collect();
    assert!(seen.is_empty(), "{}", seen.join("\n"));
}
