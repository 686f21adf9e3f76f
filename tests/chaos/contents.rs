//! All that a node has, at the end.

use annals::client::{Client, Position};

use crate::{
    clients::seen,
    support::log_checker::{Contents, Level, Node, Recorder},
};

/// Reads all of one node through nobody else, and notes it; how many records that is.
pub(crate) async fn read_all(node: usize, rpc: &str, recorder: &Recorder) -> u64 {
    let name = format!("node-{node}");
    let notes = recorder.client(format!("full read of {name}"));
    let client = Client::builder().address(rpc).only_these_addresses();
    let client = client.connect().await.unwrap();
    let began = notes.now();
    // Once this is answered, the node itself has all that was acknowledged.
    client.read_from(Position::Latest).await.unwrap();
    let described = client.describe().await.unwrap();
    let mut consumer = client.consumer().until(described.high_watermark).build();
    let mut records = Vec::new();
    while let Some(stored) = consumer.next().await {
        records.push(seen(&stored.unwrap()));
    }
    let count = records.len() as u64;
    notes.contents(Contents {
        node: Node::new(&name, 0),
        level: Level::Linearizable,
        began,
        ended: began,
        earliest: described.earliest,
        high_watermark: described.high_watermark,
        records: records.into(),
    });
    count
}
