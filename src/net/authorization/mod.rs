//! Whether a call may be made: one place in front of every method of clients (SEC-1).
//!
//! Routes of HTTP pass the same gate, by the right that stands beside each in their table (`net/http/routes.rs`). The layer stands before anything that reads a call's body. Which right a method asks for is in `methods`; a path that is not there
//! is denied. Where an object of its own is named in the message, its service asks about that too, before anything else. Who asks is what the connection proved; what they may is in the policy. A stream is asked about again whenever
//! another policy comes into force. Peers are not asked: they are let in by who they are, and what they forward was let in where
//! its client came.

mod audit;
mod farewell;
mod gate;
mod layer;
mod methods;
mod named;
mod routes;

pub use audit::AuditCounts;
pub use farewell::Farewell;
pub use layer::{AuthorizationLayer, AuthorizationService};
pub use methods::{Method, Need, method_of};
pub use named::Named;
pub use routes::{Admitted, RouteGate};

use std::sync::Arc;

use slog::Logger;

use self::audit::{Audit, Line, Verdict};
use super::connection::Ends;
use crate::{
    acl::{Acl, Right, Who},
    certs::Caller,
};

/// The policy of a node, and how it is kept to.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// The policy in force.
    pub acl: Acl,
    /// What would be denied is written down, and allowed.
    pub shadow: bool,
}

/// Writes down that a peer has itself removed. No policy is asked: it is one of the cluster, and may go (SEC-1).
pub(super) fn tell_of_leave(ends: Option<&Ends>, counts: &Arc<AuditCounts>, log: &Logger) {
    let caller = ends.and_then(|ends| ends.caller.as_ref());
    Audit::new(Arc::clone(counts), log.clone()).told(&Line {
        who: caller.map_or(Who::Anonymous, |caller| Who::Named(caller.subject())),
        fingerprint: caller.map(Caller::fingerprint),
        from: ends.and_then(|ends| ends.tcp.remote_addr()),
        wanted: Some(Right::ADMIN_CLUSTER.into()),
        verdict: Verdict::Allowed,
        rule: None,
        method: "/annals.v1.PeerService/Leave",
    });
}
