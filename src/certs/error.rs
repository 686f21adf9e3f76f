//! What can be wrong with a certificate, a key, or what they are to be made of.

use crate::error::Disposition;

/// Why a certificate was not made, or a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertsError {
    /// The text has no certificate in it.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// The text has no private key in it.
    #[error("there is no private key in it")]
    NoKey,
    /// A block of PEM is damaged.
    #[error("its PEM is damaged")]
    DamagedPem,
    /// What stands in PEM is not a certificate.
    #[error("what it has is not an X.509 certificate, or is damaged")]
    DamagedCertificate,
    /// What stands in PEM is not a key, or one of a kind that is not known here.
    #[error("its key is damaged, or of a kind that is not known here")]
    DamagedKey,
    /// The key is that of another certificate.
    #[error("the key does not belong to the certificate")]
    KeyOfAnother,
    /// The certificate was not made by `annals certs ca`: it may not sign, or does not say for which cluster.
    #[error("it is no certificate authority of an Annals cluster")]
    NoAuthority,
    /// The certificate authority is no longer valid, or not yet.
    #[error("the certificate authority is not valid now")]
    AuthorityNotValid,
    /// The time that a certificate would be valid for cannot be written in one.
    #[error("the certificate would be valid for longer than can be written in one")]
    TooLong,
    /// The machine's source of random numbers, or the library that signs, failed.
    #[error("it could not be signed: {reason}")]
    NotSigned {
        /// In the library's words; no secret is in them.
        reason: String,
    },
}

impl CertsError {
    /// What is to be done about it: nothing of it passes by itself.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NoCertificate
            | Self::NoKey
            | Self::DamagedPem
            | Self::DamagedCertificate
            | Self::DamagedKey
            | Self::KeyOfAnother
            | Self::NoAuthority
            | Self::AuthorityNotValid
            | Self::TooLong => Disposition::Reject,
            Self::NotSigned { .. } => Disposition::Escalate,
        }
    }
}

#[cfg(feature = "server")]
impl From<rcgen::Error> for CertsError {
    fn from(error: rcgen::Error) -> Self {
        Self::NotSigned {
            reason: error.to_string(),
        }
    }
}
