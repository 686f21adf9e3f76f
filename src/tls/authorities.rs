//! Whom one believes, and whether they vouch for a certificate.

use std::{sync::Arc, time::Duration};

use rustls::{
    CertificateError, Error, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{CertificateDer, UnixTime},
    server::{ParsedCertificate, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{MaterialProblem, provider};
use crate::{certs::Certificate, types::TimestampMs};

/// What somebody does with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Calls.
    Client,
    /// Serves.
    Server,
}

/// The authorities that are believed; at least one.
#[derive(Clone, Debug)]
pub struct Authorities {
    certificates: Vec<Certificate>,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Authorities {
    /// Those whose certificates are in a text.
    ///
    /// Errors: `Certificate`; `NoAuthority`, when one of them may not sign.
    pub(super) fn parse(text: &[u8]) -> Result<Self, MaterialProblem> {
        let certificates = Certificate::all_from_pem(text)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let no_authority = || MaterialProblem::NoAuthority {
                subject: certificate.subject.clone(),
            };
            if !certificate.is_authority {
                return Err(no_authority());
            }
            let der = CertificateDer::from(certificate.der().to_vec());
            roots.add(der).map_err(|_| no_authority())?;
        }
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider());
        let clients = clients.build().map_err(|error| MaterialProblem::NotVouchedFor {
            reason: error.to_string(),
        })?;
        Ok(Self {
            certificates,
            roots,
            clients,
        })
    }

    /// Their certificates.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether they vouch, for this use and at this time, for the first of `chain`, with the others between it and them.
    ///
    /// Errors: what is wrong with the certificate, as TLS names it.
    pub fn vouch(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: TimestampMs,
    ) -> Result<(), CertificateError> {
        let (own, between) = chain.split_first().ok_or(CertificateError::BadEncoding)?;
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        let vouched = match usage {
            Usage::Client => self.clients.verify_client_cert(own, between, now).map(|_| ()),
            Usage::Server => ParsedCertificate::try_from(own).and_then(|own| {
                let algorithms = provider().signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&own, &self.roots, between, now, algorithms)
            }),
        };
        vouched.map_err(|error| match error {
            Error::InvalidCertificate(error) => error,
            _ => CertificateError::BadEncoding,
        })
    }

    pub(super) fn clients(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.clients)
    }
}
