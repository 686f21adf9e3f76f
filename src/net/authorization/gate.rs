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
    acl::{Acl, Action, Decision, Wanted, Who},
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

    /// Whether its message names something that is to be asked about.
    pub(super) fn names_an_object(&self) -> bool {
        let needs = self.method.as_ref().map(|method| method.need);
        matches!(needs, Ok(Need::Cursor(_)))
    }

    pub(super) fn is_stream(&self) -> bool {
        self.method.as_ref().is_ok_and(|method| method.stream)
    }

    fn who(&self) -> Who<'_> {
        self.caller
            .as_ref()
            .map_or(Who::Anonymous, |caller| Who::Named(caller.subject()))
    }

    fn line<'a>(&'a self, wanted: Option<Wanted>, decision: &'a Decision, verdict: Verdict) -> Line<'a> {
        Line {
            who: self.who(),
            fingerprint: self.caller.as_ref().map(Caller::fingerprint),
            from: self.from,
            wanted,
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
            Ok(Need::Right(right) | Need::Cursor(right)) => Some(right),
            Err(_) => None,
        };
        let decision = right.map_or(Decision::DENIED, |right| self.acl.decide(call.who(), right));
        let administrative = right.is_some_and(|right| right.action() == Action::Admin);
        if decision.allowed && administrative && moment == Moment::Begin {
            let line = call.line(right.map(Wanted::from), &decision, Verdict::Allowed);
            self.audit.told(&line);
        }
        self.keep_to(call, right.map(Wanted::from), decision)
    }

    /// Whether a call that was let in may have to do with the cursor of that name.
    ///
    /// Errors: it may not.
    pub(super) fn admit_to_cursor(&self, call: &Call, cursor: &str) -> Result<(), Refusal> {
        let decision = self.acl.decide_on_cursor(call.who(), cursor);
        self.keep_to(call, Some(Wanted::Cursor(cursor.into())), decision)
    }

    /// Errors: the decision is no, and is enforced.
    fn keep_to(&self, call: &Call, wanted: Option<Wanted>, decision: Decision) -> Result<(), Refusal> {
        if decision.allowed {
            return Ok(());
        }
        if self.shadow {
            self.audit
                .denied(&call.line(wanted, &decision, Verdict::WouldBeDenied));
            return Ok(());
        }
        self.audit
            .denied(&call.line(wanted.clone(), &decision, Verdict::Denied));
        let subject = call.who().to_string();
        Err(match wanted {
            Some(wanted) => Refusal::Denied {
                subject,
                wanted,
                // Its text is the operators' business: it may name others.
                denied_by: decision.rule.map(|rule| rule.line),
            },
            None => Refusal::UnknownMethod { subject },
        })
    }
}
