//! How the gateway comes up, says how it is, and goes down.

use annals::{
    net::{listener::bind, vitals::Readiness},
    proto::{annals::v1::ConsumeRequest, log::v1},
};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{code_and_reason, get, next, request, small_request, staged_node, within};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

fn health_of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn health_follows_the_nodes_readiness() {
    let node = staged_node().await;
    let mut health = HealthClient::new(node.channel().await);
    for service in [
        "",
        "log.v1.Log",
        "annals.v1.LogService",
        "annals.v1.CursorService",
    ] {
        let mut states = health.watch(health_of(service)).await.unwrap().into_inner();
        while next(&mut states).await.unwrap().status != SERVING {}
    }
    let mut states = health.watch(health_of("")).await.unwrap().into_inner();
    assert_eq!(next(&mut states).await.unwrap().status, SERVING);
    node.become_ready(Readiness::Failsafe {
        cause: "a sync failed".to_owned(),
    })
    .await;
    assert_eq!(next(&mut states).await.unwrap().status, NOT_SERVING);
    node.become_ready(Readiness::Ready).await;
    assert_eq!(next(&mut states).await.unwrap().status, SERVING);
}

#[tokio::test]
async fn reflection_knows_every_service() {
    let node = staged_node().await;
    let mut reflection = ServerReflectionClient::new(node.channel().await);
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection
        .server_reflection_info(futures::stream::iter([question]))
        .await
        .unwrap()
        .into_inner();
    let answer = next(&mut answers).await.unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}")
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for service in ["log.v1.Log", "annals.v1.LogService", "grpc.health.v1.Health"] {
        assert!(
            names.iter().any(|name| name == service),
            "{service} is not in {names:?}"
        );
    }
}

#[tokio::test]
async fn the_admin_listener_closes_what_is_too_much_and_serves_again_when_there_is_room() {
    use tokio::io::AsyncReadExt;
    let node = staged_node().await;
    let mut idle = Vec::new();
    // Connections are let in in the order they come, so once one is closed unasked the others have their places.
    let mut refused = loop {
        let mut connection = within(tokio::net::TcpStream::connect(node.admin)).await.unwrap();
        assert!(idle.len() < 1000, "the listener has no bound");
        let mut byte = [0; 1];
        let closed =
            tokio::time::timeout(std::time::Duration::from_millis(20), connection.read(&mut byte)).await;
        if closed.is_ok() {
            break connection;
        }
        idle.push(connection);
    };
    assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0);
    drop(idle);
    let served = async {
        loop {
            let mut connection = tokio::net::TcpStream::connect(node.admin).await.unwrap();
            let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let mut response = String::new();
            if tokio::io::AsyncWriteExt::write_all(&mut connection, request)
                .await
                .is_ok()
                && connection.read_to_string(&mut response).await.is_ok()
                && response.starts_with("HTTP/1.1 200")
            {
                break;
            }
        }
    };
    within(served).await;
}

#[tokio::test]
async fn the_admin_listener_says_how_the_node_is() {
    let node = staged_node().await;
    node.full().await.produce(request(&["a"])).await.unwrap();
    assert_eq!(get(node.admin, "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(get(node.admin, "/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(node.admin, "/startupz").await, (200, "ok\n".to_owned()));
    let (code, verbose) = get(node.admin, "/readyz?verbose").await;
    assert_eq!(
        (code, verbose.as_str()),
        (
            200,
            "[+] log ok\n[+] cluster ok\n[+] leader ok\n[+] gateway ok\n[+] disk ok\n"
        )
    );
    let (code, nothing) = get(node.admin, "/nothing").await;
    assert_eq!(code, 404);
    for route in ["/livez", "/readyz", "/startupz", "/status"] {
        assert!(nothing.contains(route), "{nothing}");
    }

    node.become_ready(Readiness::Failsafe {
        cause: "a sync failed".to_owned(),
    })
    .await;
    let (code, text) = get(node.admin, "/readyz").await;
    assert_eq!(
        (code, text.as_str()),
        (503, "[-] log failed: no writes: a sync failed\n")
    );
    let (_, status) = get(node.admin, "/status").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["failsafe"], "a sync failed");
    assert_eq!(status["log"]["high_watermark"], 1);
    assert_eq!(status["leadership"]["is_this_node"], true);
    assert_eq!(status["supervision"][0]["part"], "log");

    node.become_ready(Readiness::Starting).await;
    assert_eq!(get(node.admin, "/startupz").await.0, 503);
}

#[tokio::test]
async fn a_drain_ends_followers_answers_producers_and_gives_the_addresses_up() {
    // Longer than all of it takes on a busy machine, so that it shows where something was waited for in vain.
    let drain_timeout = crate::support::PATIENCE;
    let node = crate::support::staged_node_with(annals::net::Options {
        drain_timeout,
        ..crate::support::options()
    })
    .await;
    let mut client = node.full().await;
    let mut follower = client
        .consume_stream(ConsumeRequest {
            follow: true,
            ..ConsumeRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    let mut small = node.small().await;
    let mut tail = small
        .consume_stream(v1::ConsumeRequest { offset: 0 })
        .await
        .unwrap()
        .into_inner();
    let mut health = HealthClient::new(node.channel().await);
    let mut states = health.watch(health_of("")).await.unwrap().into_inner();
    while next(&mut states).await.unwrap().status != SERVING {}
    node.hold(true).await;
    let mut unary = node.small().await;
    let in_flight = tokio::spawn(async move { unary.produce(small_request("unary")).await });
    node.until_held(1).await;
    let (sender, requests) = mpsc::channel(8);
    let mut answers = client
        .produce_stream(ReceiverStream::new(requests))
        .await
        .unwrap()
        .into_inner();
    sender.send(request(&["in flight"])).await.unwrap();
    node.until_held(2).await;

    let began = tokio::time::Instant::now();
    let drained = node.drain();
    let shutting_down = (Code::Unavailable, "SHUTTING_DOWN".to_owned());
    assert_eq!(
        code_and_reason(&next(&mut follower).await.unwrap_err()),
        shutting_down
    );
    assert_eq!(
        code_and_reason(&next(&mut tail).await.unwrap_err()),
        shutting_down
    );
    assert_eq!(next(&mut states).await.unwrap().status, NOT_SERVING);
    assert!(
        within(states.next()).await.is_none(),
        "a watcher must not hold up the drain"
    );
    assert_eq!(get(node.admin, "/readyz").await.0, 503);
    assert_eq!(get(node.admin, "/livez").await.0, 200);

    node.hold(false).await;
    let answer = next(&mut answers).await.unwrap();
    assert!(answer.failure.is_none() && answer.requests == 1, "{answer:?}");
    assert_eq!(
        code_and_reason(&next(&mut answers).await.unwrap_err()),
        shutting_down
    );
    within(in_flight).await.unwrap().unwrap();
    within(drained).await.unwrap();
    assert!(
        began.elapsed() < drain_timeout,
        "something had to be closed by force"
    );
    for address in [node.rpc, node.admin] {
        drop(bind(address, "a test").unwrap());
    }
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever() {
    let options = annals::net::Options {
        drain_timeout: std::time::Duration::from_millis(200),
        ..crate::support::options()
    };
    let node = crate::support::staged_node_with(options).await;
    let mut client = node.full().await;
    client.produce(request(&["x".repeat(900 << 10)])).await.unwrap();
    // Never read, so it never ends by itself.
    let _stuck = client.consume_stream(ConsumeRequest::default()).await.unwrap();
    within(node.drain()).await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_is_built_again_has_the_same_ports_and_ends_old_connections_gently() {
    let node = staged_node().await;
    let mut old = node.full().await;
    let mut follower = old
        .consume_stream(ConsumeRequest {
            follow: true,
            ..ConsumeRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    node.hold(true).await;
    let (sender, requests) = mpsc::channel(8);
    let mut answers = old
        .produce_stream(ReceiverStream::new(requests))
        .await
        .unwrap()
        .into_inner();
    sender.send(request(&["before"])).await.unwrap();
    node.until_held(1).await;

    node.restart_gateway().await;
    assert_eq!(next(&mut follower).await.unwrap_err().code(), Code::Unavailable);
    let mut new = node.full().await;
    node.hold(false).await;
    assert_eq!(next(&mut answers).await.unwrap().first_offset, 0);
    let after = within(new.produce(request(&["after"])))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(after.first_offset, 1);
    assert_eq!(get(node.admin, "/readyz").await.0, 200);
}

#[tokio::test]
async fn an_address_in_use_is_named_with_a_remedy() {
    let node = staged_node().await;
    let error = bind(node.rpc, "clients").unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&node.rpc.to_string()) && text.contains("in use"),
        "{text}"
    );
    assert!(text.contains("choose another port"), "{text}");
}
