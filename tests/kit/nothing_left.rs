//! Tests that fail clean up.

use std::{fs, sync::mpsc, thread};

use annals::testing::{TestCluster, until};

use crate::AT_WORK;

/// The threads that nodes have, by how what the system calls them begins. The log's is one of actix.
const OF_NODES: [&str; 5] = ["node", "consensus", "actix-rt", "prepare", "reaper"];

fn threads_of_nodes() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    // One that ends now has no name any more.
    let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    let mut names: Vec<_> = names.map(|name| name.trim().to_owned()).collect();
    names.retain(|name| OF_NODES.iter().any(|start| name.starts_with(start)));
    names
}

#[tokio::test]
async fn a_test_that_panics_leaves_no_threads_and_no_directories_behind() {
    let _alone = AT_WORK.write().await;
    let (sender, seen) = mpsc::channel();
    let test = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let cluster = TestCluster::start(3).await;
            cluster.produce(["one"]).await;
            cluster.cut(cluster.leader().await);
            let directories = (0..3).map(|number| cluster.place(number).directory().to_owned());
            let directories: Vec<_> = directories.filter(|directory| directory.exists()).collect();
            sender.send((directories, threads_of_nodes())).unwrap();
            panic!("as a test does that fails");
        });
    });
    assert!(test.join().is_err());
    let (directories, threads) = seen.recv().unwrap();
    assert_eq!(directories.len(), 3);
    assert!(threads.len() >= 3 * 4, "where are the nodes? only {threads:?}");
    for directory in directories {
        assert!(!directory.exists(), "{} is left", directory.display());
    }
    // The last of them are about to return.
    until("all threads of nodes to be gone", async || {
        threads_of_nodes().is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_any_more_leaves_nothing_behind() {
    let _alone = AT_WORK.write().await;
    let mut starts = Box::pin(TestCluster::start(3));
    tokio::select! {
        _ = &mut starts => panic!("it has started all of them meanwhile"),
        () = until("the first node to be there", async || !threads_of_nodes().is_empty()) => {}
    }
    drop(starts);
    until("all threads of nodes to be gone", async || {
        threads_of_nodes().is_empty()
    })
    .await;
}
