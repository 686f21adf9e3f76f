//! Batches in, records out.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::{
    http::{Answer, Talk, ask, get, post},
    node::{Place, TestNode},
};

const LINES: &str = "content-type: application/x-ndjson\r\n";
const BYTES: &str = "content-type: application/octet-stream\r\n";

fn texts(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let records = answer.json()["records"].as_array().unwrap().clone();
    let text = |record: &Value| record["text"].as_str().unwrap().to_owned();
    records.iter().map(text).collect()
}

async fn all(address: SocketAddr) -> Vec<String> {
    texts(&get(address, "/v1/records?encoding=text").await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_comes_as_json_lines_or_bytes_and_is_read_as_either() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let batch = json!({ "records": [
        { "text": "one", "key_text": "k", "headers": [{ "name": "h", "text": "1" }, { "name": "h", "value": "/w" }] },
        { "value": "/w==", "timestamp_ms": "7", "type": 9 },
    ] });
    let answer = post(rpc, "/v1/records", &batch).await;
    assert_eq!(
        answer.text(),
        "{\"first_offset\":0,\"next_offset\":2,\"repeated\":false}\n"
    );
    assert_eq!(answer.head.header("annals-high-watermark"), Some("2"));
    let lines = "{\"text\":\"three\"}\n\n{\"text\":\"four\"}\n";
    let answer = ask(rpc, "POST", "/v1/records?log=default", LINES, lines).await;
    assert_eq!(answer.json()["first_offset"], 2);
    let answer = ask(
        rpc,
        "POST",
        "/v1/records?key=a%20b&timestamp_ms=8",
        BYTES,
        b"\0\xff",
    )
    .await;
    assert_eq!(
        (answer.status(), answer.json()["next_offset"].clone()),
        (200, json!(5))
    );

    let answer = get(rpc, "/v1/records?offset=0&encoding=text").await;
    assert_eq!(answer.head.header("content-type"), Some("application/json"));
    assert_eq!(answer.head.header("annals-next-offset"), Some("5"));
    let read = answer.json();
    assert_eq!(
        (&read["next_offset"], &read["high_watermark"]),
        (&json!(5), &json!(5))
    );
    let mut records = read["records"].as_array().unwrap().clone();
    for record in &mut records {
        assert!(record["term"].as_u64().unwrap() > 0);
        record.as_object_mut().unwrap().remove("term");
    }
    let appended = records[0]["timestamp_ms"].clone();
    assert!(appended.as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(
        records[0],
        json!({ "offset": 0, "timestamp_ms": appended, "text": "one", "key_text": "k",
            "headers": [{ "name": "h", "text": "1" }, { "name": "h", "value": "/w==" }] })
    );
    assert_eq!(
        records[1],
        json!({ "offset": 1, "timestamp_ms": 7, "value": "/w==", "type": 9 })
    );
    assert_eq!(
        records[4],
        json!({ "offset": 4, "timestamp_ms": 8, "value": "AP8=", "key_text": "a b" })
    );

    // What is read in lines can be appended as it is.
    let lines = ask(
        rpc,
        "GET",
        "/v1/records?offset=1&count=3",
        "accept: application/x-ndjson\r\n",
        "",
    )
    .await;
    assert_eq!(lines.head.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(lines.head.header("annals-next-offset"), Some("4"));
    assert_eq!(lines.text().lines().count(), 3);
    let answer = ask(rpc, "POST", "/v1/records", LINES, &lines.body).await;
    assert_eq!(answer.json()["first_offset"], 5, "{}", answer.text());
    let again = get(rpc, "/v1/records?offset=5").await.json()["records"].clone();
    assert_eq!(again[0]["value"], "/w==");
    assert_eq!(
        (&again[0]["timestamp_ms"], &again[0]["type"]),
        (&json!(7), &json!(9))
    );
    node.shut_down().await;
}

/// The story: `?key=%FF` was stored as U+FFFD.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_the_query_is_stored_byte_by_byte_and_what_should_be_text_is_refused() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let stored = ask(rpc, "POST", "/v1/records?key=%FF%00", BYTES, "a").await;
    assert_eq!(stored.status(), 200, "{}", stored.text());
    for (path, expected) in [
        (
            "/v1/records?log=%FF",
            "the parameter log is not UTF-8 at its byte 0",
        ),
        ("/v1/records?key=100%", "a % at its byte 7"),
    ] {
        let refused = ask(rpc, "POST", path, BYTES, "a").await;
        assert_eq!(
            (refused.status(), refused.reason().as_str()),
            (400, "INVALID_REQUEST")
        );
        assert!(refused.text().contains(expected), "{}", refused.text());
    }
    let read = get(rpc, "/v1/records?encoding=text").await.json();
    assert_eq!(
        (&read["next_offset"], &read["records"][0]["key"]),
        (&json!(1), &json!("/wA="))
    );
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_batch_with_a_mistake_nothing_is_stored() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let refused = [
        (LINES, "{\"text\":\"a\"}\n{\"text\":\n", 400, "line 2, column"),
        (LINES, "\n", 400, "holds no record"),
        (
            "content-type: application/json\r\n",
            r#"{"records":[{"text":"a"},{"text":7}]}"#,
            400,
            "records[1].text: invalid type",
        ),
        (
            "content-type: application/json\r\n",
            r#"{"records":[{"text":"a"}],"x":1}"#,
            400,
            "unknown field `x`",
        ),
        (
            "content-type: application/json\r\n",
            r#"{"records":[{"text":"a"}]} x"#,
            400,
            "trailing characters",
        ),
        (
            "content-type: application/json\r\n",
            r#"{"records":[{"text":"a"}],"producer":{"id":0,"epoch":0,"sequence":0}}"#,
            400,
            "producer id 0",
        ),
        (
            "content-type: application/x-www-form-urlencoded\r\n",
            r#"{"records":[{"text":"a"}]}"#,
            415,
            "say application/json",
        ),
        ("", "a", 415, "say application/json"),
    ];
    for (headers, body, status, expected) in refused {
        let answer = ask(rpc, "POST", "/v1/records", headers, body).await;
        assert_eq!(answer.status(), status, "{body}: {}", answer.text());
        assert!(answer.text().contains(expected), "{body}: {}", answer.text());
    }
    let answer = ask(rpc, "POST", "/v1/records?key=k", LINES, "{\"text\":\"a\"}").await;
    assert!(
        answer.text().contains("records of JSON have their own"),
        "{}",
        answer.text()
    );
    assert_eq!(all(rpc).await, [""; 0]);
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_stored_once_and_a_condition_holds() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let producer = |sequence: u64| {
        format!(
            "{BYTES}annals-producer-id: 77\r\nannals-producer-epoch: 1\r\nannals-producer-sequence: {sequence}\r\n"
        )
    };
    for repeated in [false, true] {
        let answer = ask(rpc, "POST", "/v1/records", &producer(0), "a").await;
        let expected = json!({ "first_offset": 0, "next_offset": 1, "repeated": repeated });
        assert_eq!(answer.json(), expected);
    }
    // The same producer in JSON: both are one.
    let batch =
        json!({ "records": [{ "text": "b" }], "producer": { "id": "77", "epoch": 1, "sequence": 1 } });
    for repeated in [false, true] {
        let answer = post(rpc, "/v1/records", &batch).await;
        assert_eq!(
            answer.json(),
            json!({ "first_offset": 1, "next_offset": 2, "repeated": repeated })
        );
    }
    let refused = ask(rpc, "POST", "/v1/records", &producer(9), "c").await;
    assert_eq!(
        (refused.status(), refused.reason().as_str()),
        (409, "OUT_OF_ORDER")
    );
    assert_eq!(refused.json()["error"]["expected_sequence"], 2);
    let old = producer(2).replace("epoch: 1", "epoch: 0");
    let refused = ask(rpc, "POST", "/v1/records", &old, "c").await;
    assert_eq!((refused.status(), refused.reason().as_str()), (409, "FENCED"));

    let expecting = |offset: u64| format!("{BYTES}annals-expected-offset: {offset}\r\n");
    let refused = ask(rpc, "POST", "/v1/records", &expecting(1), "c").await;
    assert_eq!(
        (refused.status(), refused.reason().as_str()),
        (409, "CONDITION_FAILED")
    );
    assert_eq!(refused.json()["error"]["next_offset"], 2);
    let stored = ask(rpc, "POST", "/v1/records", &expecting(2), "c").await;
    assert_eq!(stored.json()["first_offset"], 2);
    assert_eq!(all(rpc).await, ["a", "b", "c"]);
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_begins_and_ends_where_it_is_told_to() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let records: Vec<_> = (0..6)
        .map(|number| json!({ "text": number.to_string() }))
        .collect();
    post(rpc, "/v1/records", &json!({ "records": records })).await;
    let cases: [(&str, &[&str]); 8] = [
        ("offset=4", &["4", "5"]),
        ("offset=-2", &["4", "5"]),
        ("offset=latest", &[]),
        ("offset=earliest&count=2", &["0", "1"]),
        ("count=1", &["0"]),
        ("offset=1&end_offset=3", &["1", "2"]),
        ("timestamp_ms=0&count=1", &["0"]),
        // Never less than a record.
        ("offset=3&bytes=1&level=local&min_offset=6", &["3"]),
    ];
    for (query, expected) in cases {
        let read = get(rpc, &format!("/v1/records?encoding=text&{query}")).await;
        assert_eq!(texts(&read), expected, "{query}");
    }
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_hears_of_a_record_as_it_comes_and_of_nothing_when_none_does() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let nothing = get(rpc, "/v1/records?offset=0&wait=50ms").await;
    assert_eq!(texts(&nothing), [""; 0]);
    assert_eq!(nothing.json()["next_offset"], 0);

    // One waits for the next record, the other for one that is further ahead.
    let (mut next, mut later) = (Talk::with(rpc).await, Talk::with(rpc).await);
    next.ask("GET", "/v1/records?offset=0&wait=60s&encoding=text", "", "")
        .await;
    later
        .ask("GET", "/v1/records?offset=1&wait=60s&encoding=text", "", "")
        .await;
    // In time: before the wait is over.
    post(rpc, "/v1/records", &json!({ "records": [{ "text": "0" }] })).await;
    assert_eq!(texts(&next.answer().await), ["0"]);
    post(rpc, "/v1/records", &json!({ "records": [{ "text": "1" }] })).await;
    assert_eq!(texts(&later.answer().await), ["1"]);
    let refused = get(rpc, "/v1/records?wait=2m").await;
    assert_eq!(refused.status(), 400);
    node.shut_down().await;
}

/// As `curl -I` asks, or whoever watches whether somebody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_is_what_a_get_would_be_answered_without_its_body() {
    let node = TestNode::start_with(&Place::real(), |options| options.net.consumers_max = 1).await;
    let rpc = node.addresses.rpc;
    post(rpc, "/v1/records", &json!({ "records": [{ "text": "a" }] })).await;
    let mut talk = Talk::with(rpc).await;
    for path in [
        "/v1/records",
        "/?offset=0",
        "/openapi.json",
        "/v1/records?offset=9",
        "/v1/tail",
        "/v1/tail",
    ] {
        // On one connection: a body would be taken for the next answer.
        talk.ask("HEAD", path, "", "").await;
        let head = talk.head().await;
        if path == "/v1/tail" {
            assert_eq!(
                (head.status, head.header("content-type")),
                (200, Some("text/event-stream"))
            );
            continue;
        }
        let whole = get(rpc, path).await;
        assert_eq!(head.status, whole.status(), "{path}");
        for name in ["content-type", "content-length", "annals-next-offset"] {
            assert_eq!(head.header(name), whole.head.header(name), "{path} {name}");
        }
    }
    talk.ask("GET", "/v1/records", "", "").await;
    assert_eq!(talk.answer().await.json()["next_offset"], 1);
    node.shut_down().await;
}

/// The story: `curl -X POST -H 'content-type: text/plain'`, with its data forgotten, stored an empty record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_record_is_stored_where_it_is_sent_and_not_where_there_is_no_body() {
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc;
    let mut talk = Talk::with(rpc).await;
    talk.say("POST /v1/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\r\n")
        .await;
    let answer = talk.answer().await;
    assert_eq!(
        (answer.status(), answer.reason().as_str()),
        (400, "INVALID_REQUEST")
    );
    assert!(answer.text().contains("content-length 0"), "{}", answer.text());
    assert_eq!(
        ask(rpc, "POST", "/v1/records", BYTES, "").await.json()["first_offset"],
        0
    );
    let chunked = "POST /v1/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    talk.say(chunked).await;
    assert_eq!(talk.answer().await.json()["first_offset"], 1);
    assert_eq!(all(rpc).await, ["", ""]);
    node.shut_down().await;
}
