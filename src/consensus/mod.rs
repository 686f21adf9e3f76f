//! The glue to openraft: its types, its log store and its state machine over the one log on disk, its network over gRPC.
//!
//! openraft's types stay in here and in RaftActor, so that an upgrade touches two places (ADR 0001). Below the actors:
//! what is asked of LogActor and of the replicators goes through traits.

pub mod types;

pub mod messages;

pub mod codec;

pub mod links;

pub mod network;
