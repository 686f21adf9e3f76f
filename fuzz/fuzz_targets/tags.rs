//! What a node says of itself in gossip is clean, or refused: no text of it could not stand in a log line or be connected
//! to, it comes back the same, and it is that node's own.
//!
//! Input: the tags.

#![no_main]

use annals::{
    actors::membership::{Standing, TAGS_BYTES_MAX, Tags},
    types::{ClusterId, NodeId},
};
use annals_fuzz::{format::u64_at, seeds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: seeds::plant("tags", seeds()), |input: &[u8]| {
    let id = input.get(3..11).map_or(0, |bytes| u64_at(bytes, 0)).to_string();
    let Ok(tags) = Tags::decode(&id, input) else {
        return;
    };
    let texts = [&tags.node_name, &tags.cluster_name, &tags.program_version];
    assert!(texts.into_iter().chain(&tags.rpc_address).all(|text| text.bytes().all(|byte| byte.is_ascii_graphic())));
    let again = tags.encode().expect("what is read can be written");
    assert!(again.len() <= input.len().min(TAGS_BYTES_MAX));
    assert_eq!(Tags::decode(&id, &again), Ok(tags));
    assert!(Tags::decode("another", input).is_err());
});

fn seeds() -> Vec<Vec<u8>> {
    let of = |standing, cluster_id, rpc_address: Option<&str>| Tags {
        node_id: NodeId(7),
        node_name: "node-0".to_owned(),
        cluster_name: "annals".to_owned(),
        cluster_id,
        rpc_address: rpc_address.map(str::to_owned),
        standing,
        has_data: true,
        program_version: "0.1.0".to_owned(),
    };
    let all = [
        of(Standing::Joining, None, None),
        of(
            Standing::Member,
            Some(ClusterId(9)),
            Some("node-0.example.com:8400"),
        ),
        of(Standing::Leaving, Some(ClusterId(9)), Some("[::1]:8400")),
    ];
    all.iter()
        .map(|tags| tags.encode().expect("they are right"))
        .collect()
}
