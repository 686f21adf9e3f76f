//! What a call names in its message, and is asked about once that is read: cursors.
//!
//! The gate lets such a call in by a right on the log, before its body is read; its service asks here by what the gate has put beside the call.

use std::sync::Arc;

use http::Extensions;

use super::gate::{Call, Gate};
use crate::net::status::Refusal;

/// A call that the gate let in, and may have to ask once more.
#[derive(Clone, Debug)]
pub struct Named {
    gate: Arc<Gate>,
    call: Call,
}

impl Named {
    pub(super) fn new(gate: Arc<Gate>, call: Call) -> Self {
        Self { gate, call }
    }

    /// Whether the caller of the request with these `extensions` may take the cursor of that name, or commit to it; `asked`: somebody is asked at
    /// all on this node.
    ///
    /// Errors: the policy does not allow it (SEC-1). Blocking: computes for a moment, when it was not asked before.
    pub fn admit_to_cursor(extensions: &Extensions, asked: bool, cursor: &str) -> Result<(), Refusal> {
        match extensions.get::<Self>() {
            Some(named) => named.gate.admit_to_cursor(&named.call, cursor),
            None if asked => Err(Refusal::Internal {
                what: "a cursor that nobody was asked about",
            }),
            None => Ok(()),
        }
    }
}
