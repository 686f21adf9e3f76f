//! Answers over HTTP/2 that are there before their request is whole: a client keeps them, whatever it does with what it has not sent.

use std::{future::poll_fn, net::SocketAddr, process::Command, time::Duration};

use bytes::Bytes;
use h2::{
    Reason, SendStream,
    client::{SendRequest, handshake},
};
use http::{Request, StatusCode};
use tokio::{net::TcpStream, time::Instant};

use crate::support::node::{Place, TestNode, in_time};

/// Larger than what a client may send ahead, so that it is sent whole only if it is read.
const BODY_BYTES: usize = 3 << 20;

/// Refusals of a POST, for which nothing of its body is read: path, a header, status.
const REFUSALS: [(&str, (&str, &str), u16); 5] = [
    ("/nowhere", ("content-type", "text/plain"), 404),
    ("/v1/tail", ("content-type", "text/plain"), 405),
    ("/v1/records", ("content-type", "text/html"), 415),
    ("/v1/records", ("origin", "https://evil.example"), 403),
    ("/v1/records?kee=k", ("content-type", "text/plain"), 400),
];

async fn client(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

fn post(address: SocketAddr, path: &str, (name, value): (&str, &str)) -> http::request::Builder {
    Request::post(format!("http://{address}{path}")).header(name, value)
}

/// Sends a head, and some of what follows; what is answered to the end, and the way for the rest.
async fn begin(
    client: SendRequest<Bytes>,
    request: http::request::Builder,
) -> (StatusCode, SendStream<Bytes>) {
    let mut client = client.ready().await.unwrap();
    let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(b"some"), false).unwrap();
    let response = in_time("an answer", response).await.unwrap();
    let (head, mut answer) = response.into_parts();
    let mut text = Vec::new();
    while let Some(piece) = in_time("the answer's end", answer.data()).await {
        text.extend_from_slice(&piece.unwrap());
    }
    assert!(
        text.starts_with(b"{\"error\":"),
        "{}",
        String::from_utf8_lossy(&text)
    );
    (head.status, body)
}

/// Sends so many bytes, as fast as they are taken.
///
/// Errors: the stream was reset, for that reason, after so many.
async fn send(body: &mut SendStream<Bytes>, bytes: usize) -> Result<(), (Option<Reason>, usize)> {
    let mut sent = 0;
    while sent < bytes {
        body.reserve_capacity(bytes - sent);
        let room = match in_time("room, or an end", poll_fn(|cx| body.poll_capacity(cx))).await {
            Some(Ok(room)) => room,
            Some(Err(error)) => return Err((error.reason(), sent)),
            None => {
                let reset = in_time("a reset", poll_fn(|cx| body.poll_reset(cx))).await;
                return Err((reset.ok(), sent));
            }
        };
        let piece = Bytes::from(vec![b'x'; room.min(bytes - sent)]);
        sent += piece.len();
        body.send_data(piece, false)
            .map_err(|error| (error.reason(), sent))?;
    }
    Ok(())
}

/// The story: the stream was reset behind the answer, and curl 7.88 forgot 36 of 50 answers for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_comes_before_its_request_is_whole_and_who_goes_on_sending_is_not_reset() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let client = client(rpc).await;
    for (path, header, status) in REFUSALS {
        let (answered, mut body) = begin(client.clone(), post(rpc, path, header)).await;
        assert_eq!(answered, status, "{path}");
        assert_eq!(send(&mut body, BODY_BYTES).await, Ok(()), "{path}");
        body.send_data(Bytes::new(), true).unwrap();
    }
    node.shut_down().await;
}

/// The story: curl ended its body early when it had the head of a refusal, and was reset for that before it had the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_waits_for_what_its_client_has_underway() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let client = client(rpc).await;
    let mut waited = Vec::new();
    while waited.len() < REFUSALS.len() {
        let (path, header, status) = REFUSALS[waited.len()];
        let mut client = client.clone().ready().await.unwrap();
        let began = Instant::now();
        let request = post(rpc, path, header).body(()).unwrap();
        let (mut response, mut body) = client.send_request(request, false).unwrap();
        assert_eq!(send(&mut body, BODY_BYTES).await, Ok(()), "{path}");
        let is_waiting = futures::poll!(&mut response).is_pending();
        // Who is slow himself has been answered.
        if is_waiting || began.elapsed() < Duration::from_millis(250) {
            waited.push((path, is_waiting));
        }
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(
            in_time("an answer", response).await.unwrap().status(),
            status,
            "{path}"
        );
    }
    assert!(waited.iter().all(|(_, is_waiting)| *is_waiting), "{waited:?}");
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_body_that_says_it_is_too_large_nothing_is_read_and_its_stream_ends_without_an_error() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let request = post(rpc, "/v1/records", ("content-type", "text/plain")).header("content-length", 1 << 30);
    let (answered, mut body) = begin(client(rpc).await, request).await;
    assert_eq!(answered, 413);
    let (reason, sent) = send(&mut body, 1 << 30).await.unwrap_err();
    assert_eq!(reason, Some(Reason::NO_ERROR));
    assert!(sent <= 1 << 20, "{sent} bytes were taken, and a window is 1 MiB");
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_keeps_every_refusal_of_a_body_that_it_has_not_sent() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, vec![b'x'; BODY_BYTES]).unwrap();
    let asked = tokio::task::spawn_blocking(move || {
        let version = Command::new("curl").arg("--version").output().ok()?;
        if !String::from_utf8_lossy(&version.stdout).contains("HTTP2") {
            return None;
        }
        let mut missed = Vec::new();
        for (path, (name, value), status) in REFUSALS.iter().cycle().take(50) {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--http2-prior-knowledge", "--data-binary"])
                .arg(format!("@{}", file.display()))
                .args(["-H", &format!("{name}: {value}"), "-w", "%{http_code}"])
                .arg(format!("http://{rpc}{path}"));
            let output = curl.output().ok()?;
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            let is_whole = told.starts_with("{\"error\":") && told.ends_with(&format!("\n{status}"));
            if !output.status.success() || !is_whole {
                missed.push(format!(
                    "{path}: {told} {}",
                    String::from_utf8_lossy(&output.stderr)
                ));
            }
        }
        Some(missed)
    });
    // Where there is no curl, what it sends is in the tests above.
    if let Some(missed) = asked.await.unwrap() {
        assert_eq!(missed, [""; 0]);
    }
    node.shut_down().await;
}
