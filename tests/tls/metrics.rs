//! What nodes tell Prometheus: here, since a node with TLS and a policy has all that there is to tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use annals::{
    config::PolicyFiles,
    net::authorization::Authorization,
    node::{NodeOptions, NodePolicy},
    telemetry::metrics::names,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    cluster::{AT_WORK, Cluster},
    exposition::{Family, parse},
    node::{TestNode, in_time, until},
    tls::{CLUSTER, Credentials},
};

/// The policy to start from, which says nothing of the clients of these tests, and denies nothing.
fn with_a_policy(options: &mut NodeOptions) {
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/acl/policy.csv");
    let files = PolicyFiles { policy, model: None };
    let authorization = Authorization {
        acl: files.open().unwrap(),
        shadow: true,
    };
    options.policy = Some(NodePolicy { authorization, files });
}

async fn metrics_of(node: &TestNode) -> BTreeMap<String, Family> {
    let (status, text) = node.get("/metrics").await;
    assert_eq!(status, 200);
    parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Asks a node without TLS.
async fn speak_plainly(node: &TestNode) {
    let mut stream = TcpStream::connect(node.addresses.rpc).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut heard = String::new();
    in_time("a refusal", stream.read_to_string(&mut heard))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_there_is_is_told_and_says_what_is_so() {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let cluster = Cluster::found_secured_by(&credentials, 3, with_a_policy).await;
    let load = cluster.load().await;
    load.progresses(AT_WORK).await;
    cluster.judge(load).await;
    let leader = cluster.until_led().await;
    speak_plainly(cluster.node(leader)).await;
    until("the followers to have all", async || {
        let metrics = metrics_of(cluster.node(leader)).await;
        let lags = &metrics["annals_peer_lag_entries"].samples;
        lags.len() == 2 && lags.iter().all(|(_, lag)| *lag == 0.0)
    })
    .await;

    let of_leader = metrics_of(cluster.node(leader)).await;
    // What is told is what is listed, all of it, with the labels that are listed.
    let listed: BTreeSet<_> = names::ALL.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(of_leader.keys().cloned().collect::<BTreeSet<_>>(), listed);
    for metric in names::ALL {
        let family = &of_leader[metric.name];
        assert_eq!(family.kind, metric.kind.as_str(), "{}", metric.name);
        let wanted: BTreeSet<_> = metric.labels.iter().copied().collect();
        for (labels, _) in &family.samples {
            let labels: BTreeSet<_> = labels.keys().map(String::as_str).collect();
            assert_eq!(labels, wanted, "{}", metric.name);
        }
    }

    let value = |name: &str, labels: &[(&str, &str)]| of_leader[name].value(labels).unwrap();
    let days = value("annals_certificate_expires_in_seconds", &[("holder", "node")]) / 86_400.0;
    assert!((98.0..=99.0).contains(&days), "{days}");
    let offsets = cluster.high_watermark(leader) as f64;
    assert!(offsets > 0.0);
    assert_eq!(value("annals_log_high_watermark_offset", &[]), offsets);
    assert_eq!(value("annals_log_tail_offset", &[]), offsets);
    assert_eq!(value("annals_ready", &[]), 1.0);
    assert_eq!(value("annals_raft_voters", &[]), 3.0);
    assert_eq!(value("annals_raft_role", &[("role", "leader")]), 1.0);
    assert_eq!(value("annals_raft_role", &[("role", "follower")]), 0.0);
    let (committed, applied) = (
        value("annals_raft_committed_log_index", &[]),
        value("annals_raft_applied_log_index", &[]),
    );
    assert!(committed >= applied && applied > 0.0);
    assert_eq!(
        value("annals_handshakes_refused_total", &[("side", "client")]),
        1.0
    );
    assert!(value("annals_audit_total", &[("verdict", "would_be_denied")]) > 0.0);
    assert_eq!(value("annals_audit_total", &[("verdict", "denied")]), 0.0);
    assert!(value("annals_disk_free_bytes", &[]) > 0.0 && value("annals_log_bytes", &[]) > 0.0);
    assert_eq!(value("annals_part_running", &[("part", "raft")]), 1.0);
    let leads = cluster.name(leader);
    for number in cluster.others(leader) {
        let name = cluster.name(number);
        assert_eq!(value("annals_peer_connected", &[("peer", name)]), 1.0);
        let of_follower = metrics_of(cluster.node(number)).await;
        let value = |name: &str| of_follower[name].value(&[]).unwrap();
        assert_eq!(value("annals_raft_is_leader"), 0.0);
        assert_eq!(value("annals_raft_has_leader"), 1.0);
        assert_eq!(value("annals_log_high_watermark_offset"), offsets);
        let connected = &of_follower["annals_peer_connected"];
        assert_eq!(connected.value(&[("peer", leads)]), Some(1.0));
        assert!(!of_follower.contains_key("annals_peer_lag_entries"));
    }
    cluster.stop().await;
}
