//! Where nodes are, for clients of a cluster.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use annals::proto::annals::v1::log_service_client::LogServiceClient;
use tonic::transport::{Channel, ClientTlsConfig};

use crate::support::{log_checker::Node, tls::connect};

/// Connections to a node: clients share one, and the loss of one does not stop all.
const CONNECTIONS: usize = 2;

/// The nodes of a cluster, each by its name. Clones are the same.
///
/// Who ends or starts a node says so here, since a node that has been restarted may know less at first: call
/// [`Nodes::ends`] once its process is no more, before the next one starts, and [`Nodes::starts`] once that one serves.
/// Actors that are restarted inside a process are no such thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes {
    members: Arc<Mutex<Arc<Vec<Member>>>>,
    /// How they are called; `None`: nothing is encrypted.
    caller: Option<ClientTlsConfig>,
}

/// A node as clients know it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) node: Node,
    pub(super) address: String,
    runs: bool,
    /// As it introduced itself last; zero before that.
    id: Arc<AtomicU64>,
    channels: Vec<Channel>,
}

impl Nodes {
    /// These, in their first lives.
    pub(crate) fn of<'a>(nodes: impl IntoIterator<Item = (&'a str, SocketAddr)>) -> Self {
        let all = Self::default();
        for (name, address) in nodes {
            all.starts(name, address);
        }
        all
    }

    /// None yet, each to be called in that way.
    pub(crate) fn called_as(caller: Option<ClientTlsConfig>) -> Self {
        Self {
            members: Arc::default(),
            caller,
        }
    }

    /// One of them alone, at this address, called in the same way.
    pub(crate) fn only(&self, name: &str, address: SocketAddr) -> Self {
        let one = Self::called_as(self.caller.clone());
        one.starts(name, address);
        one
    }

    /// A connection, in the same way, that is made when it is used first.
    pub(super) fn connect(&self, address: &str) -> Channel {
        connect(address, self.caller.as_ref())
    }

    /// A node, new or in its next life, serves at this address.
    pub(crate) fn starts(&self, name: &str, address: SocketAddr) {
        let mut members = self.lock();
        let members = Arc::make_mut(&mut members);
        let address = address.to_string();
        let channels = (0..CONNECTIONS).map(|_| self.connect(&address)).collect();
        match members.iter_mut().find(|member| &*member.node.name == name) {
            Some(member) => {
                member.node.life += u32::from(member.runs);
                (member.runs, member.address, member.channels) = (true, address, channels);
            }
            None => members.push(Member {
                node: Node::new(name, 0),
                address,
                runs: true,
                id: Arc::default(),
                channels,
            }),
        }
    }

    /// The node's process has ended. Clients still try it, as real ones would.
    pub(crate) fn ends(&self, name: &str) {
        let mut members = self.lock();
        for member in Arc::make_mut(&mut members) {
            if &*member.node.name == name && member.runs {
                (member.runs, member.node.life) = (false, member.node.life + 1);
            }
        }
    }

    /// Clients forget the node.
    pub(crate) fn leaves(&self, name: &str) {
        Arc::make_mut(&mut self.lock()).retain(|member| &*member.node.name != name);
    }

    /// The names of those that run.
    pub(crate) fn running(&self) -> Vec<String> {
        let members = self.members();
        let running = members.iter().filter(|member| member.runs);
        running.map(|member| member.node.name.to_string()).collect()
    }

    /// As they are now.
    pub(super) fn members(&self) -> Arc<Vec<Member>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Vec<Member>>> {
        self.members.lock().expect("no call panics while it has the lock")
    }
}

impl Member {
    /// A client; which of the connections it shares goes by its number.
    pub(super) fn client(&self, number: usize) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channels[number % self.channels.len()].clone())
    }

    /// It has told its id itself.
    pub(super) fn introduced(&self, id: u64) {
        self.id.store(id, Ordering::Relaxed);
    }

    pub(super) fn has_id(&self, id: u64) -> bool {
        id != 0 && self.id.load(Ordering::Relaxed) == id
    }
}
