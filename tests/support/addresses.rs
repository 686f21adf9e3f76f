//! Addresses that are known before anything listens at them, as those of gossip must be.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU8, Ordering},
};

/// So many addresses that are free for connections and packets, all different.
///
/// They are at a loopback address that nobody else uses. A free port of 127.0.0.1 is free only until the system gives it to whoever
/// asks for any, which may be before the node that is to have it has started.
pub fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let ip = own_address();
    let both = std::iter::from_fn(|| {
        let udp = UdpSocket::bind((ip, 0)).expect("there is a free port");
        let tcp = TcpListener::bind(udp.local_addr().expect("it is bound")).ok();
        Some(tcp.map(|tcp| (udp, tcp)))
    });
    // Held until all are chosen, so that no two are the same.
    let held: Vec<_> = both.flatten().take(count).collect();
    held.iter()
        .map(|(udp, _)| udp.local_addr().expect("it is bound"))
        .collect()
}

/// Another one for each call, and for each process that runs at the same time.
fn own_address() -> Ipv4Addr {
    static CALLS: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    // Not among the first, which tests use by name.
    Ipv4Addr::new(127, 100 + call % 100, high, low)
}
