//! Requests for other hosts, as a page sends them that has led its own name to a node on its reader's machine (DNS rebinding), and
//! requests that do not say for which host they are.

use std::net::SocketAddr;

use crate::support::{
    http::{Answer, Talk},
    node::{Place, TestNode},
};

/// What a request with these headers, and no others, is answered.
async fn heard(address: SocketAddr, target: &str, headers: &str) -> Answer {
    let mut talk = Talk::with(address).await;
    talk.say(format!("GET {target} HTTP/1.1\r\n{headers}\r\n")).await;
    talk.answer().await
}

/// In words, of which the admin listener has nothing else.
fn told(answer: &Answer) -> String {
    match answer.head.header("content-type") {
        Some("application/json") => answer.json()["error"]["message"].as_str().unwrap().to_owned(),
        _ => answer.text().to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_a_page_has_led_here_is_refused_by_both_listeners() {
    let node = TestNode::start_with(&Place::real(), |options| {
        options.net.rpc_address_advertised = Some("node-0.example:8400".to_owned());
    })
    .await;
    let (rpc, admin) = (node.addresses.rpc, node.addresses.admin);
    for (address, path) in [
        (rpc, "/v1/records"),
        (rpc, "/?offset=0"),
        (rpc, "/v1/tail"),
        (rpc, "/v1/cluster"),
        (rpc, "/nowhere"),
        (admin, "/status"),
        (admin, "/metrics"),
        (admin, "/readyz"),
        (admin, "/nowhere"),
    ] {
        let host = format!("host: evil.example:{}\r\n", address.port());
        let answer = heard(address, path, &host).await;
        assert_eq!(answer.status(), 421, "{path}: {}", answer.text());
        assert!(
            answer.text().contains("cluster.advertise_rpc"),
            "{path}: {}",
            answer.text()
        );
        if address == rpc {
            assert_eq!(answer.reason(), "WRONG_HOST");
            assert_eq!(answer.json()["error"]["host"], "evil.example");
        }
    }
    for (address, path) in [(rpc, "/v1/records"), (admin, "/status")] {
        for host in [
            &address.to_string(),
            "localhost:1",
            "a.localhost",
            "Node-0.Example:8400",
        ] {
            let answer = heard(address, path, &format!("host: {host}\r\n")).await;
            assert_eq!(answer.status(), 200, "{host}: {}", answer.text());
        }
    }
    node.shut_down().await;
}

/// RFC 9112, 3.2: what is in between and the node would understand them in two ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_host_or_with_two_is_refused_by_both_listeners() {
    let node = TestNode::start(&Place::real()).await;
    for (address, path) in [
        (node.addresses.rpc, "/v1/records"),
        (node.addresses.admin, "/livez"),
    ] {
        for (headers, named) in [
            ("", "a header host, once"),
            (
                "host: localhost\r\nhost: localhost\r\n",
                "more than one header host",
            ),
            ("host: local host\r\n", "the host \"local host\" is none"),
            ("host:\r\n", "the host \"\" is none"),
        ] {
            let answer = heard(address, path, headers).await;
            assert_eq!(answer.status(), 400, "{headers:?}: {}", answer.text());
            assert!(told(&answer).contains(named), "{headers:?}: {}", answer.text());
        }
        // What a proxy sends, or a probe of HTTP/1.0.
        let whole = format!("http://{address}{path}");
        assert_eq!(heard(address, &whole, "host: localhost\r\n").await.status(), 200);
        let elsewhere = format!("http://evil.example{path}");
        assert_eq!(
            heard(address, &elsewhere, "host: localhost\r\n").await.status(),
            421
        );
        let mut old = Talk::with(address).await;
        old.say(format!("GET {path} HTTP/1.0\r\n\r\n")).await;
        assert_eq!(old.head().await.status, 200);
    }
    node.shut_down().await;
}
