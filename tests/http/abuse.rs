//! Clients of HTTP/1.1 that want to hurt, or are broken: none of them keeps what it holds, and none says what another did not.

use std::{net::SocketAddr, time::Duration};

use annals::node::NodeOptions;
use tokio::net::TcpStream;

use crate::support::{
    http::{Talk, get},
    node::{Place, TestNode, in_time},
};

const SOON: Duration = Duration::from_millis(300);

async fn started(adjust: impl FnOnce(&mut NodeOptions)) -> TestNode {
    TestNode::start_with(&Place::real(), adjust).await
}

/// A connection that serves more than one request, and has served two. It is let go before, and another one made, where the machine
/// stands still for as long as it may be idle.
async fn served_twice(address: SocketAddr, path: &str) -> Talk<TcpStream> {
    let serves = async {
        loop {
            let mut talk = Talk::with(address).await;
            let mut served = 0;
            talk.ask("GET", path, "", "").await;
            while let Ok(head) = talk.try_head().await {
                assert_eq!(talk.body_of(head).await.status(), 200);
                served += 1;
                if served == 2 {
                    return talk;
                }
                talk.ask("GET", path, "", "").await;
            }
        }
    };
    in_time("a second answer on a connection", serves).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_finish_a_head_or_says_nothing_more_is_let_go() {
    let node = started(|options| options.net.keepalive_interval = SOON).await;
    let rpc = node.addresses.rpc;
    for words in ["G", "GET /v1/records HTTP/1.1\r\nhost: localhost\r\nx"] {
        let mut slow = Talk::with(rpc).await;
        slow.say(words).await;
        // Its head is not there, and so there may be an answer or none; then the end.
        drop(slow.try_head().await);
        assert!(slow.is_closed().await, "{words:?}");
    }
    let mut idle = served_twice(rpc, "/v1/records").await;
    assert!(idle.is_closed().await, "it said nothing more");
    node.shut_down().await;
}

/// The story: 64 connections with half a head each, and no probe was answered any more, for as long as they liked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_finish_a_head_keeps_no_probe_out() {
    let node = started(|options| options.net.keepalive_interval = SOON).await;
    let admin = node.addresses.admin;
    let mut slow = Talk::with(admin).await;
    slow.say("GET /livez HTTP/1.1\r\nhost: localhost\r\nx").await;
    drop(slow.try_head().await);
    assert!(slow.is_closed().await);
    let mut idle = served_twice(admin, "/livez").await;
    assert!(idle.is_closed().await, "it said nothing more");
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_refused_and_is_the_last() {
    let node = started(|_| ()).await;
    let rpc = node.addresses.rpc;
    let long = format!("x: {}\r\n", "y".repeat(20 << 10));
    let many = "x: y\r\n".repeat(100);
    for headers in [long, many] {
        let mut talk = Talk::with(rpc).await;
        talk.say(format!(
            "GET /v1/records HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"
        ))
        .await;
        assert_eq!(talk.answer().await.status(), 431);
        assert!(talk.is_closed().await);
    }
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let node = started(|options| options.net.request_timeout = SOON).await;
    let rpc = node.addresses.rpc;
    for length in ["content-length: 10", "transfer-encoding: chunked"] {
        let mut slow = Talk::with(rpc).await;
        slow.say(format!(
            "POST /v1/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n{length}\r\n\r\n5\r\n"
        ))
        .await;
        let answer = slow.answer().await;
        assert_eq!(
            (answer.status(), answer.reason().as_str()),
            (408, "DEADLINE_EXCEEDED"),
            "{length}"
        );
        assert!(slow.is_closed().await);
    }
    // A read has no more time than they had.
    let read = async {
        loop {
            let answer = get(rpc, "/v1/records").await;
            if answer.status() == 200 {
                return answer.json();
            }
        }
    };
    assert_eq!(in_time("a read", read).await["next_offset"], 0);
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let node = started(|_| ()).await;
    let rpc = node.addresses.rpc;
    let head = "POST /v1/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n";
    let mut liar = Talk::with(rpc).await;
    // Nothing of it follows, so an answer means that nothing was waited for.
    liar.say(format!("{head}content-length: 1073741824\r\n\r\n"))
        .await;
    let answer = liar.answer().await;
    assert_eq!(
        (answer.status(), answer.reason().as_str()),
        (413, "RECORD_TOO_LARGE")
    );
    // Of one that does not say its length, no more than that is read; and it hears why.
    let mut talk = Talk::with(rpc).await;
    talk.say(format!("{head}transfer-encoding: chunked\r\n\r\n"))
        .await;
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    for _ in 0..8 {
        talk.say(&chunk).await;
    }
    assert_eq!(talk.answer().await.status(), 413);
    assert_eq!(get(rpc, "/v1/records").await.json()["next_offset"], 0);
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_come_at_once_are_answered_one_after_the_other() {
    let node = started(|_| ()).await;
    let mut talk = Talk::with(node.addresses.rpc).await;
    let request = |text: &str| {
        let length = text.len();
        format!(
            "POST /v1/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{text}"
        )
    };
    let all: String = (0..20)
        .map(|number| request(&format!("record {number}")))
        .collect();
    talk.say(all).await;
    for offset in 0..20 {
        assert_eq!(talk.answer().await.json()["first_offset"], offset);
    }
    node.shut_down().await;
}

/// What a proxy in front takes for one request must not be two here, nor the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_length_can_be_read_in_two_ways_is_refused_or_the_last() {
    let node = started(|_| ()).await;
    let rpc = node.addresses.rpc;
    let head = "POST /v1/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n";
    let hidden = format!("{head}content-length: 6\r\n\r\nhidden");
    for lengths in [
        "content-length: 3\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
    ] {
        let mut talk = Talk::with(rpc).await;
        talk.say(format!("{head}{lengths}\r\n3\r\none\r\n0\r\n\r\n{hidden}"))
            .await;
        let answer = talk.answer().await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(answer.head.header("connection"), Some("close"));
        assert!(
            talk.is_closed().await,
            "{lengths:?}: what stands behind it was taken for a request"
        );
    }
    for lengths in [
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: 3, 4\r\n",
        "content-length: +3\r\n",
        "content-length: 0x3\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding : chunked\r\n",
        " content-length: 3\r\n",
    ] {
        let mut talk = Talk::with(rpc).await;
        talk.say(format!("{head}{lengths}\r\none{hidden}")).await;
        assert_eq!(talk.answer().await.status(), 400, "{lengths:?}");
        assert!(talk.is_closed().await, "{lengths:?}");
    }
    let read = get(rpc, "/v1/records?encoding=text").await.json();
    let texts: Vec<_> = read["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["text"])
        .collect();
    assert_eq!(texts, ["one", "one"]);
    node.shut_down().await;
}

/// The story: any request in chunks was the last of its connection, because of those that have a length too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_chunks_come_one_after_the_other_on_a_connection() {
    let node = started(|_| ()).await;
    let mut talk = Talk::with(node.addresses.rpc).await;
    for offset in 0..3 {
        talk.say("POST /v1/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        talk.say("3\r\none\r\n2;x=y\r\n, \r\n3\r\ntwo\r\n0\r\ntrailer: t\r\n\r\n")
            .await;
        let answer = talk.answer().await;
        assert_eq!(answer.json()["first_offset"], offset, "{}", answer.text());
        assert_eq!(answer.head.header("connection"), None);
    }
    let read = get(node.addresses.rpc, "/v1/records?offset=2&encoding=text")
        .await
        .json();
    assert_eq!(read["records"][0]["text"], "one, two");
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_refused_and_hurts_nobody() {
    let node = started(|_| ()).await;
    let rpc = node.addresses.rpc;
    for words in [
        &b"\0\0\0\0"[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"PRINT / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut talk = Talk::with(rpc).await;
        talk.say(words).await;
        talk.say("\r\n\r\n").await;
        if let Ok(head) = talk.try_head().await {
            assert!(head.status >= 400, "{words:?}: {head:?}");
        }
    }
    assert_eq!(get(rpc, "/v1/records").await.status(), 200);
    assert!(!node.lines.all().iter().any(|line| line.contains("panic")));
    node.shut_down().await;
}
