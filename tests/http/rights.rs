//! A right that ends: what was going on by HTTP ends with it, and hears why.

use std::{fs, sync::Arc};

use annals::{config::PolicyFiles, net::authorization::Authorization, node::NodePolicy};

use crate::support::{
    certs::client,
    http::{Events, Talk},
    node::{Place, TestNode},
    tls::{CLUSTER, Credentials},
};

const ALLOWED: &str = "p, annals://annals/client/app, log, consume\n";
const OTHERS: &str = "p, annals://annals/client/other, log, consume\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_and_a_wait_end_with_the_right_to_them() {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let folder = tempfile::tempdir().unwrap();
    let files = PolicyFiles {
        policy: folder.path().join("policy.csv"),
        model: None,
    };
    fs::write(&files.policy, ALLOWED).unwrap();
    let acl = files.open().unwrap();
    let authorization = Authorization {
        acl: acl.clone(),
        shadow: false,
    };
    let policy = NodePolicy {
        authorization,
        files: files.clone(),
    };
    let place = Place::real().secured(&credentials);
    let node = TestNode::start_with(&place, |options| options.policy = Some(policy)).await;
    let own = credentials.sign(&client("app"));
    let talk = async || {
        let authority = &credentials.authority.certificate;
        Talk::encrypted(node.addresses.rpc, Some(&own), authority, &[])
            .await
            .unwrap()
    };
    let mut events = Events::of(talk().await, "/v1/tail", "").await;
    let mut waits = talk().await;
    waits.ask("GET", "/v1/records?wait=60s", "", "").await;
    let mut denied = talk().await;
    denied.ask("POST", "/", "", r#"{"record":{"text":"a"}}"#).await;
    let answer = denied.answer().await;
    assert_eq!((answer.status(), answer.reason().as_str()), (403, "ACL_DENIED"));
    assert_eq!(answer.json()["error"]["subject"], "annals://annals/client/app");

    fs::write(&files.policy, OTHERS).unwrap();
    let last = events.next_event().await.unwrap();
    assert_eq!(
        (last.name.as_str(), &last.json()["error"]["reason"]),
        ("failure", &"ACL_DENIED".into())
    );
    assert_eq!(events.next().await, None);
    let answer = waits.answer().await;
    assert_eq!((answer.status(), answer.reason().as_str()), (403, "ACL_DENIED"));

    let lines: Vec<_> = node.lines.beginning("audit ");
    for method in ["POST /", "GET /v1/tail", "GET /v1/records"] {
        let told = format!("method={method}");
        let line = lines.iter().find(|line| line.ends_with(&told));
        let line = line.unwrap_or_else(|| panic!("{told}: {lines:#?}"));
        for part in ["who=annals://annals/client/app", "verdict=denied", "object=log"] {
            assert!(line.contains(part), "{line}");
        }
    }
    node.shut_down().await;
}
