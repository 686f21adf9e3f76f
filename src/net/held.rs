//! Which process of a peer a connection is with, found out by its first call.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    actors::peer::{Hold, Incarnation, Incarnations, Rival},
    types::NodeId,
};

/// What the calls of a connection share. Clones are the same.
#[derive(Clone, Debug)]
pub struct Held {
    address: Option<SocketAddr>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    /// Nobody has called on it yet, or clients do.
    Free,
    /// It is one of that process.
    By(Hold),
    /// It has ended.
    Closed,
}

impl Held {
    /// That of a connection with whoever is at `address`.
    #[must_use]
    pub fn new(address: Option<SocketAddr>) -> Self {
        Self {
            address,
            state: Arc::new(Mutex::new(State::Free)),
        }
    }

    /// That process of the node calls.
    ///
    /// Errors: another process is the node, or another process has called on this connection.
    pub fn called_by(
        &self,
        peers: &Incarnations,
        node: NodeId,
        incarnation: Incarnation,
    ) -> Result<(), Rival> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::By(hold) = &*state
            && hold.is_of(node, incarnation)
        {
            return Ok(());
        }
        let address = self
            .address
            .map_or_else(|| "nowhere".to_owned(), |address| address.to_string());
        let hold = peers.hold(node, incarnation, &address)?;
        // A call of a connection that has ended holds nothing: nobody would let go of it.
        if !matches!(*state, State::Closed) {
            *state = State::By(hold);
        }
        Ok(())
    }

    /// The connection has ended.
    pub fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::Closed;
    }
}
