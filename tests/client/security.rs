//! Clusters that ask who somebody is.

use std::sync::Arc;

use annals::client::{Client, ErrorKind, Offset};

use crate::support::{
    certs::client as client_named,
    cluster::{Cluster, patient},
    tls::{CLUSTER, Credentials},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_a_certificate_finds_all_nodes_and_who_has_none_is_told() {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let cluster = Cluster::found_secured_by(&credentials, 3, patient).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let own = credentials.sign(&client_named("app"));
    std::fs::write(path("ca.pem"), &credentials.authority.certificate).unwrap();
    std::fs::write(path("app.pem"), &own.certificate).unwrap();
    std::fs::write(path("app.key"), &own.key).unwrap();
    let builder = || {
        Client::builder()
            .address(cluster.node(0).addresses.rpc)
            .tls(path("ca.pem"))
    };

    let client = builder()
        .identity(path("app.pem"), path("app.key"))
        .connect()
        .await
        .unwrap();
    let producer = client.producer().build();
    for number in 0..100_u64 {
        let ticket = producer.send(format!("{number}")).await.unwrap();
        assert_eq!(ticket.await.unwrap(), Offset(number));
    }
    let leader = cluster.until_led().await;
    crate::support::node::until("a follower to be read from", async || {
        client.read(..).await.unwrap().node_id != cluster.id(leader).get()
    })
    .await;

    let error = builder().connect().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Tls { failure, .. } if failure.is_refusal()),
        "{error}"
    );
    // The refusal was said at once: where it was there before the first call, what was left of it was a connection that was lost.
    for _ in 0..30 {
        let plain = Client::builder().address(cluster.node(0).addresses.rpc);
        let error = plain.connect().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WantsTls), "{error}");
    }
    let error = builder()
        .identity(path("app.pem"), path("ca.pem"))
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("ca.pem"), "{error}");
    cluster.stop().await;
}
