//! Why there is no connection by TLS, or none any more: who did not take whom, and for what reason.

use std::{error::Error as StdError, io};

use rustls::{AlertDescription, CertificateError, Error};

use super::Unwelcome;
use crate::error::Disposition;

/// Why TLS did not come about, or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// What the other side says is not TLS.
    #[error("the other side does not speak TLS")]
    NotTls,
    /// The two have no version, cipher or protocol in common.
    #[error("there is no version or protocol of TLS that both sides speak: {reason}")]
    NothingInCommon {
        /// As the library says it.
        reason: String,
    },
    /// No authority that is believed has signed the other side's certificate.
    #[error("the other side's certificate is signed by no authority that is believed here")]
    UnknownAuthority,
    /// The other side's certificate is valid no longer.
    #[error("the other side's certificate has expired")]
    Expired,
    /// The other side's certificate is not valid yet.
    #[error("the other side's certificate is not valid yet")]
    NotYetValid,
    /// The other side's certificate is not for the host that was called.
    #[error("the other side's certificate is not for {host}, but for {}", listed(names))]
    OtherHost {
        /// Who was called.
        host: String,
        /// For whom it is.
        names: Vec<String>,
    },
    /// The other side's certificate may not be used for that.
    #[error("the other side's certificate was not made for this use")]
    OtherUse,
    /// The other side has shown no certificate.
    #[error("the other side has no certificate")]
    NoCertificate,
    /// The other side's certificate is good, and it has no business here.
    #[error(transparent)]
    Unwelcome(#[from] Unwelcome),
    /// The other side does not take this side's certificate.
    #[error("the other side refuses: {0}")]
    Refused(Refusal),
    /// It took too long.
    #[error("the handshake was not over in time")]
    Deadline,
    /// Anything else.
    #[error("{reason}")]
    Broken {
        /// As the library says it.
        reason: String,
    },
}

/// What the other side says against this side's certificate, as far as TLS has words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It wants to see one.
    #[error("it wants a certificate, and was shown none")]
    WantsCertificate,
    /// It does not believe the authority.
    #[error("it does not believe the authority that signed this side's certificate")]
    UnknownAuthority,
    /// It has expired, or is not valid yet.
    #[error("this side's certificate has expired, or is not valid yet, by the other side's clock")]
    Expired,
    /// It names nobody who may be here.
    #[error("this side's certificate names nobody who is let in there")]
    Unwelcome,
    /// It is the wrong kind, or damaged.
    #[error("this side's certificate is none that the other side can use here")]
    Unusable,
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "no host".to_owned(),
        names => names.join(", "),
    }
}

impl TlsFailure {
    /// What TLS has to say about an error of a connection; `None` when it is none of TLS.
    #[must_use]
    pub fn in_io(error: &io::Error) -> Option<Self> {
        let inner: &(dyn StdError + 'static) = error.get_ref()?;
        inner.downcast_ref::<Error>().map(Self::of)
    }

    /// Why a handshake failed.
    #[must_use]
    pub fn of_handshake(error: &io::Error) -> Self {
        Self::in_io(error).unwrap_or_else(|| Self::Broken {
            reason: match error.kind() {
                io::ErrorKind::UnexpectedEof => "the other side closed the connection".to_owned(),
                _ => error.to_string(),
            },
        })
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::InvalidMessage(_) => Self::NotTls,
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::NothingInCommon {
                reason: error.to_string(),
            },
            other => Self::Broken {
                reason: other.to_string(),
            },
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            // One of the same name did not sign it.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForNameContext { expected, presented } => Self::OtherHost {
                host: expected.to_str().into_owned(),
                names: presented.iter().map(|name| plain(name)).collect(),
            },
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::OtherUse
            }
            CertificateError::Other(other) => match other.0.downcast_ref::<Unwelcome>() {
                Some(unwelcome) => Self::Unwelcome(unwelcome.clone()),
                None => Self::Broken {
                    reason: other.to_string(),
                },
            },
            other => Self::Broken {
                reason: other.to_string(),
            },
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        Self::Refused(match alert {
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
                Refusal::WantsCertificate
            }
            // TLS 1.2 has no word of its own for a certificate that is missing.
            AlertDescription::UnknownCA | AlertDescription::DecryptError => Refusal::UnknownAuthority,
            AlertDescription::CertificateExpired | AlertDescription::CertificateRevoked => Refusal::Expired,
            AlertDescription::CertificateUnknown | AlertDescription::AccessDenied => Refusal::Unwelcome,
            AlertDescription::BadCertificate | AlertDescription::UnsupportedCertificate => Refusal::Unusable,
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::NoApplicationProtocol => {
                return Self::NothingInCommon {
                    reason: format!("the other side says {alert:?}"),
                };
            }
            other => {
                return Self::Broken {
                    reason: format!("the other side says {other:?}"),
                };
            }
        })
    }

    /// Whether it is about who is who: then trying again changes nothing, until a certificate is another one.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::UnknownAuthority
            | Self::Expired
            | Self::NotYetValid
            | Self::OtherHost { .. }
            | Self::OtherUse
            | Self::NoCertificate
            | Self::Unwelcome(_)
            | Self::Refused(_) => true,
            Self::NotTls | Self::NothingInCommon { .. } | Self::Deadline | Self::Broken { .. } => false,
        }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::NotTls
            | Self::NothingInCommon { .. }
            | Self::UnknownAuthority
            | Self::Expired
            | Self::NotYetValid
            | Self::OtherHost { .. }
            | Self::OtherUse
            | Self::NoCertificate
            | Self::Unwelcome(_)
            | Self::Refused(_) => Disposition::Reject,
            Self::Deadline | Self::Broken { .. } => Disposition::Retry,
        }
    }
}

/// A name that the library shows as its code has it: `DnsName("localhost")`.
fn plain(name: &str) -> String {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"').to_owned()
}
