//! Certificates as others see them: every property by another library, and TLS itself.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod callers;
mod handshake;
mod made;
mod support;
