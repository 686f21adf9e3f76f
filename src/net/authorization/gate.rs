//! One call, one decision.

use std::{net::SocketAddr, sync::Arc};

use http::Request;
use slog::Logger;
use tokio::sync::watch;

use super::{
    Authorization, Method, Need,
    audit::{Audit, AuditCounts, Line, Verdict},
    method_of,
};
use crate::{
    acl::{Acl, Action, Decision, Right, Who},
    certs::Caller,
    net::{connection::Ends, status::Refusal},
};

/// Of a path that is no method's, so many letters are written down.
const PATH_CHARS_MAX: usize = 80;

/// A call that asks to be let in.
#[derive(Clone, Debug)]
pub(super) struct Call {
    caller: Option<Caller>,
    from: Option<SocketAddr>,
    method: Result<&'static Method, String>,
}

impl Call {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let ends = request.extensions().get::<Ends>();
        let path = request.uri().path();
        Self {
            caller: ends.and_then(|ends| ends.caller.clone()),
            from: ends.and_then(|ends| ends.tcp.remote_addr()),
            method: method_of(path).ok_or_else(|| shown(path)),
        }
    }

    /// Of a route, which has been found already.
    pub(super) fn of_route(ends: Option<&Ends>, method: &'static Method) -> Self {
        Self {
            caller: ends.and_then(|ends| ends.caller.clone()),
            from: ends.and_then(|ends| ends.tcp.remote_addr()),
            method: Ok(method),
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        self.method.as_ref().is_ok_and(|method| method.stream)
    }

    fn who(&self) -> Who<'_> {
        self.caller
            .as_ref()
            .map_or(Who::Anonymous, |caller| Who::Named(caller.subject()))
    }

    fn line<'a>(&'a self, right: Option<Right>, decision: &'a Decision, verdict: Verdict) -> Line<'a> {
        Line {
            who: self.who(),
            fingerprint: self.caller.as_ref().map(Caller::fingerprint),
            from: self.from,
            right,
            verdict,
            rule: decision.rule.as_ref(),
            method: match &self.method {
                Ok(method) => method.path,
                Err(path) => path,
            },
        }
    }
}

/// Printable, and not longer than a line bears: it comes from outside.
fn shown(path: &str) -> String {
    let printable = path.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' });
    printable.take(PATH_CHARS_MAX).collect()
}

/// Why a call is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// It begins.
    Begin,
    /// It goes on, under another policy.
    OtherPolicy,
}

/// Lets calls in, or not; what the clones of a layer share.
#[derive(Debug)]
pub(super) struct Gate {
    acl: Acl,
    shadow: bool,
    audit: Arc<Audit>,
}

impl Gate {
    pub(super) fn new(authorization: &Authorization, counts: Arc<AuditCounts>, log: Logger) -> Self {
        Self {
            acl: authorization.acl.clone(),
            shadow: authorization.shadow,
            audit: Audit::new(counts, log),
        }
    }

    /// Changes whenever calls are to be asked about again.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.acl.changes()
    }

    /// Whether the call may be made, and goes on being made; what is of interest is written down.
    ///
    /// Errors: it may not.
    pub(super) fn admit(&self, call: &Call, moment: Moment) -> Result<(), Refusal> {
        let right = match call.method.as_ref().map(|method| method.need) {
            Ok(Need::Nothing) => return Ok(()),
            Ok(Need::Right(right)) => Some(right),
            Err(_) => None,
        };
        let decision = right.map_or(Decision::DENIED, |right| self.acl.decide(call.who(), right));
        if decision.allowed {
            let administrative = right.is_some_and(|right| right.action() == Action::Admin);
            if administrative && moment == Moment::Begin {
                self.audit.told(&call.line(right, &decision, Verdict::Allowed));
            }
            return Ok(());
        }
        if self.shadow {
            self.audit
                .denied(&call.line(right, &decision, Verdict::WouldBeDenied));
            return Ok(());
        }
        self.audit.denied(&call.line(right, &decision, Verdict::Denied));
        let subject = call.who().to_string();
        Err(match right {
            Some(right) => Refusal::Denied {
                subject,
                right,
                // Its text is the operators' business: it may name others.
                denied_by: decision.rule.map(|rule| rule.line),
            },
            None => Refusal::UnknownMethod { subject },
        })
    }
}
