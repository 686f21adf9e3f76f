//! Certificates and authorities are replaced while nodes run and clients are at work.

use std::sync::Arc;

use annals::{
    certs::Certificate,
    clock,
    proto::annals::v1::{ConsumeRequest, log_service_client::LogServiceClient},
};
use std::time::Duration;
use tonic::{Streaming, transport::ClientTlsConfig};

use crate::{
    speaking::signed_at,
    support::{
        certs::{Cluster, DAY, client, node},
        cluster::{self, AT_WORK, patient},
        load::ACKNOWLEDGED,
        node::{Place, TestNode, in_time, until},
        standstills::Standstills,
        tls::{CLUSTER, Credentials, calling_as, connect, replace},
    },
};

/// A stream at a node that waits for records that never come.
async fn follow(
    node: &TestNode,
    tls: &ClientTlsConfig,
) -> Streaming<annals::proto::annals::v1::ConsumeResponse> {
    let channel = connect(&node.addresses.rpc.to_string(), Some(tls));
    let request = ConsumeRequest {
        follow: true,
        ..ConsumeRequest::default()
    };
    let stream = LogServiceClient::new(channel).consume_stream(request).await;
    stream.expect("it is let in").into_inner()
}

/// What `/status` says of TLS.
async fn status(node: &TestNode) -> serde_json::Value {
    let (code, body) = node.get("/status").await;
    assert_eq!(code, 200);
    let mut status: serde_json::Value = serde_json::from_str(&body).unwrap();
    status["tls"].take()
}

/// Waits until the node has replaced its certificates so often.
async fn until_reloaded(node: &TestNode, times: u64) {
    until("a reload", async || status(node).await["reloads"] == times).await;
}

/// Waits for the end of a stream.
async fn ended(stream: &mut Streaming<annals::proto::annals::v1::ConsumeResponse>) {
    let end = in_time("the end of the stream", async {
        while let Ok(Some(_)) = stream.message().await {}
    });
    end.await;
}

/// The longest that somebody stays who is let in no longer.
const OUT_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_vouched_for_no_longer_is_out_within_seconds_and_who_still_is_stays() {
    let (old, new) = (Cluster::new(CLUSTER), Cluster::new(CLUSTER));
    let both = format!("{}{}", old.certificate, new.certificate);
    let credentials = Arc::new(Credentials::by(old));
    let files = credentials.files("node-0");
    let own = new.sign(&node("node-0"), DAY);
    credentials.put(&files, &own, &both);
    let node = TestNode::start(&Place::real().secured(&credentials)).await;
    let old_client = calling_as(&credentials.sign(&client("old")), &both);
    let new_client = calling_as(&new.sign(&client("new"), DAY), &both);
    let (mut leaving, mut staying) = (follow(&node, &old_client).await, follow(&node, &new_client).await);
    let standstills = Standstills::watch();
    let since = clock::now();
    replace(&files.authorities, &new.certificate);
    ended(&mut leaving).await;
    let took = standstills.ran_since(since);
    assert!(took < OUT_WITHIN, "{took:?}");
    assert!(
        LogServiceClient::new(connect(&node.addresses.rpc.to_string(), Some(&old_client)))
            .describe_log(annals::proto::annals::v1::DescribeLogRequest::default())
            .await
            .is_err()
    );
    // Two more looks through all that are open leave the other one alone.
    let own = new.sign(&crate::support::certs::node("node-0"), DAY);
    credentials.put(&files, &own, &new.certificate);
    until_reloaded(&node, 2).await;
    let reloaded = node.lines.beginning("reloaded");
    assert!(
        reloaded[0].contains("it believes 1 authority now, 2 authorities before"),
        "{reloaded:?}"
    );
    let more = tokio::time::timeout(Duration::from_secs(2), staying.message());
    assert!(more.await.is_err(), "nothing came and nothing ended");
    let told = node.lines.beginning("closed a connection: nobody vouches");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("who=annals://annals/client/old"), "{told:?}");
    drop((leaving, staying));
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_expires_while_connected_is_out_within_seconds() {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let node = TestNode::start(&Place::real().secured(&credentials)).await;
    let terms = annals::certs::Terms {
        now: clock::wall(),
        valid_for: Duration::from_secs(6),
    };
    let short = signed_at(&credentials.authority, &client("short"), terms);
    let not_after = Certificate::from_pem(short.certificate.as_bytes())
        .unwrap()
        .not_after;
    let mut stream = follow(&node, &calling_as(&short, &credentials.authority.certificate)).await;
    let standstills = Standstills::watch();
    let left = not_after.0.saturating_sub(clock::wall().0);
    let due = clock::now() + Duration::from_millis(left);
    ended(&mut stream).await;
    assert!(clock::wall() >= not_after, "not before its end");
    let late = standstills.ran_since(due);
    assert!(late < OUT_WITHIN, "{late:?}");
    drop(stream);
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_changes_nothing_and_is_told_once() {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let node_place = Place::real().secured(&credentials);
    let node_running = TestNode::start(&node_place).await;
    let files = credentials.files("node-0");
    let before = status(&node_running).await["certificate"]["fingerprint"].clone();
    let mut stream = follow(&node_running, &credentials.client("app")).await;
    let failures = async |times: u64| {
        until("a refused reload", async || {
            status(&node_running).await["reload_failures"] == times
        })
        .await;
    };
    let told = || {
        node_running
            .lines
            .beginning("cannot reload; what was in force stays so")
            .len()
    };
    // The key of another certificate: half of a replacement.
    replace(&files.key, &credentials.sign(&node("node-0")).key);
    failures(1).await;
    assert_eq!(told(), 1);
    replace(&files.key, "nothing");
    failures(2).await;
    std::fs::remove_file(&files.authorities).unwrap();
    failures(3).await;
    let problem = status(&node_running).await["reload_problem"].clone();
    assert!(problem.as_str().unwrap().contains("cannot read it"), "{problem}");
    assert_eq!(status(&node_running).await["certificate"]["fingerprint"], before);
    // Whoever asks is answered each time.
    for times in 4..6 {
        node_running.control.reload();
        until("an answer", async || told() == times).await;
    }
    assert_eq!(status(&node_running).await["reload_failures"], 3);
    let more = tokio::time::timeout(Duration::from_millis(100), stream.message());
    assert!(more.await.is_err(), "nobody was closed");
    // And then it is put right.
    let own = credentials.sign(&node("node-0"));
    credentials.put(&files, &own, &credentials.authority.certificate);
    until_reloaded(&node_running, 1).await;
    let status = status(&node_running).await;
    assert_ne!(status["certificate"]["fingerprint"], before);
    assert_eq!(status["reload_problem"], serde_json::Value::Null);
    drop(stream);
    node_running.shut_down().await;
}

/// As Kubernetes does: files are links to links into a directory, and one of the links is swapped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_link_is_noticed() {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let files = credentials.files("node-0");
    let folder = files.certificate.parent().unwrap().to_owned();
    let ca = &credentials.authority.certificate;
    let own_name = || node("node-0");
    for version in ["v1", "v2"] {
        let own = credentials.sign(&own_name());
        std::fs::create_dir(folder.join(version)).unwrap();
        for (file, text) in [("pem", &own.certificate), ("key", &own.key), ("ca.pem", ca)] {
            std::fs::write(folder.join(version).join(file), text).unwrap();
        }
    }
    std::os::unix::fs::symlink("v1", folder.join("..data")).unwrap();
    for (path, file) in [
        (&files.certificate, "pem"),
        (&files.key, "key"),
        (&files.authorities, "ca.pem"),
    ] {
        std::os::unix::fs::symlink(format!("..data/{file}"), path).unwrap();
    }
    let node = TestNode::start(&Place::real().secured(&credentials)).await;
    std::os::unix::fs::symlink("v2", folder.join("..new")).unwrap();
    std::fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    until_reloaded(&node, 1).await;
    let wanted = std::fs::read(folder.join("v2/pem")).unwrap();
    let wanted = Certificate::from_pem(&wanted).unwrap().fingerprint().to_string();
    assert_eq!(status(&node).await["certificate"]["fingerprint"], wanted);
    node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_told_of_before_it_expires() {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let files = credentials.files("node-0");
    let own = |valid_for| credentials.authority.sign(&node("node-0"), valid_for);
    let ca = &credentials.authority.certificate;
    credentials.put(&files, &own(DAY * 40), ca);
    let node = TestNode::start(&Place::real().secured(&credentials)).await;
    let told = || node.lines.beginning("a certificate expires soon");
    for (times, days) in [(1, 29), (2, 5)] {
        assert_eq!(told().len(), times - 1);
        credentials.put(&files, &own(DAY * days), ca);
        until("it to be told", async || told().len() == times).await;
        let line = told().remove(times - 1);
        assert!(line.contains(&format!("days_left={}", days - 1)), "{line}");
    }
    node.shut_down().await;
}

/// Nobody is let in then, so that it is the probes of the admin listener that must say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_certificate_has_expired_is_not_ready_until_it_has_another() {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let files = credentials.files("node-0");
    let running = TestNode::start(&Place::real().secured(&credentials)).await;
    let (code, text) = running.get("/readyz?verbose").await;
    assert_eq!(code, 200, "{text}");
    assert!(text.contains("[+] certificate ok"), "{text}");

    let terms = annals::certs::Terms {
        now: clock::wall(),
        // The machine may stand still before it is in force.
        valid_for: Duration::from_secs(10),
    };
    let short = signed_at(&credentials.authority, &node("node-0"), terms);
    credentials.put(&files, &short, &credentials.authority.certificate);
    until_reloaded(&running, 1).await;
    until("it to expire", async || running.get("/readyz").await.0 == 503).await;
    let (_, text) = running.get("/readyz").await;
    assert!(
        text.starts_with("[-] certificate failed: the certificate expired at 2"),
        "{text}"
    );
    assert!(text.contains("annals certs renew"), "{text}");
    assert_eq!(text.lines().count(), 1, "nothing else fails: {text}");

    let renewed = credentials.authority.sign(&node("node-0"), DAY);
    credentials.put(&files, &renewed, &credentials.authority.certificate);
    until("it to be ready", async || running.get("/readyz").await.0 == 200).await;
    running.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_authorities_are_replaced_under_load_and_no_request_fails() {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let new = Cluster::new(CLUSTER);
    let both = format!("{}{}", credentials.authority.certificate, new.certificate);
    let cluster = cluster::Cluster::found_secured_by(&credentials, 3, patient).await;
    let load = cluster.patient_load().await;
    let all = |number: usize| (cluster.node(number), credentials.files(cluster.name(number)));
    // First whom they believe, then who they are.
    for number in 0..3 {
        replace(&all(number).1.authorities, &both);
    }
    for number in 0..3 {
        until_reloaded(all(number).0, 1).await;
    }
    load.progresses(AT_WORK).await;
    for number in 0..3 {
        let (node, files) = all(number);
        let own = new.sign(&crate::support::certs::node(cluster.name(number)), DAY);
        credentials.put(&files, &own, &both);
        until_reloaded(node, 2).await;
    }
    load.progresses(AT_WORK).await;
    // Nobody but the clients has a certificate of the old authority; peers made their links with the old ones.
    let (answers, summary) = cluster.judge(load).await;
    answers.assert_produced_only(&[ACKNOWLEDGED]);
    answers.assert_reads_refused_only(cluster.refusals_of_a_standstill());
    assert_eq!(summary.contents, 3);
    for number in 0..3 {
        let (node, files) = all(number);
        let lost = node.lines.beginning("lost the connection to a peer");
        assert!(
            lost.is_empty(),
            "links stay while both authorities are believed: {lost:?}"
        );
        replace(&files.authorities, &new.certificate);
    }
    for number in 0..3 {
        until_reloaded(all(number).0, 3).await;
    }
    // The links come back under the new certificates, and clients of the new authority are at work.
    until("links under the new certificates", async || {
        (0..3).all(|number| {
            let links = cluster.node(number).refs.links.status();
            links.iter().all(|(_, link, _)| link.connected)
        })
    })
    .await;
    let channel = calling_as(&new.sign(&client("app"), DAY), &new.certificate);
    for number in 0..3 {
        let address = cluster.node(number).addresses.rpc.to_string();
        let mut client = LogServiceClient::new(connect(&address, Some(&channel)));
        let described = client.describe_log(annals::proto::annals::v1::DescribeLogRequest::default());
        described.await.unwrap();
    }
    cluster.stop().await;
}
