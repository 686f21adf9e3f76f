//! The node's certificates while it runs: replaced, and looked after, so that nobody stays who is let in no longer and no
//! certificate expires unsaid.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use slog::{Logger, warn};

use super::reload::{ReloadError, Reloadable};
use crate::{
    certs::{Certificate, Fingerprint},
    clock,
    tls::{NodeTls, Reloaded},
    types::TimestampMs,
};

/// Days before its end at which a certificate is told of: time to plan, to act, to hurry, and the last.
const TOLD_AT_DAYS: [u64; 4] = [1, 7, 14, 30];
/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct Certificates {
    tls: NodeTls,
    /// At how many days before its end each certificate was told of last.
    told: Mutex<BTreeMap<Fingerprint, u64>>,
    logger: Logger,
}

impl Certificates {
    pub(super) fn new(tls: NodeTls, logger: Logger) -> Self {
        Self {
            tls,
            told: Mutex::default(),
            logger,
        }
    }

    fn tell_of_ends(&self, now: TimestampMs) {
        let status = self.tls.status();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let all = status.authorities.iter().chain([&status.certificate]);
        let all: Vec<_> = all
            .map(|certificate| (certificate.fingerprint(), certificate))
            .collect();
        told.retain(|known, _| all.iter().any(|(fingerprint, _)| fingerprint == known));
        for (fingerprint, certificate) in all {
            let Some(mark) = mark(certificate, now) else {
                continue;
            };
            if told.insert(fingerprint, mark) != Some(mark) {
                let days_left = certificate.not_after.0.saturating_sub(now.0) / DAY_MS;
                let is_over = certificate.not_after <= now;
                let line = if is_over {
                    "a certificate has expired"
                } else {
                    "a certificate expires soon"
                };
                warn!(self.logger, "{}", line; "subject" => &certificate.subject,
                    "days_left" => days_left, "fingerprint" => %fingerprint);
            }
        }
    }
}

/// The mark that a certificate has passed on its way to its end; `None` while that is far.
fn mark(certificate: &Certificate, now: TimestampMs) -> Option<u64> {
    if certificate.not_after <= now {
        return Some(0);
    }
    let left_ms = certificate.not_after.0 - now.0;
    TOLD_AT_DAYS.into_iter().find(|days| left_ms <= days * DAY_MS)
}

impl Reloadable for Certificates {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn reload(&self, at_once: bool) -> Result<Option<String>, ReloadError> {
        match self.tls.reload(at_once) {
            Ok(Reloaded::Unchanged) => Ok(None),
            Ok(Reloaded::Changed { what }) => Ok(Some(what)),
            Err(error) => Err(ReloadError {
                remedy: error.remedy(),
                source: Box::new(error),
            }),
        }
    }

    fn look_after(&self) {
        let now = clock::wall();
        for outcast in self.tls.look_through(now) {
            warn!(self.logger, "closed a connection: nobody vouches for its other end any more";
                "who" => outcast.caller.subject(), "fingerprint" => %outcast.caller.fingerprint(), "why" => outcast.why);
        }
        self.tell_of_ends(now);
    }
}
