//! The first chapter of the book "Distributed Services with Go", as it is written there.

use std::{net::SocketAddr, process::Command};

use crate::support::{
    http::ask,
    node::{Place, TestNode},
};

/// The records of the book.
const VALUES: [&str; 3] = ["TGV0J3MgR28gIzEK", "TGV0J3MgR28gIzIK", "TGV0J3MgR28gIzMK"];

/// A request as curl makes it of `-d`.
async fn as_curl(address: SocketAddr, verb: &str, body: &str) -> (u16, String) {
    let headers =
        "user-agent: curl/8.5.0\r\naccept: */*\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    let answer = ask(address, verb, "/", headers, body).await;
    (answer.status(), answer.text().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flow_of_the_book_is_answered_byte_for_byte() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    for (offset, value) in VALUES.iter().enumerate() {
        let body = format!(r#"{{"record": {{"value": "{value}"}}}}"#);
        let (status, text) = as_curl(rpc, "POST", &body).await;
        assert_eq!((status, text), (200, format!("{{\"offset\":{offset}}}\n")));
    }
    for (offset, value) in VALUES.iter().enumerate() {
        let expected = format!("{{\"record\":{{\"value\":\"{value}\",\"offset\":{offset}}}}}\n");
        let (status, text) = as_curl(rpc, "GET", &format!(r#"{{"offset": {offset}}}"#)).await;
        assert_eq!((status, text), (200, expected.clone()));
        let by_query = crate::support::http::get(rpc, &format!("/?offset={offset}")).await;
        assert_eq!(by_query.text(), expected);
    }
    let (status, text) = as_curl(rpc, "GET", r#"{"offset": 3}"#).await;
    assert_eq!(status, 404, "{text}");
    assert!(text.contains("OFFSET_OUT_OF_RANGE"), "{text}");
    for body in ["", "{", "{}", r#"{"offset": -1}"#, r#"{"ofset": 1}"#] {
        let (status, text) = as_curl(rpc, "GET", body).await;
        assert_eq!(status, 400, "{body}: {text}");
        assert!(text.contains("INVALID_REQUEST"), "{text}");
    }
    let (status, text) = as_curl(rpc, "POST", r#"{"record": {"value": "??"}}"#).await;
    assert_eq!(status, 400);
    assert!(
        text.contains("not base64") && text.contains("line 1 column"),
        "{text}"
    );
    node.shut_down().await;
}

/// The same by curl itself, where the machine has it; what it sends is in the test above too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_does_the_flow_of_the_book() {
    let node = TestNode::start(&Place::real()).await;
    let url = format!("localhost:{}", node.addresses.rpc.port());
    let curl = move |verb: &'static str, body: String| {
        let url = url.clone();
        tokio::task::spawn_blocking(move || {
            let mut curl = Command::new("curl");
            curl.args(["-s", "-4", "-X", verb, &url, "-d", &body]);
            curl.output()
        })
    };
    for (offset, value) in VALUES.iter().enumerate() {
        let body = format!(r#"{{"record": {{"value": "{value}"}}}}"#);
        let Ok(output) = curl("POST", body).await.unwrap() else {
            node.shut_down().await;
            return;
        };
        assert_eq!(
            output.stdout,
            format!("{{\"offset\":{offset}}}\n").into_bytes(),
            "{output:?}"
        );
    }
    let output = curl("GET", r#"{"offset": 0}"#.to_owned()).await.unwrap().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "{\"record\":{\"value\":\"TGV0J3MgR28gIzEK\",\"offset\":0}}\n"
    );
    node.shut_down().await;
}
