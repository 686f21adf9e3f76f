//! The node as clients see it: listeners, services, and the one mapping from errors to statuses.
//!
//! `services` hold the calls, one file per proto service, and `http` the routes, one file for each family; `produce` and `consume` hold what
//! they do. All stand on one [`context::Context`]. `server` puts the services behind a listener, `listener` accepts connections.

mod options;

pub mod admission;
pub mod authorization;
pub mod cluster;
pub mod cluster_json;
pub mod codec;
pub mod context;
pub mod deadline;
mod echo;
pub mod port;
mod protocol;
pub mod receive;
pub mod status;
pub mod vitals;

pub mod produce;

pub mod consume;

pub mod services;

pub mod http;
mod http2;

mod acquaintance;
pub mod admin;
mod appends;
pub mod connection;
pub mod connections;
pub mod entrance;
mod farewell;
mod guard;
mod guests;
mod handshakes;
pub mod health;
pub mod held;
mod hosts;
pub mod listener;
mod members_only;
mod metrics;
pub mod peers;
pub mod refusals;
pub mod server;
mod strangers;

pub use options::Options;
