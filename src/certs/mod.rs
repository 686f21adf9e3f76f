//! Certificates: who somebody is, proved by a certificate authority of the cluster's own.
//!
//! Text in PEM comes in and goes out; the clock is the caller's. Nothing here knows a file or a socket.
//!
//! Without the feature `server` there are only the errors, which clients know too.

#[cfg(feature = "server")]
mod authority;
#[cfg(feature = "server")]
mod caller;
#[cfg(feature = "server")]
mod certificate;
mod error;
#[cfg(feature = "server")]
mod fingerprint;
#[cfg(feature = "server")]
mod hosts;
#[cfg(feature = "server")]
mod identity;
#[cfg(feature = "server")]
mod key;
mod nobody;
#[cfg(feature = "server")]
mod pem;

pub use error::CertsError;
pub use nobody::NamesNobody;

#[cfg(feature = "server")]
pub use authority::{Authority, BACKDATED, Terms};
#[cfg(feature = "server")]
pub use caller::Caller;
#[cfg(feature = "server")]
pub use certificate::Certificate;
#[cfg(feature = "server")]
pub use fingerprint::Fingerprint;
#[cfg(feature = "server")]
pub use hosts::{DnsName, HostError, Hosts};
#[cfg(feature = "server")]
pub use identity::{Holder, Identity, Name, NameError};
#[cfg(feature = "server")]
pub use key::Key;
