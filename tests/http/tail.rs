//! Server-sent events: in order, over the loss of a node, and no longer than they may go on.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{
    cluster::Cluster,
    http::{Events, Talk, ask, get, post},
    node::{Place, TestNode, until},
};

async fn follow(address: SocketAddr, path: &str, headers: &str) -> Events<TcpStream> {
    Events::of(Talk::with(address).await, path, headers).await
}

async fn produce(address: SocketAddr, text: &str) {
    let answer = post(address, "/v1/records", &json!({ "records": [{ "text": text }] })).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

/// The text of the next record, whose id must be its offset.
async fn next_text(events: &mut Events<TcpStream>) -> String {
    let record = events.next_event().await.expect("it goes on").json();
    assert_eq!(record["offset"].to_string(), events.last_id, "{record}");
    record["text"]
        .as_str()
        .unwrap_or_else(|| panic!("{record}"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_gets_what_is_there_and_what_comes_and_signs_of_life_between() {
    let node = TestNode::start_with(&Place::real(), |options| {
        options.net.keepalive_interval = Duration::from_millis(100);
    })
    .await;
    let rpc = node.addresses.rpc;
    let mut new = follow(rpc, "/v1/tail?encoding=text", "").await;
    produce(rpc, "a").await;
    produce(rpc, "b\nid: 7").await;
    let mut all = follow(rpc, "/v1/tail?encoding=text&offset=earliest", "").await;
    for events in [&mut new, &mut all] {
        assert_eq!(next_text(events).await, "a");
        assert_eq!(next_text(events).await, "b\nid: 7");
        let sign = events.next().await.unwrap();
        assert!(!sign.comment.is_empty(), "{sign:?}");
    }
    produce(rpc, "c").await;
    assert_eq!(next_text(&mut all).await, "c");
    // Where it begins: in the past, and ahead.
    let mut last = follow(rpc, "/v1/tail?encoding=text&offset=-1", "").await;
    assert_eq!(next_text(&mut last).await, "c");
    let mut ahead = follow(rpc, "/v1/tail?encoding=text&offset=4", "").await;
    // It is told where that is: an offset may be one of another log.
    let told = ahead.next().await.expect("it goes on").comment;
    assert_eq!(told, "the log ends at 3; waiting for offset 4");
    produce(rpc, "d").await;
    produce(rpc, "e").await;
    assert_eq!(next_text(&mut ahead).await, "e");
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_to_another_node_misses_nothing_and_sees_nothing_twice() {
    let mut cluster = Cluster::found(3).await;
    let address = |cluster: &Cluster, number: usize| cluster.node(number).addresses.rpc;
    let path = "/v1/tail?encoding=text";
    let leader = cluster.until_led().await;
    let follower = cluster.follower(leader);
    // It is there before the first record, and leaves before it has seen one.
    let seen = follow(address(&cluster, leader), path, "").await.first_id().await;
    produce(address(&cluster, follower), "0").await;
    let back = format!("last-event-id: {seen}\r\n");
    let mut events = follow(address(&cluster, leader), path, &back).await;
    for number in 1..5 {
        produce(address(&cluster, follower), &number.to_string()).await;
    }
    for number in 0..3 {
        assert_eq!(next_text(&mut events).await, number.to_string());
    }
    // What it had from there and did not look at is lost.
    let seen = events.last_id.clone();
    assert_eq!(seen, "2");
    cluster.kill(leader).await;
    drop(events);
    cluster.until_led().await;
    for number in 5..8 {
        produce(address(&cluster, follower), &number.to_string()).await;
    }
    // A browser asks with the query it began with; the last id goes before that.
    let back = format!("last-event-id: {seen}\r\n");
    let path = "/v1/tail?encoding=text&offset=0";
    let mut events = follow(address(&cluster, follower), path, &back).await;
    for number in 3..8 {
        assert_eq!(next_text(&mut events).await, number.to_string());
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_says_so_in_a_last_event() {
    let node = TestNode::start(&Place::real()).await;
    let mut events = follow(node.addresses.rpc, "/v1/tail", "").await;
    let control = node.control.clone();
    let stops = tokio::spawn(async move { control.shutdown().await });
    let last = events.next_event().await.unwrap();
    assert_eq!(last.name, "failure");
    assert_eq!(last.json()["error"]["reason"], "SHUTTING_DOWN");
    assert!(last.json()["error"]["retry_after_ms"].as_u64().unwrap() > 0);
    assert_eq!(events.next().await, None);
    stops.await.unwrap();
    // A stream that goes on would have been waited for.
    node.ended().await;
}

/// Its places in memory and among the consumers are somebody else's then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_of_what_is_sent_is_let_go() {
    let node = TestNode::start_with(&Place::real(), |options| {
        options.net.consumers_max = 1;
        // Long enough to see that the place is taken, though the machine stand still for a while.
        options.net.request_timeout = Duration::from_secs(4);
        options.net.batch_bytes_max = 1 << 20;
        options.log.segment_bytes = 64 << 20;
    })
    .await;
    let rpc = node.addresses.rpc;
    // More than the buffers of the system take.
    let value = vec![b'x'; 1000 << 10];
    for _ in 0..16 {
        let answer = ask(rpc, "POST", "/v1/records", "content-type: text/plain\r\n", &value).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    let mut idle = Talk::with(rpc).await;
    idle.ask("GET", "/v1/tail?offset=0", "", "").await;
    assert_eq!(idle.head().await.status, 200);
    assert_eq!(get(rpc, "/v1/tail?offset=0").await.status(), 429);
    until("the place to be free", async || {
        get(rpc, "/v1/records?offset=latest&wait=1ms").await.status() == 200
    })
    .await;
    drop(idle);
    node.shut_down().await;
}
