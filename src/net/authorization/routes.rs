//! The gate in front of what is asked by HTTP.

use std::sync::Arc;

use tokio::sync::watch;
use tonic::body::Body;

use super::{
    Farewell, Method,
    gate::{Call, Gate, Moment},
};
use crate::net::{connection::Ends, guard::Guarded, status::Refusal};

/// Lets requests in, or not; made by [`super::AuthorizationLayer::routes`]. Clones are the same.
#[derive(Clone, Debug)]
pub struct RouteGate(pub(super) Option<Arc<Gate>>);

impl RouteGate {
    /// Lets a request in that came between these ends, before anything of its body is read.
    ///
    /// Errors: its caller may not (SEC-1).
    pub fn admit(&self, ends: Option<&Ends>, method: &'static Method) -> Result<Admitted, Refusal> {
        let Some(gate) = &self.0 else {
            return Ok(Admitted(None));
        };
        let call = Call::of_route(ends, method);
        // Before the question: a policy that comes in between is noticed.
        let changes = gate.changes();
        gate.admit(&call, Moment::Begin)?;
        Ok(Admitted::new(Arc::clone(gate), call, changes))
    }
}

/// A call that was let in, and is asked about again under each policy that comes into force.
#[derive(Debug)]
pub struct Admitted(Option<Asked>);

#[derive(Debug)]
struct Asked {
    gate: Arc<Gate>,
    call: Call,
    changes: watch::Receiver<u64>,
}

impl Admitted {
    /// `changes` has seen the policy that let the call in.
    pub(super) fn new(gate: Arc<Gate>, call: Call, changes: watch::Receiver<u64>) -> Self {
        Self(Some(Asked { gate, call, changes }))
    }

    /// What `answered` gives, if the caller may go on until then.
    ///
    /// Errors: another policy does not allow it; `answered` is dropped where it is.
    pub async fn while_allowed<T>(&mut self, answered: impl Future<Output = T>) -> Result<T, Refusal> {
        let Some(asked) = &mut self.0 else {
            return Ok(answered.await);
        };
        tokio::pin!(answered);
        loop {
            tokio::select! {
                biased;
                Ok(()) = asked.changes.changed() => asked.gate.admit(&asked.call, Moment::OtherPolicy)?,
                answer = &mut answered => return Ok(answer),
            }
        }
    }

    /// The body, for as long as the caller may have it.
    #[must_use]
    pub fn guard(self, body: Body, farewell: Farewell) -> Body {
        match self.0 {
            None => body,
            Some(Asked { gate, call, changes }) => {
                let check = move || {
                    let admitted = gate.admit(&call, Moment::OtherPolicy);
                    admitted.map_err(|refusal| farewell.frame(refusal))
                };
                Body::new(Guarded::new(body, changes, check))
            }
        }
    }
}
