//! Another policy comes into force while streams are open.

use std::{future::poll_fn, pin::Pin, time::Duration};

use annals::acl::Changed;
use bytes::Bytes;
use http_body::{Body as _, Frame};
use tonic::{Code, Status, body::Body};

use crate::gate::{Gate, caller};

const APP: &str = "annals://orders/client/app";
const OTHER: &str = "annals://orders/client/other";
const BOTH: &[u8] = b"p, annals://orders/client/*, log, consume\n";
const ONLY_OTHER: &[u8] = b"p, annals://orders/client/other, log, consume\n";

async fn frame(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

/// How the stream ends, if it does soon.
async fn end(body: &mut Body) -> Option<Status> {
    let frame = tokio::time::timeout(Duration::from_millis(200), frame(body))
        .await
        .ok()?;
    let trailers = frame
        .expect("it ends with trailers")
        .unwrap()
        .into_trailers()
        .expect("nothing is sent");
    Some(Status::from_header_map(&trailers).unwrap())
}

#[tokio::test]
async fn a_stream_ends_when_its_caller_loses_the_right_and_others_go_on() {
    let gate = Gate::new(std::str::from_utf8(BOTH).unwrap(), false);
    let stream = "/annals.v1.LogService/ConsumeStream";
    let mut app = gate.call(stream, Some(&caller(APP))).await.unwrap();
    let mut other = gate.call(stream, Some(&caller(OTHER))).await.unwrap();
    assert!(end(&mut app).await.is_none());

    // Asked while it waits, as a server does.
    let waits = tokio::spawn(async move { (frame(&mut app).await, app) });
    tokio::task::yield_now().await;
    assert_eq!(
        gate.acl.reload("policy.csv", ONLY_OTHER),
        Ok(Changed::Yes { rules: 1 })
    );
    let (last, mut app) = tokio::time::timeout(Duration::from_secs(5), waits)
        .await
        .unwrap()
        .unwrap();
    let trailers = last.unwrap().unwrap().into_trailers().unwrap();
    let status = Status::from_header_map(&trailers).unwrap();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert!(frame(&mut app).await.is_none(), "nothing comes behind the end");

    assert!(end(&mut other).await.is_none(), "the other has the right still");
    let lines = gate.lines.beginning("audit");
    assert!(lines.len() == 1 && lines[0].contains(APP), "{lines:#?}");
}

#[tokio::test]
async fn each_policy_that_comes_is_asked() {
    let gate = Gate::new(std::str::from_utf8(BOTH).unwrap(), false);
    let mut app = gate
        .call("/log.v1.Log/ConsumeStream", Some(&caller(APP)))
        .await
        .unwrap();
    for round in 0..3 {
        let policy = format!("p, annals://orders/client/*, log, consume\np, x{round}, log, consume\n");
        gate.acl.reload("policy.csv", policy.as_bytes()).unwrap();
        assert!(end(&mut app).await.is_none());
    }
    gate.acl.reload("policy.csv", ONLY_OTHER).unwrap();
    assert_eq!(end(&mut app).await.unwrap().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_policy_that_is_wrong_ends_nothing() {
    let gate = Gate::new(std::str::from_utf8(BOTH).unwrap(), false);
    let mut app = gate
        .call("/log.v1.Log/ConsumeStream", Some(&caller(APP)))
        .await
        .unwrap();
    assert!(
        gate.acl
            .reload("policy.csv", b"p, annals://orders/client/oth")
            .is_err()
    );
    assert!(gate.acl.reload("policy.csv", b"").is_err());
    assert!(end(&mut app).await.is_none());
    assert!(gate.allows("/log.v1.Log/Consume", Some(&caller(APP))).await);
}

#[tokio::test]
async fn in_shadow_mode_a_stream_goes_on_and_what_would_end_it_is_written_down() {
    let gate = Gate::new(std::str::from_utf8(BOTH).unwrap(), true);
    let mut app = gate
        .call("/log.v1.Log/ConsumeStream", Some(&caller(APP)))
        .await
        .unwrap();
    gate.acl.reload("policy.csv", ONLY_OTHER).unwrap();
    assert!(end(&mut app).await.is_none());
    let lines = gate.lines.all();
    assert!(
        lines.len() == 1 && lines[0].contains("verdict=would be denied"),
        "{lines:#?}"
    );
}
