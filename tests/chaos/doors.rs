//! A door to each node, through which its peers and its clients come. It knows who knocks, so a node can be cut off from
//! the others while clients still reach it: what is sent is not lost, as TCP would send it again, but comes only when the cut is over.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

const LOCK: &str = "no call panics while it has the lock";

/// Where a node is in its present life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behind {
    pub(crate) rpc: SocketAddr,
    pub(crate) process: u32,
}

/// The doors of all nodes.
pub(crate) struct Doors {
    /// Where nodes say that they are reached, each in its order.
    pub(crate) addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

struct Shared {
    behind: Mutex<Vec<Option<Behind>>>,
    /// The node that is cut off from the others.
    cut_off: watch::Sender<Option<usize>>,
    /// How often something between nodes had to wait.
    held_back: AtomicU64,
}

/// Who is at the ends of a connection. `from`: a node, or else a client.
#[derive(Clone, Copy)]
struct Ends {
    from: Option<usize>,
    to: usize,
}

impl Ends {
    fn is_severed(self, cut_off: Option<usize>) -> bool {
        let is_between_nodes = self.from.is_some_and(|from| from != self.to);
        is_between_nodes && cut_off.is_some() && (cut_off == self.from || cut_off == Some(self.to))
    }
}

impl Doors {
    pub(crate) async fn new(count: usize) -> Self {
        let shared = Arc::new(Shared {
            behind: Mutex::new(vec![None; count]),
            cut_off: watch::Sender::new(None),
            held_back: AtomicU64::new(0),
        });
        let mut addresses = Vec::new();
        for to in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            tokio::spawn(serve(listener, to, Arc::clone(&shared)));
        }
        Self { addresses, shared }
    }

    /// Who comes from now on is led there; `None`: is sent away.
    pub(crate) fn lead_to(&self, node: usize, behind: Option<Behind>) {
        self.shared.behind.lock().expect(LOCK)[node] = behind;
    }

    /// Cuts that node off from the others; `None`: nobody is any more.
    pub(crate) fn cut_off(&self, node: Option<usize>) {
        self.shared.cut_off.send_replace(node);
    }

    /// How often something between nodes had to wait.
    pub(crate) fn held_back(&self) -> u64 {
        self.shared.held_back.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, to: usize, shared: Arc<Shared>) {
    let door = listener.local_addr().unwrap().port();
    while let Ok((visitor, address)) = listener.accept().await {
        let behind = shared.behind.lock().expect(LOCK).clone();
        let from = owner(address.port(), door, &behind);
        let Some(Behind { rpc, .. }) = behind[to] else {
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Ok(node) = TcpStream::connect(rpc).await {
                pass(visitor, node, Ends { from, to }, &shared).await;
            }
        });
    }
}

/// The node whose process has the connection between these ports, if one does.
fn owner(visitor: u16, door: u16, behind: &[Option<Behind>]) -> Option<usize> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    // Thousands of lines where much was connected in the last minute: they are searched as they are.
    let (_, rest) = table.split_once(&format!("0100007F:{visitor:04X} 0100007F:{door:04X} "))?;
    // Behind the addresses: state, queues, timer, retransmissions, user, timeout.
    let inode = format!("socket:[{}]", rest.split_whitespace().nth(6)?);
    let has_it = |behind: &Behind| {
        // A process that has just ended has nothing.
        let Ok(files) = fs::read_dir(format!("/proc/{}/fd", behind.process)) else {
            return false;
        };
        let mut links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        links.any(|link| link.as_os_str() == inode.as_str())
    };
    behind
        .iter()
        .position(|behind| behind.as_ref().is_some_and(has_it))
}

async fn pass(visitor: TcpStream, node: TcpStream, ends: Ends, shared: &Shared) {
    for stream in [&visitor, &node] {
        // It fails only for a connection that is gone.
        drop(stream.set_nodelay(true));
    }
    let ((from_visitor, to_visitor), (from_node, to_node)) = (visitor.into_split(), node.into_split());
    tokio::select! {
        () = copy(from_visitor, to_node, ends, shared) => {}
        () = copy(from_node, to_visitor, ends, shared) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, ends: Ends, shared: &Shared) {
    let mut cut_off = shared.cut_off.subscribe();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if ends.is_severed(*cut_off.borrow()) {
            shared.held_back.fetch_add(1, Ordering::Relaxed);
        }
        let is_open = cut_off
            .wait_for(|cut_off| !ends.is_severed(*cut_off))
            .await
            .is_ok();
        if !is_open || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
