//! Both versions of HTTP, and gRPC, on one port, with TLS and without.

use std::sync::Arc;

use annals::proto::annals::v1::ConsumeRequest;
use bytes::Bytes;
use tonic::{body::Body, transport::Channel};
use tower::Service;

use crate::support::{
    certs::client,
    http::{Events, Talk},
    node::{Place, TestNode, in_time},
    tls::{CLUSTER, Credentials, calling_as, connect},
};

/// A request over HTTP/2 that is no gRPC: status, the names of its headers, body.
async fn over_http2(
    mut channel: Channel,
    verb: &str,
    path: &str,
    body: &'static str,
) -> (u16, Vec<String>, String) {
    let request = http::Request::builder()
        .method(verb)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::new(axum::body::Body::from(body)))
        .unwrap();
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let response = in_time("an answer", channel.call(request)).await.unwrap();
    let (status, names) = (response.status().as_u16(), response.headers().keys());
    let names = names.map(|name| name.as_str().to_owned()).collect();
    let body: Bytes = axum::body::to_bytes(axum::body::Body::new(response.into_body()), 1 << 20)
        .await
        .unwrap();
    (status, names, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_port_speaks_both_versions_of_http_with_tls_and_asks_who_is_there() {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let node = TestNode::start(&Place::real().secured(&credentials)).await;
    let rpc = node.addresses.rpc;
    let own = credentials.sign(&client("app"));
    let talk = async |protocols: &[&str]| {
        let authority = &credentials.authority.certificate;
        Talk::encrypted(rpc, Some(&own), authority, protocols)
            .await
            .unwrap()
    };
    for (protocols, expected) in [(&["http/1.1"][..], Some("http/1.1")), (&[], None)] {
        let mut talk = talk(protocols).await;
        assert_eq!(talk.protocol().as_deref(), expected);
        for _ in 0..2 {
            talk.ask("POST", "/", "", r#"{"record":{"text":"a"}}"#).await;
            assert_eq!(talk.answer().await.status(), 200);
        }
    }
    // As a browser or curl asks.
    let agreed = talk(&["h2", "http/1.1"]).await.protocol();
    assert_eq!(agreed.as_deref(), Some("h2"));

    let app = calling_as(
        &credentials.sign(&client("app")),
        &credentials.authority.certificate,
    );
    let channel = connect(&rpc.to_string(), Some(&app));
    let (status, _, body) = over_http2(channel.clone(), "POST", "/", r#"{"record":{"text":"b"}}"#).await;
    assert_eq!((status, body.as_str()), (200, "{\"offset\":4}\n"));
    // gRPC on the same connection.
    let mut client = annals::proto::annals::v1::log_service_client::LogServiceClient::new(channel);
    let read = client
        .consume(ConsumeRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read.next_offset, 5);

    let mut events = Events::of(talk(&["http/1.1"]).await, "/v1/tail?offset=4&encoding=text", "").await;
    assert_eq!(events.next_event().await.unwrap().json()["text"], "b");
    // Without TLS, a person is told so in words.
    let mut plain = Talk::with(rpc).await;
    plain.ask("GET", "/v1/records", "", "").await;
    let answer = plain.answer().await;
    assert!(
        answer.status() == 400 && answer.text().contains("wants TLS"),
        "{answer:?}"
    );
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_grpc_reaches_the_routes_over_http_2_and_is_refused_as_they_do() {
    let node = TestNode::start(&Place::real()).await;
    let channel = connect(&node.addresses.rpc.to_string(), None);
    let (status, names, body) = over_http2(
        channel.clone(),
        "POST",
        "/v1/records",
        r#"{"records":[{"text":"a"},{"text":"b"}]}"#,
    )
    .await;
    assert_eq!(status, 200, "{body}");
    assert!(names.contains(&"annals-node-id".to_owned()), "{names:?}");
    let (status, _, body) = over_http2(channel.clone(), "GET", "/v1/records?encoding=text", "").await;
    assert!(status == 200 && body.contains(r#""text":"b""#), "{body}");
    let (status, names, body) = over_http2(channel.clone(), "HEAD", "/openapi.json", "").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(names.contains(&"content-length".to_owned()), "{names:?}");
    let (status, _, body) = over_http2(channel.clone(), "POST", "/log.v1.Log/Produce", "{}").await;
    assert!(status == 404 && body.contains("NO_SUCH_ROUTE"), "{body}");
    let (status, names, _) = over_http2(channel, "DELETE", "/", "").await;
    assert_eq!(status, 405);
    assert!(names.contains(&"allow".to_owned()), "{names:?}");
    node.shut_down().await;
}
