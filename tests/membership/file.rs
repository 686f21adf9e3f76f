//! The file `peers`, as it serves a node that starts again.

use std::fs;

use crate::node::{Node, Place, all_reach_each_other, three, until};

async fn remembers(node: &Node, others: &[&Node]) {
    let path = node.place.peers_file();
    until("the file of peers", || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        others
            .iter()
            .all(|other| text.contains(&format!(" {} {}\n", other.address(), other.place.name)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_find_each_other_again_without_a_seed() {
    let [first, second, third] = three().await;
    remembers(&first, &[&second, &third]).await;
    remembers(&second, &[&first, &third]).await;
    remembers(&third, &[&first, &second]).await;
    let places = [&first, &second, &third].map(|node| node.place.clone().at_port_of(node).without_seeds());
    first.kill();
    second.kill();
    third.kill();
    let first = Node::start(&places[0]).await;
    let second = Node::start(&places[1]).await;
    let third = Node::start(&places[2]).await;
    all_reach_each_other(&[&first, &second, &third]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_were_not_seen_again_yet_stay_in_the_file() {
    let [first, second, third] = three().await;
    remembers(&first, &[&second, &third]).await;
    let place = first.place.clone().at_port_of(&first);
    let third_line = format!(" {} node-3\n", third.address());
    first.kill();
    third.kill();
    let new = Place::new(4).with_seed(&second);
    let new = Node::start(&new).await;
    let first = Node::start(&place).await;
    remembers(&first, &[&second, &new]).await;
    let text = fs::read_to_string(first.place.peers_file()).unwrap();
    assert!(text.contains(&third_line), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_ignored_with_a_warning_and_written_anew() {
    let [first, second, third] = three().await;
    // What it is still writing when it is killed would be written over the rubbish.
    remembers(&third, &[&first, &second]).await;
    let place = third.place.clone().at_port_of(&third);
    third.kill();
    fs::write(place.peers_file(), "annals peers 1\nrubbish\n").unwrap();
    let third = Node::start(&place).await;
    let line = third.says("the file of peers is ignored").await;
    assert!(line.contains("it is damaged"), "{line}");
    all_reach_each_other(&[&first, &second, &third]).await;
    remembers(&third, &[&first, &second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_written_is_a_warning_and_no_more() {
    let first = Node::start(&Place::new(1)).await;
    let place = Place::new(2).with_seed(&first);
    // A directory in its place cannot be removed as a file, nor replaced.
    fs::create_dir(place.peers_file().with_extension("new")).unwrap();
    let second = Node::start(&place).await;
    all_reach_each_other(&[&first, &second]).await;
    second.says("cannot write the file of peers").await;
    assert_eq!(second.status().await.restarts, 0);
}
