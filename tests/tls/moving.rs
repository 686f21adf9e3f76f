//! Somebody holds the key of gossip and no certificate, and says there where members are.
//!
//! The bug: the leader wrote the address down that gossip said, and all nodes looked for the member there alone, so that it was out for as
//! long as somebody else was heard in its name.

use std::sync::Arc;

use annals::types::NodeId;

use crate::support::{
    cluster::{Cluster, Port, patient},
    node::{Place, TestNode, until},
    tls::{CLUSTER, Credentials},
};

/// Three nodes of one authority, the last of which is down; and its data with whoever has no certificate of it.
async fn with_one_down(impostor: impl FnOnce(Place) -> Place) -> (Cluster, Place) {
    let credentials = Arc::new(Credentials::of(CLUSTER));
    let mut cluster = Cluster::found_secured_by(&credentials, 3, patient).await;
    let down = cluster.follower(cluster.until_led().await);
    cluster.kill(down).await;
    cluster.until_led().await;
    let place = impostor(cluster.place(down).copy());
    (cluster, place)
}

/// The node that is down.
fn down(cluster: &Cluster) -> usize {
    let running = cluster.running();
    (0..3).find(|number| !running.contains(number)).unwrap()
}

/// Where the membership has a node, as another one knows it.
fn known_at(cluster: &Cluster, number: usize, node: NodeId) -> String {
    let state = cluster.node(number).refs.cluster.state();
    state.members[&node].member.address.clone()
}

/// Waits until a leader was told in gossip that the node is where the impostor is, and has looked for it there.
async fn until_sought(cluster: &Cluster, impostor: &TestNode) {
    let address = format!("address={}", impostor.addresses.rpc);
    until("a leader to look for it", async || {
        cluster.running().into_iter().any(|number| {
            let told = cluster
                .node(number)
                .lines
                .beginning("a node is not where gossip says");
            told.iter().any(|line| line.contains(&address))
        })
    })
    .await;
}

async fn stays_where_it_was(impostor: impl FnOnce(Place) -> Place) {
    let (mut cluster, place) = with_one_down(impostor).await;
    let (down, witness) = (down(&cluster), cluster.running()[0]);
    let id = cluster.id(down);
    let before = known_at(&cluster, witness, id);
    let impostor = cluster.begin_at(&place).await;
    until_sought(&cluster, &impostor).await;
    assert_eq!(known_at(&cluster, witness, id), before);
    // While it is heard in its name, the node itself comes back where it was, and is found.
    cluster.start(down, Port::Same).await;
    cluster.until_level().await;
    assert_eq!(known_at(&cluster, witness, id), before);
    let leader = cluster.until_led().await;
    let view = || cluster.node(leader).refs.links.found_at(id);
    until("the leader to have found it", async || view().is_some()).await;
    assert_eq!(view(), Some(before), "nor are clients sent elsewhere");
    impostor.kill().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_stays_where_it_was_whatever_somebody_without_tls_says_of_it_in_gossip() {
    stays_where_it_was(Place::unsecured).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_stays_where_it_was_whatever_somebody_with_the_certificate_of_another_authority_says() {
    stays_where_it_was(|place| place.secured(&Arc::new(Credentials::of(CLUSTER)))).await;
}
