//! A server to talk to, a connection that breaks, and the program itself.

pub mod data;
mod program;
mod proxy;
mod server;

use std::time::{Duration, Instant};

pub use program::{Ended, Program};
pub use proxy::{Cut, Proxy};
pub use server::Server;

/// How long something may take that takes milliseconds when all is well.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
#[expect(
    clippy::disallowed_methods,
    reason = "a test waits for another process, with a deadline"
)]
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < DEADLINE,
            "{what} did not come about within {DEADLINE:?}"
        );
        std::thread::yield_now();
    }
}

/// Lines that differ in length and content, some empty, some not UTF-8; no newline at the end of the last.
pub fn odd_lines(count: usize) -> Vec<u8> {
    let lines: Vec<Vec<u8>> = (0..count)
        .map(|i| match i % 5 {
            0 => Vec::new(),
            1 => format!("line {i}").into_bytes(),
            2 => vec![0xff, 0x00, b'\r', (i % 256) as u8 | 0x80],
            3 => vec![b'x'; i % 700],
            _ => format!("{{\"id\":{i}}}").into_bytes(),
        })
        .collect();
    let mut all = lines.join(&b'\n');
    all.extend_from_slice(b"\nlast");
    all
}
