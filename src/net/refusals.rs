//! Who is refused at the entrance, and what is told of it: the 1st, 2nd, 4th, 8th time of each kind, since under attack there would
//! be a line for each connection.

use std::{
    collections::HashMap,
    fmt::Display,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use slog::{Logger, error, warn};
use tokio::sync::watch;

use crate::tls::TlsFailure;

/// Kinds of refusal that are counted apart; more than that is an attack, and counted as one.
const KINDS_MAX: usize = 256;

/// Why the last one who called as a peer was refused, for a node that waits to be taken into its cluster. Clones are the same.
#[derive(Clone, Debug)]
pub struct PeerRefusal(Arc<watch::Sender<Option<String>>>);

impl PeerRefusal {
    /// Nobody was refused yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::channel(None).0))
    }

    /// The last one, now and later.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.0.subscribe()
    }

    pub(super) fn note(&self, from: IpAddr, why: &dyn Display) {
        let text = format!("a peer at {from} was refused: {why}");
        self.0.send_if_modified(|last| {
            let is_other = last.as_deref() != Some(&text);
            *last = Some(text);
            is_other
        });
    }
}

impl Default for PeerRefusal {
    fn default() -> Self {
        Self::new()
    }
}

/// How many were refused since the gateway's start.
#[derive(Debug, Default)]
pub struct RefusalCounts {
    clients: AtomicU64,
    peers: AtomicU64,
}

impl RefusalCounts {
    /// Who came as clients.
    #[must_use]
    pub fn clients(&self) -> u64 {
        self.clients.load(Ordering::Relaxed)
    }

    /// Who said that they are peers.
    #[must_use]
    pub fn peers(&self) -> u64 {
        self.peers.load(Ordering::Relaxed)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Refusals {
    kinds: Mutex<HashMap<(IpAddr, String), u64>>,
    counts: Arc<RefusalCounts>,
    last_of_peers: PeerRefusal,
    log: Logger,
}

impl Refusals {
    /// Counts in `counts`, and says the last of peers to `last_of_peers`.
    #[must_use]
    pub fn new(counts: Arc<RefusalCounts>, last_of_peers: PeerRefusal, log: Logger) -> Self {
        Self {
            kinds: Mutex::default(),
            counts,
            last_of_peers,
            log,
        }
    }

    /// One who came as a client.
    pub(super) fn client(&self, from: SocketAddr, why: &dyn Display) {
        self.counts.clients.fetch_add(1, Ordering::Relaxed);
        if let Some(times) = self.count(from, why) {
            warn!(self.log, "refused a client"; "from" => %from, "why" => %why, "times" => times);
        }
    }

    /// One who said that it is a peer. Loudly where it is about who is who: somebody poses as a node, or a node cannot come back.
    pub(super) fn peer(&self, from: SocketAddr, failure: &TlsFailure) {
        self.note_peer(from, failure);
        let Some(times) = self.count(from, failure) else {
            return;
        };
        if failure.is_refusal() {
            error!(self.log, "refused a peer; nothing is exchanged";
                "from" => %from, "why" => %failure, "times" => times);
        } else {
            warn!(self.log, "no handshake with a peer"; "from" => %from, "why" => %failure, "times" => times);
        }
    }

    /// One who said that it is a peer, for a reason that has nothing to do with who it is.
    pub(super) fn crowding_peer(&self, from: SocketAddr, why: &dyn Display) {
        self.counts.peers.fetch_add(1, Ordering::Relaxed);
        if let Some(times) = self.count(from, why) {
            warn!(self.log, "refused a client"; "from" => %from, "why" => %why, "times" => times);
        }
    }

    /// A peer that wants TLS from a node that has none.
    pub(super) fn peer_with_tls(&self, from: SocketAddr) {
        let why = "it speaks TLS, and this node has no [tls]: give it a certificate of the cluster, signed by the cluster's authority";
        self.note_peer(from, &why);
        if let Some(times) = self.count(from, &why) {
            error!(self.log, "refused a peer; nothing is exchanged"; "from" => %from, "why" => why, "times" => times);
        }
    }

    fn note_peer(&self, from: SocketAddr, why: &dyn Display) {
        self.counts.peers.fetch_add(1, Ordering::Relaxed);
        self.last_of_peers.note(from.ip(), why);
    }

    /// How often that was so, when it is to be told.
    fn count(&self, from: SocketAddr, why: &dyn Display) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = (from.ip(), why.to_string());
        if !kinds.contains_key(&kind) && kinds.len() >= KINDS_MAX {
            // What was told is told again rather than that new things are not.
            kinds.clear();
        }
        let count = kinds.entry(kind).or_default();
        *count += 1;
        Some(*count).filter(|count| count.is_power_of_two())
    }
}

#[cfg(test)]
mod tests {
    use slog::{Discard, o};

    use super::*;

    #[test]
    fn who_waits_hears_of_the_last_peer_that_was_refused_and_of_no_client() {
        let (counts, last) = (Arc::new(RefusalCounts::default()), PeerRefusal::new());
        let refusals = Refusals::new(counts.clone(), last.clone(), Logger::root(Discard, o!()));
        let mut heard = last.subscribe();
        let from = SocketAddr::from(([10, 0, 0, 1], 4711));
        refusals.client(from, &"it speaks without TLS");
        assert!(!heard.has_changed().unwrap());
        refusals.peer(from, &TlsFailure::Expired);
        assert_eq!(
            heard.borrow_and_update().as_deref(),
            Some("a peer at 10.0.0.1 was refused: the other side's certificate has expired")
        );
        // From another port it is the same one.
        refusals.peer(SocketAddr::from(([10, 0, 0, 1], 4712)), &TlsFailure::Expired);
        assert!(!heard.has_changed().unwrap());
        assert_eq!((counts.clients(), counts.peers()), (1, 2));
    }
}
