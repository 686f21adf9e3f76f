//! A way to a node that counts what passes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use annals::client::{Client, ClientBuilder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use crate::support::cluster::Cluster;

/// Passes connections on to a node.
pub(crate) struct Passage {
    pub(crate) address: SocketAddr,
    /// Bytes to the node.
    up: Arc<AtomicU64>,
}

impl Passage {
    pub(crate) async fn to(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let up = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&up);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(node) = TcpStream::connect(node).await {
                    tokio::spawn(pass(client, node, Arc::clone(&counter)));
                }
            }
        });
        Self { address, up }
    }

    pub(crate) fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }
}

async fn pass(client: TcpStream, node: TcpStream, up: Arc<AtomicU64>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_node, mut to_node) = node.into_split();
    let upwards = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            up.fetch_add(count as u64, Ordering::Relaxed);
            if to_node.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = upwards => {}
        _ = copy(&mut from_node, &mut to_client) => {}
    }
}

/// One to each node, in their order.
pub(crate) async fn passages(cluster: &Cluster) -> Vec<Passage> {
    let mut passages = Vec::new();
    for number in cluster.running() {
        passages.push(Passage::to(cluster.node(number).addresses.rpc).await);
    }
    passages
}

/// A client of a cluster that is told of one node, and looks at all often.
pub(crate) fn client_of(cluster: &Cluster) -> ClientBuilder {
    let known = cluster.running()[0];
    Client::builder()
        .address(cluster.node(known).addresses.rpc)
        .look_every(std::time::Duration::from_millis(200))
}
