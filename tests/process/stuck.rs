//! A client that asks and asks and reads no answer: what the node has to say to it goes nowhere, and must not keep the node.

use std::{net::SocketAddr, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpSocket, time::timeout};

use crate::support::{Node, configuration};

/// The preface of HTTP/2, and settings.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0annals!!";

#[tokio::test]
async fn a_client_that_reads_no_answers_does_not_outlast_the_drain() {
    // The story: such a connection did not look whether it was to end, and the node was ended by force.
    let temp = tempfile::tempdir().unwrap();
    let path = configuration(&temp.path().join("data"), "127.0.0.1:0");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text += "[limits]\ndrain_timeout = \"500ms\"\n";
    std::fs::write(&path, text).unwrap();
    let node = Node::start(&path);
    node.wait_until_ready();

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let rpc: SocketAddr = node.rpc.parse().unwrap();
    let mut stream = socket.connect(rpc).await.unwrap();
    stream.write_all(GREETING).await.unwrap();
    // Until the node takes no more of them, as its answers are not read.
    let pings = PING.repeat(1000);
    while timeout(Duration::from_secs(1), stream.write_all(&pings))
        .await
        .is_ok()
    {}

    let ended = node.process.stop();
    assert!(ended.status.success(), "{:?}", ended.status);
    assert!(
        ended.err.contains("closing connections that did not end in time"),
        "{}",
        ended.err
    );
    assert!(!ended.err.contains("did not stop in time"), "{}", ended.err);
    drop(stream);
}
