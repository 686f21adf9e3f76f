//! The connections that are open, and whether those at their other ends would still be let in.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::{Authorities, Usage, material::reason};
use crate::{certs::Caller, types::TimestampMs};

/// All connections by TLS of a node.
#[derive(Debug, Default)]
pub(super) struct OpenConnections {
    next: AtomicU64,
    entries: Mutex<HashMap<u64, Entry>>,
}

#[derive(Debug)]
struct Entry {
    caller: Caller,
    chain: Vec<CertificateDer<'static>>,
    usage: Usage,
    /// The authorities by which it was last found good.
    generation: u64,
    kill: CancellationToken,
}

/// A place among the open connections, held by one of them until it ends.
#[derive(Debug)]
pub struct Guest {
    caller: Caller,
    number: u64,
    open: Arc<OpenConnections>,
}

impl Guest {
    /// Who is at the other end.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.open.lock().remove(&self.number);
    }
}

/// Somebody who is let in no longer.
#[derive(Debug)]
pub struct Outcast {
    /// Who.
    pub caller: Caller,
    /// Why.
    pub why: String,
}

impl OpenConnections {
    /// A connection is open: it was found good by the authorities of that generation, and is ended by `kill`.
    pub(super) fn enter(
        self: &Arc<Self>,
        caller: Caller,
        chain: Vec<CertificateDer<'static>>,
        usage: Usage,
        generation: u64,
        kill: CancellationToken,
    ) -> Guest {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let guest = Guest {
            caller: caller.clone(),
            number,
            open: Arc::clone(self),
        };
        let entry = Entry {
            caller,
            chain,
            usage,
            generation,
            kill,
        };
        self.lock().insert(number, entry);
        guest
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Ends the connections of those for whom nobody vouches any more: their authority has gone, or they have expired.
    pub(super) fn look_through(
        &self,
        authorities: &Authorities,
        generation: u64,
        now: TimestampMs,
    ) -> Vec<Outcast> {
        let is_due = |entry: &Entry| {
            let is_known = entry.generation == generation && now < entry.caller.not_after();
            !is_known && !entry.kill.is_cancelled()
        };
        let due: Vec<_> = {
            let entries = self.lock();
            let due = entries.iter().filter(|(_, entry)| is_due(entry));
            due.map(|(number, entry)| (*number, entry.chain.clone(), entry.usage))
                .collect()
        };
        let mut outcasts = Vec::new();
        for (number, chain, usage) in due {
            // Signatures are checked while nobody waits for the lock.
            let vouched = authorities.vouch(&chain, usage, now);
            let mut entries = self.lock();
            // It may have ended meanwhile.
            let Some(entry) = entries.get_mut(&number) else {
                continue;
            };
            match vouched {
                Ok(()) => entry.generation = generation,
                Err(why) => {
                    entry.kill.cancel();
                    outcasts.push(Outcast {
                        caller: entry.caller.clone(),
                        why: reason(&why),
                    });
                }
            }
        }
        outcasts
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
