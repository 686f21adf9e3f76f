//! The glue to openraft: its types, its log store and its state machine over the one log on disk, its network over gRPC
//! and, for appends, over a connection in parcels of our own.
//!
//! openraft's types stay in here and in RaftActor, so that an upgrade touches two places (ADR 0001). Below the actors:
//! what is asked of LogActor and of the replicators goes through traits.

pub mod types;

mod cursor_board;
pub mod damage;
pub mod full_peers;
mod gather;
mod hold;
mod landing;
pub mod log_port;
mod log_store;
mod pieces;
mod shared;
pub mod snapshot;
mod state_machine;
mod window;

pub mod appends;
pub mod codec;
pub mod contradiction;
pub mod links;
pub mod messages;
pub mod network;

pub mod start;

pub use cursor_board::CursorBoard;
pub use damage::DamageBoard;
pub use log_store::LogStore;
pub use network::PeerNetworks;
pub use shared::Recovered;
pub use start::{Consensus, Timing};
pub use state_machine::StateMachine;

/// The handle of one log's consensus. Cheap to clone.
pub type Raft = openraft::Raft<types::TypeConfig, StateMachine>;
