//! Several nodes: any of them answers anything.

use serde_json::json;

use crate::support::{
    cluster::Cluster,
    http::{get, post},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_takes_records_for_the_leader_and_shows_what_was_acknowledged() {
    let cluster = Cluster::found_steady(3).await;
    for (offset, number) in cluster.running().into_iter().enumerate() {
        let rpc = cluster.node(number).addresses.rpc;
        let produced = post(rpc, "/", &json!({ "record": { "text": number.to_string() } })).await;
        assert_eq!(produced.text(), format!("{{\"offset\":{offset}}}\n"));
        // Linearizable, and so on each of them at once.
        for number in cluster.running() {
            let read = get(cluster.node(number).addresses.rpc, "/v1/records").await;
            assert_eq!(read.json()["next_offset"], offset + 1, "{}", read.text());
        }
    }
    let (mut leaders, ids) = (
        Vec::new(),
        cluster
            .running()
            .into_iter()
            .map(|number| cluster.id(number).to_string()),
    );
    let mut ids: Vec<_> = ids.collect();
    ids.sort();
    for number in cluster.running() {
        let shown = get(cluster.node(number).addresses.rpc, "/v1/cluster")
            .await
            .json();
        let nodes = shown["nodes"].as_array().unwrap();
        let mut shown_ids: Vec<_> = nodes
            .iter()
            .map(|node| node["id"].as_str().unwrap().to_owned())
            .collect();
        shown_ids.sort();
        assert_eq!(shown_ids, ids);
        assert!(nodes.iter().all(|node| node["answered"] == true), "{shown}");
        leaders.push(shown["leader"].as_str().unwrap().to_owned());
    }
    leaders.dedup();
    assert_eq!(leaders.len(), 1, "{leaders:?}");
    cluster.stop().await;
}
