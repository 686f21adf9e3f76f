//! Connections to the port of gossip by whoever reaches it.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::node::{DEADLINE, Node, Place, all_reach_each_other};

/// Encrypted, plain, compressed, compound, with a checksum: the tags of `memberlist-proto`, and a length of 4 GiB.
const CLAIMS: [&[u8]; 5] = [
    b"\x0f\x00\xff\xff\xff\xff",
    b"\x08\xff\xff\xff\xff\x0f",
    b"\x0e\x00\x00\x00\x00\x00\x09\xff\xff\xff\xff",
    b"\x01\x09\xff\xff\xff\xff",
    b"\x0d\x01\xff\xff\xff\xff",
];

/// More than two sockets hold, and much less than is sent in the seconds that a message may take.
const KERNEL_BYTES_MAX: usize = 32 << 20;

/// Whether the other side closes it, having read no more than the claim.
async fn is_closed(mut connection: TcpStream) -> bool {
    let mut heard = Vec::new();
    let closed = timeout(DEADLINE, connection.read_to_end(&mut heard)).await;
    closed.is_ok()
}

/// memberlist set four gigabytes aside for each such message, and filled them with whatever came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_claims_gigabytes_is_refused_when_its_length_is_read() {
    for place in [Place::new(1), Place::new(1).with_key(1)] {
        let node = Node::start(&place).await;
        for claim in CLAIMS {
            let mut connection = TcpStream::connect(node.address()).await.unwrap();
            connection.write_all(claim).await.unwrap();
            let mut sent = 0;
            let send_more = async {
                while connection.write_all(&[0; 64 << 10]).await.is_ok() {
                    sent += 64 << 10;
                }
            };
            timeout(DEADLINE, send_more).await.expect("it is closed");
            assert!(sent < KERNEL_BYTES_MAX, "{sent} bytes were taken of {claim:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_keep_nobody_out() {
    let first = Node::start(&Place::new(1)).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(first.address()).await.unwrap());
    }
    // The last are too many, and closed at once, long before the first are given up.
    assert!(is_closed(silent.pop().unwrap()).await);
    let second = Node::start(&Place::new(2).with_seed(&first)).await;
    all_reach_each_other(&[&first, &second]).await;
    for connection in silent {
        assert!(is_closed(connection).await, "it says nothing, and is let go");
    }
}
