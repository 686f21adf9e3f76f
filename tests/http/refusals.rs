//! What is refused, with which status, and what it says.

use std::collections::BTreeMap;

use annals::net::http::routes::ROUTES;
use serde_json::{Value, json};

use crate::support::{
    http::{Talk, ask, get, post},
    node::{Place, TestNode},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_nothing_that_is_there_hears_what_there_is() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let answer = get(rpc, "/v1/record").await;
    assert_eq!(
        (answer.status(), answer.reason().as_str()),
        (404, "NO_SUCH_ROUTE")
    );
    let routes = answer.json()["error"]["routes"].as_array().unwrap().clone();
    assert_eq!(routes.len(), ROUTES.len());
    for (line, route) in routes.iter().zip(&ROUTES) {
        let line = line.as_str().unwrap();
        assert!(line.starts_with(route.method.path), "{line}");
    }
    for verb in ["DELETE", "PUT", "OPTIONS"] {
        let answer = ask(rpc, verb, "/v1/records", "", "").await;
        assert_eq!((answer.status(), answer.reason().as_str()), (405, "WRONG_METHOD"));
        assert_eq!(answer.head.header("allow"), Some("POST, GET, HEAD"));
        assert_eq!(answer.head.header("access-control-allow-origin"), None);
    }
    // A path of gRPC is none of HTTP's.
    assert_eq!(
        ask(rpc, "POST", "/log.v1.Log/Produce", "", "").await.status(),
        404
    );
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_has_the_status_the_reason_and_what_belongs_to_it() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    post(rpc, "/v1/records", &json!({ "records": [{ "text": "a" }] })).await;
    let bounds = json!({ "offset": 9, "earliest": 0, "high_watermark": 1 });
    let cases = [
        ("/?offset=9", 404, "OFFSET_OUT_OF_RANGE", bounds.clone()),
        ("/v1/records?offset=9", 416, "OFFSET_OUT_OF_RANGE", bounds),
        (
            "/v1/records?log=orders",
            404,
            "UNKNOWN_LOG",
            json!({ "log": "orders" }),
        ),
        (
            "/v1/tail?log=orders",
            404,
            "UNKNOWN_LOG",
            json!({ "log": "orders" }),
        ),
        ("/v1/records?level=best", 400, "INVALID_REQUEST", json!({})),
        ("/v1/tail?count=1", 400, "INVALID_REQUEST", json!({})),
        ("/v1/cluster?local=perhaps", 400, "INVALID_REQUEST", json!({})),
    ];
    for (path, status, reason, metadata) in cases {
        let answer = get(rpc, path).await;
        assert_eq!(
            (answer.status(), answer.reason().as_str()),
            (status, reason),
            "{path}"
        );
        assert_eq!(answer.head.header("content-type"), Some("application/json"));
        let error = answer.json()["error"].clone();
        assert!(!error["message"].as_str().unwrap().is_empty(), "{path}");
        for (name, value) in metadata.as_object().unwrap() {
            assert_eq!(&error[name], value, "{path} {name}");
        }
    }
    let large = vec![b'x'; 65 << 10];
    let answer = ask(rpc, "POST", "/v1/records", "content-type: text/plain\r\n", large).await;
    assert_eq!(
        (answer.status(), answer.reason().as_str()),
        (413, "RECORD_TOO_LARGE")
    );
    assert_eq!(answer.json()["error"]["bytes_max"], 64 << 10);
    node.shut_down().await;
}

/// The story: a body of gzip was stored as it was, and read by nobody who did not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_known_type_or_is_coded_is_refused_with_what_would_be_taken() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let coded = "content-type: text/plain\r\ncontent-encoding: gzip\r\n";
    for (verb, path, headers, reason, (name, taken)) in [
        (
            "POST",
            "/v1/records",
            coded,
            "CONTENT_IS_ENCODED",
            ("accept-encoding", "identity"),
        ),
        (
            "POST",
            "/",
            coded,
            "CONTENT_IS_ENCODED",
            ("accept-encoding", "identity"),
        ),
        (
            "GET",
            "/",
            coded,
            "CONTENT_IS_ENCODED",
            ("accept-encoding", "identity"),
        ),
        (
            "POST",
            "/v1/records",
            "content-type: text/html\r\n",
            "UNKNOWN_CONTENT_TYPE",
            (
                "accept",
                "application/json, application/x-ndjson, application/octet-stream, text/plain",
            ),
        ),
    ] {
        let answer = ask(rpc, verb, path, headers, "\u{1f}\u{8b}").await;
        assert_eq!(
            (answer.status(), answer.reason().as_str()),
            (415, reason),
            "{verb} {path}"
        );
        assert_eq!(answer.head.header(name), Some(taken), "{verb} {path}");
    }
    let plain = "content-type: text/plain\r\ncontent-encoding: identity\r\n";
    assert_eq!(
        ask(rpc, "POST", "/v1/records", plain, "a").await.json()["first_offset"],
        0
    );
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_browser_neither_reads_nor_writes() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    // A page may send this without asking anybody.
    let headers = "origin: https://evil.example\r\ncontent-type: text/plain\r\n";
    for (verb, path) in [
        ("POST", "/v1/records"),
        ("POST", "/"),
        ("GET", "/v1/tail"),
        ("GET", "/v1/records"),
    ] {
        let answer = ask(rpc, verb, path, headers, r#"{"record":{"text":"a"}}"#).await;
        assert_eq!(
            (answer.status(), answer.reason().as_str()),
            (403, "PAGE_REFUSED"),
            "{path}"
        );
        assert_eq!(answer.head.header("access-control-allow-origin"), None);
    }
    assert_eq!(get(rpc, "/v1/records").await.json()["next_offset"], 0);
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_room_says_when_to_come_again() {
    let node = TestNode::start_with(&Place::real(), |options| options.net.consumers_max = 1).await;
    let rpc = node.addresses.rpc;
    let mut first = Talk::with(rpc).await;
    first.ask("GET", "/v1/tail", "", "").await;
    assert_eq!(first.head().await.status, 200);
    for path in ["/v1/tail", "/v1/records?offset=latest&wait=1s"] {
        let answer = get(rpc, path).await;
        assert_eq!(
            (answer.status(), answer.reason().as_str()),
            (429, "OVERLOADED"),
            "{path}"
        );
        assert_eq!(answer.json()["error"]["retry_after_ms"], 10_000);
        assert_eq!(answer.head.header("retry-after"), Some("10"));
    }
    // A read that does not wait takes no place.
    assert_eq!(get(rpc, "/v1/records?offset=latest").await.status(), 200);
    drop(first);
    node.shut_down().await;
}

/// The fields of an object that the description does not have, and those that it wants and that are not there.
fn unlike(document: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => schema,
    };
    if let Some(values) = value.as_array() {
        for (number, value) in values.iter().enumerate() {
            unlike(
                document,
                &schema["items"],
                value,
                &format!("{at}[{number}]"),
                faults,
            );
        }
    }
    let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else {
        return;
    };
    let properties: BTreeMap<_, _> = properties.iter().collect();
    for required in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            faults.push(format!("{at} has no {required}"));
        }
    }
    for (name, value) in fields {
        match properties.get(name) {
            Some(schema) => unlike(document, schema, value, &format!("{at}.{name}"), faults),
            None if schema["additionalProperties"] == json!(true) => {}
            None => faults.push(format!("{at}.{name} is not described")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_as_openapi_describes_them() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let document = get(rpc, "/openapi.json").await.json();
    let record =
        json!({ "text": "a", "key_text": "k", "headers": [{ "name": "h", "text": "x" }], "type": 1 });
    let produced = post(rpc, "/v1/records", &json!({ "records": [record] })).await;
    let of_the_book = post(rpc, "/", &json!({ "record": { "text": "b" } })).await;
    let answers = [
        ("/v1/records", "post", produced),
        ("/", "post", of_the_book),
        ("/", "get", get(rpc, "/?offset=0").await),
        ("/v1/records", "get", get(rpc, "/v1/records").await),
        ("/v1/records", "get", get(rpc, "/v1/records?encoding=text").await),
        ("/v1/records", "get", get(rpc, "/v1/records?offset=9").await),
        ("/v1/cluster", "get", get(rpc, "/v1/cluster").await),
        ("/v1/cluster", "get", get(rpc, "/v1/cluster?local").await),
    ];
    for (path, verb, answer) in answers {
        let responses = &document["paths"][path][verb]["responses"];
        let response = &responses[answer.status().to_string()];
        let response = match response["$ref"].as_str() {
            Some(reference) => document.pointer(&reference[1..]).unwrap(),
            None => response,
        };
        assert!(
            response.is_object(),
            "{verb} {path}: {} is not described",
            answer.status()
        );
        let schema = &response["content"]["application/json"]["schema"];
        let mut faults = Vec::new();
        unlike(&document, schema, &answer.json(), path, &mut faults);
        assert_eq!(faults, [""; 0], "{}", answer.text());
    }
    node.shut_down().await;
}
