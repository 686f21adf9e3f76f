//! Whether a call may be made: one place in front of every method of clients (SEC-1).
//!
//! The layer stands before anything that reads a call's body. Which right a method asks for is in `methods`; a path that is not there
//! is denied. Who asks is what the connection proved; what they may is in the policy. A stream is asked about again whenever
//! another policy comes into force. Peers are not asked: they are let in by who they are, and what they forward was let in where
//! its client came.

mod audit;
mod gate;
mod guard;
mod layer;
mod methods;

pub use layer::{AuthorizationLayer, AuthorizationService};
pub use methods::{Method, Need, method_of};

use crate::acl::Acl;

/// The policy of a node, and how it is kept to.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// The policy in force.
    pub acl: Acl,
    /// What would be denied is written down, and allowed.
    pub shadow: bool,
}
