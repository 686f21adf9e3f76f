//! The audit trail: who was denied what, and who changed what.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use annals::{
    acl::{Acl, Model},
    net::authorization::{Authorization, AuthorizationLayer},
};
use slog::{Drain, Logger, o};
use tonic_types::StatusExt;
use tower::{Layer, Service};

use crate::gate::{FROM, Gate, caller};

const APP: &str = "annals://orders/client/app";
const PRODUCE: &str = "/log.v1.Log/Produce";
const TRIM: &str = "/annals.v1.ClusterService/Trim";

/// Waits until so many lines of the log are there.
async fn until_lines(gate: &Gate, count: usize) -> Vec<String> {
    let there = async {
        while gate.lines.all().len() < count {
            tokio::task::yield_now().await;
        }
        gate.lines.all()
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), there).await;
    in_time.unwrap_or_else(|_| panic!("only {:#?}", gate.lines.all()))
}

#[tokio::test]
async fn a_denial_says_who_asked_for_what_from_where_and_by_which_rule() {
    let gate = Gate::new(
        "p, *, log, *\np, annals://orders/client/app, log, produce, deny",
        false,
    );
    let app = caller(APP);
    let status = gate.call(PRODUCE, Some(&app)).await.unwrap_err();
    assert_eq!(
        gate.lines.all(),
        [format!(
            "audit audit=true who={APP} fingerprint={} from={FROM} object=log action=produce verdict=denied \
             rule=2: p, annals://orders/client/app, log, produce, deny method={PRODUCE}",
            app.fingerprint()
        )]
    );
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "ACL_DENIED");
    let field = |name: &str| info.metadata.get(name).map(String::as_str);
    assert_eq!(
        (field("subject"), field("object"), field("action")),
        (Some(APP), Some("log"), Some("produce"))
    );
    // Which line stands against them they may know; what it says is the operators' business.
    assert_eq!(field("denied_by_line"), Some("2"));
    assert!(!status.message().contains("deny"), "{}", status.message());
}

#[tokio::test]
async fn administrative_acts_are_written_down_and_nothing_else_that_is_allowed() {
    let gate = Gate::new("p, *, *, *", false);
    let app = caller(APP);
    assert!(gate.allows(PRODUCE, Some(&app)).await);
    assert!(
        gate.allows("/annals.v1.ClusterService/GetCluster", Some(&app))
            .await
    );
    assert_eq!(gate.lines.all(), [""; 0]);
    assert!(gate.allows(TRIM, Some(&app)).await);
    assert!(gate.allows("/annals.v1.ClusterService/Leave", None).await);
    let lines = gate.lines.all();
    let says = |line: &str, all: &[&str]| all.iter().all(|part| line.contains(part));
    let trimmed = [
        "object=log",
        "action=admin",
        "verdict=allowed",
        "rule=1: p, *, *, *",
        TRIM,
        APP,
    ];
    assert!(says(&lines[0], &trimmed), "{lines:#?}");
    let left = [
        "who=anonymous",
        "fingerprint=-",
        "object=cluster",
        "ClusterService/Leave",
    ];
    assert!(says(&lines[1], &left), "{lines:#?}");
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn a_method_that_is_not_there_is_written_down_without_what_could_forge_a_line() {
    let gate = Gate::new("p, *, *, *", false);
    let path = format!("/x%0a{}", "y".repeat(500));
    assert!(!gate.allows(&path, None).await);
    let line = gate.lines.all().remove(0);
    assert!(
        line.contains("object=- action=- verdict=denied rule=- method=/x%0ayyy"),
        "{line}"
    );
    assert!(line.len() < 300 && !line.contains('\n'), "{line}");
}

#[tokio::test]
async fn who_is_denied_again_and_again_gets_some_lines_and_a_count() {
    let gate = Gate::new("p, somebody, log, produce", false);
    let (app, other) = (caller(APP), caller("annals://orders/client/other"));
    for _ in 0..1000 {
        assert!(!gate.allows(PRODUCE, Some(&app)).await);
    }
    // Nobody's lines are used up by somebody else.
    assert!(!gate.allows(PRODUCE, Some(&other)).await);
    let counted = until_lines(&gate, 12).await;
    assert_eq!(
        gate.lines
            .beginning(&format!("audit audit=true who={APP} fingerprint"))
            .len(),
        10
    );
    assert!(
        counted.contains(&format!("audit audit=true who={APP} suppressed=990")),
        "{counted:#?}"
    );
    // Another second, other lines.
    assert!(!gate.allows(PRODUCE, Some(&app)).await);
    assert_eq!(until_lines(&gate, 13).await.len(), 13);
}

#[tokio::test]
async fn subjects_beyond_a_bound_are_counted_together() {
    let gate = Gate::new("p, somebody, log, produce", false);
    for number in 0..257 {
        let one = caller(&format!("annals://orders/client/{number}"));
        assert!(!gate.allows(PRODUCE, Some(&one)).await);
    }
    let lines = until_lines(&gate, 257).await;
    assert_eq!(lines.last().unwrap(), "audit audit=true who=others suppressed=1");
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn in_json_a_collector_finds_the_lines_by_one_field() {
    let written = Written::default();
    let json = Mutex::new(slog_json::Json::default(written.clone())).fuse();
    let log = Logger::root(json, o!("node" => "node-0"));
    let authorization = Authorization {
        acl: Acl::new(Model::built_in(), "policy.csv", b"p, app, log, consume").unwrap(),
        shadow: false,
    };
    let never = tower::service_fn(|_| async { Err("it was let in") });
    let mut service = AuthorizationLayer::new(Some(&authorization), &Arc::default(), &log).layer(never);
    let mut request = http::Request::new(tonic::body::Body::empty());
    *request.uri_mut() = PRODUCE.parse().unwrap();
    service.call(request).await.unwrap();
    let text = written.0.lock().unwrap().clone();
    let line: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(line["audit"], true);
    for (field, value) in [
        ("msg", "audit"),
        ("node", "node-0"),
        ("who", "anonymous"),
        ("verdict", "denied"),
        ("object", "log"),
        ("action", "produce"),
        ("method", PRODUCE),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
}
