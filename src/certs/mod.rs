//! Certificates: who somebody is, proved by a certificate authority of the cluster's own.
//!
//! Text in PEM comes in and goes out; the clock is the caller's. Nothing here knows a file or a socket.

mod authority;
mod caller;
mod certificate;
mod error;
mod fingerprint;
mod hosts;
mod identity;
mod key;
mod pem;

pub use authority::{Authority, BACKDATED, Terms};
pub use caller::{Caller, NamesNobody};
pub use certificate::Certificate;
pub use error::CertsError;
pub use fingerprint::Fingerprint;
pub use hosts::{DnsName, HostError, Hosts};
pub use identity::{Holder, Identity, Name, NameError};
pub use key::Key;
