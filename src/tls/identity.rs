//! Who may be at the other end of a connection, beyond being vouched for.

use crate::certs::NamesNobody;
#[cfg(feature = "server")]
use crate::certs::{Caller, Certificate, Holder, Identity};

/// Who a node is, by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeNames {
    /// Its cluster's name.
    pub cluster: String,
    /// Its own.
    pub node: String,
}

/// An authority that is believed vouches for them, and they have no business here all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwelcome {
    /// The certificate is no certificate, or names nobody.
    #[error(transparent)]
    NamesNobody(#[from] NamesNobody),
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// Only nodes talk here.
    #[error(
        "the certificate is that of {subject}, which is no node, and only nodes of cluster {cluster} talk here"
    )]
    NoNode {
        /// Whose it is.
        subject: String,
        /// The cluster whose nodes talk.
        cluster: String,
    },
    /// It is a node of another cluster.
    #[error("the certificate is that of {subject}, and only nodes of cluster {cluster} talk here")]
    OtherCluster {
        /// Whose it is.
        subject: String,
        /// The cluster whose nodes talk.
        cluster: String,
    },
    /// It is another node than the one that was called.
    #[error("the certificate is that of {subject}, and it is {wanted} that was called")]
    OtherNode {
        /// Whose it is.
        subject: String,
        /// Who was called.
        wanted: String,
    },
}

/// Whoever has that certificate in DER.
#[cfg(feature = "server")]
pub(super) fn caller(der: &[u8], allow_common_name: bool) -> Result<Caller, Unwelcome> {
    let certificate = Certificate::from_der(der.to_vec()).map_err(|_| Unwelcome::Unreadable)?;
    Ok(Caller::of(&certificate, allow_common_name)?)
}

/// The node of `cluster` that has that certificate; the one of this name, where that is known.
#[cfg(feature = "server")]
pub(super) fn node(der: &[u8], cluster: &str, name: Option<&str>) -> Result<Caller, Unwelcome> {
    let caller = caller(der, true)?;
    let subject = caller.subject().to_owned();
    let cluster = cluster.to_owned();
    match caller.identity() {
        Some(Identity {
            cluster: theirs,
            holder: Holder::Node(theirs_name),
        }) => match name {
            _ if theirs.as_str() != cluster => Err(Unwelcome::OtherCluster { subject, cluster }),
            Some(wanted) if theirs_name.as_str() != wanted => Err(Unwelcome::OtherNode {
                subject,
                wanted: format!("annals://{cluster}/node/{wanted}"),
            }),
            _ => Ok(caller),
        },
        _ => Err(Unwelcome::NoNode { subject, cluster }),
    }
}
