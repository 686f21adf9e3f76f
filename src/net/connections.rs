//! How many connections there are, and who has them.
//!
//! All clients share `connections_max`, and nobody may have more than his part of them: one machine that opens connections and
//! says nothing must not shut everybody else out.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use slog::{Logger, warn};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts of connections.
#[derive(Debug)]
pub struct Connections {
    slots: Arc<Semaphore>,
    max: usize,
    by_address: Arc<ByAddress>,
    refused: AtomicU64,
}

/// A connection's place; given back when it is dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    _part: Option<Part>,
}

impl From<OwnedSemaphorePermit> for Slot {
    /// A place that is not counted by address.
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self {
            _permit: permit,
            _part: None,
        }
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All are taken.
    All,
    /// This address has its part of them.
    Address,
}

impl Connections {
    /// At most `max` at a time, and `per_address_max` of them from one address.
    #[must_use]
    pub fn new(max: usize, per_address_max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self {
            slots: Arc::new(Semaphore::new(max)),
            max,
            by_address: Arc::new(ByAddress {
                counts: Mutex::default(),
                max: per_address_max,
            }),
            refused: AtomicU64::new(0),
        }
    }

    /// Open at the moment.
    #[must_use]
    pub fn open(&self) -> usize {
        self.max - self.slots.available_permits()
    }

    /// As many there can be.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// Closed at once since the gateway's start, because there were too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A place for a connection from there.
    ///
    /// Errors: there is none.
    pub fn take(&self, from: SocketAddr) -> Result<Slot, Full> {
        let part = self.by_address.take(from.ip()).ok_or(Full::Address)?;
        let permit = Arc::clone(&self.slots).try_acquire_owned();
        Ok(Slot {
            _permit: permit.map_err(|_| Full::All)?,
            _part: Some(part),
        })
    }

    /// Counts one that was closed at once, and tells of it now and then.
    pub fn refuse(&self, from: SocketAddr, full: Full, log: &Logger) {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        // Under attack this would be a line per connection: tell the 1st, 2nd, 4th, 8th ...
        if !refused.is_power_of_two() {
            return;
        }
        match full {
            Full::All => warn!(log, "too many connections; closed a new one at once";
                "peer" => %from, "connections_max" => self.max, "refused" => refused),
            Full::Address => warn!(log, "too many connections from one address; closed a new one at once";
                "peer" => %from, "connections_per_address_max" => self.by_address.max, "refused" => refused),
        }
    }
}

/// How many connections each address has; none is named that has none.
#[derive(Debug)]
struct ByAddress {
    counts: Mutex<HashMap<IpAddr, usize>>,
    max: usize,
}

impl ByAddress {
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Part> {
        let whose = whose(address);
        let mut counts = self.lock();
        let count = counts.entry(whose).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Part {
            whose,
            of: Arc::clone(self),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom an address stands for: a host has a whole /64 of IPv6 to come from.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// One of an address's connections.
#[derive(Debug)]
struct Part {
    whose: IpAddr,
    of: Arc<ByAddress>,
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.of.lock().entry(self.whose) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 1)
    }

    #[test]
    fn nobody_has_more_than_his_part_and_all_together_no_more_than_there_is() {
        let connections = Connections::new(3, 2);
        let first = connections.take(from("10.0.0.1")).unwrap();
        let _second = connections.take(from("10.0.0.1")).unwrap();
        assert_eq!(connections.take(from("10.0.0.1")).unwrap_err(), Full::Address);
        // The same address, as a listener for both kinds sees it.
        assert_eq!(
            connections.take(from("::ffff:10.0.0.1")).unwrap_err(),
            Full::Address
        );
        let _other = connections.take(from("10.0.0.2")).unwrap();
        assert_eq!(connections.take(from("10.0.0.3")).unwrap_err(), Full::All);
        assert_eq!(connections.open(), 3);
        drop(first);
        let _again = connections.take(from("10.0.0.1")).unwrap();
        assert_eq!(connections.open(), 3);
    }

    #[test]
    fn a_network_of_ipv6_is_one() {
        let connections = Connections::new(9, 1);
        let held = connections.take(from("2001:db8::1")).unwrap();
        assert_eq!(connections.take(from("2001:db8::2")).unwrap_err(), Full::Address);
        let _other = connections.take(from("2001:db8:0:1::1")).unwrap();
        drop(held);
        assert_eq!(
            connections.by_address.lock().len(),
            1,
            "whoever has none is forgotten"
        );
    }
}
