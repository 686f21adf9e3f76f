//! What can be wrong with the files of TLS, each fault with its file and its remedy.

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::{
    certs::{CertsError, NamesNobody},
    error::Disposition,
    types::TimestampMs,
};

/// Why nobody vouches for a client's certificate where a node's belongs.
pub(super) const OF_ANOTHER_USE: &str = "it was not made for this use";

/// Which of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaterialFile {
    /// The certificate, and those who vouch for it behind it.
    Certificate,
    /// Its private key.
    Key,
    /// The certificates of the authorities that are believed.
    Authorities,
}

/// The files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct MaterialError {
    /// Which file is at fault.
    pub file: MaterialFile,
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: MaterialProblem,
}

/// What is wrong with a file. No secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum MaterialProblem {
    /// The system does not give it.
    #[error("cannot read it: {0}")]
    Unreadable(#[source] io::Error),
    /// It is much too large to be what it should be.
    #[error("it has more than {max} bytes, so it is none of the files of TLS")]
    TooLarge {
        /// The most taken.
        max: u64,
    },
    /// It has no certificate, or a damaged one.
    #[error(transparent)]
    Certificate(#[from] CertsError),
    /// It has no private key.
    #[error("there is no private key in it, or a damaged one")]
    NoKey,
    /// Its private key is of a kind that is not known here.
    #[error("its private key is of a kind that TLS does not know here")]
    UnknownKey,
    /// The key is that of another certificate.
    #[error("the key does not belong to the certificate")]
    KeyOfAnother,
    /// The certificate is valid no longer.
    #[error("the certificate expired at {}", Time(*not_after))]
    Expired {
        /// Since when.
        not_after: TimestampMs,
    },
    /// The certificate is not valid yet.
    #[error("the certificate is not valid before {}", Time(*not_before))]
    NotYetValid {
        /// From when on.
        not_before: TimestampMs,
    },
    /// Nobody who is believed here has signed the certificate, for this use.
    #[error("none of the authorities vouches for the certificate: {reason}")]
    NotVouchedFor {
        /// As the library that verifies says it.
        reason: String,
    },
    /// A certificate among the authorities' may not sign others.
    #[error("the certificate of {subject} in it is that of no authority")]
    NoAuthority {
        /// Whose it is.
        subject: String,
    },
    /// The certificate names nobody.
    #[error(transparent)]
    NamesNobody(#[from] NamesNobody),
    /// The certificate is not that of a node.
    #[error("the certificate is not that of a node: it has no URI annals://{cluster}/node/{node}")]
    NotOfANode {
        /// Of which cluster it should be.
        cluster: String,
        /// Of which node.
        node: String,
    },
    /// The certificate is that of another node, or of a node of another cluster.
    #[error("the certificate is that of {found}, and this node is annals://{cluster}/node/{node}")]
    OfAnother {
        /// Whose it is.
        found: String,
        /// This node's cluster.
        cluster: String,
        /// This node.
        node: String,
    },
}

impl MaterialError {
    /// What is to be done about it: nobody but the operator can.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self.problem {
            MaterialProblem::Unreadable(_)
            | MaterialProblem::TooLarge { .. }
            | MaterialProblem::Certificate(_)
            | MaterialProblem::NoKey
            | MaterialProblem::UnknownKey
            | MaterialProblem::KeyOfAnother
            | MaterialProblem::Expired { .. }
            | MaterialProblem::NotYetValid { .. }
            | MaterialProblem::NotVouchedFor { .. }
            | MaterialProblem::NoAuthority { .. }
            | MaterialProblem::NamesNobody(_)
            | MaterialProblem::NotOfANode { .. }
            | MaterialProblem::OfAnother { .. } => Disposition::Reject,
        }
    }

    /// Whether the file is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(&self.problem, MaterialProblem::Unreadable(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// What a client of a node is to do about it, which needs no certificate of a node.
    #[must_use]
    pub fn client_remedy(&self) -> String {
        self.remedy()
            .replace("annals certs node NAME", "annals certs client NAME")
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match &self.problem {
            MaterialProblem::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => {
                "is the path right? `annals certs node NAME` makes a certificate and its key".to_owned()
            }
            MaterialProblem::Unreadable(_) => {
                "make it readable for the user that this runs as, and its key for nobody else".to_owned()
            }
            MaterialProblem::TooLarge { .. }
            | MaterialProblem::Certificate(_)
            | MaterialProblem::NoKey
            | MaterialProblem::UnknownKey => match self.file {
                MaterialFile::Certificate => "give a certificate in PEM, as NAME.pem of `annals certs`",
                MaterialFile::Key => {
                    "give a private key in PEM without a password, as NAME.key of `annals certs`"
                }
                MaterialFile::Authorities => {
                    "give the authorities' certificates in PEM, as ca.pem of `annals certs`"
                }
            }
            .to_owned(),
            MaterialProblem::KeyOfAnother => {
                "give the two files that were made together, NAME.pem and NAME.key".to_owned()
            }
            MaterialProblem::Expired { .. } => {
                "make a new one with `annals certs renew`, where the authority's key is".to_owned()
            }
            MaterialProblem::NotYetValid { .. } => "is the clock of this machine right?".to_owned(),
            MaterialProblem::NotVouchedFor { reason } if reason == OF_ANOTHER_USE => {
                "give a node's, from `annals certs node NAME`; is this one a client's?".to_owned()
            }
            MaterialProblem::NotVouchedFor { .. } => {
                "give the certificate of the authority that signed it, as ca.pem beside it".to_owned()
            }
            MaterialProblem::NoAuthority { .. } => {
                "leave out of that file what is not an authority's certificate".to_owned()
            }
            MaterialProblem::NamesNobody(_) => "make one with `annals certs client NAME`".to_owned(),
            MaterialProblem::NotOfANode { node, .. } | MaterialProblem::OfAnother { node, .. } => format!(
                "make one with `annals certs node {node}` by this cluster's authority; node.name and cluster.name say who \
                 this node is"
            ),
        }
    }
}

/// A time as people read it.
pub(super) struct Time(pub(super) TimestampMs);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = std::time::UNIX_EPOCH + Duration::from_secs(self.0.0 / 1000);
        // The library knows no year after 9999, and certificates none either.
        humantime::format_rfc3339_seconds(time).fmt(f)
    }
}
