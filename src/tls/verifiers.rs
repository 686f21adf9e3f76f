//! What a certificate must be for its holder to be let in: vouched for, as TLS has it, and welcome.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::{Authorities, Unwelcome, Usage, identity, provider};
use crate::types::TimestampMs;

/// Who may call.
#[derive(Clone, Debug)]
pub(super) enum Welcome {
    /// Whoever has a name.
    Anybody { allow_common_name: bool },
    /// Nodes of this cluster.
    Nodes { cluster: String },
}

impl Welcome {
    pub(super) fn check(&self, der: &[u8]) -> Result<crate::certs::Caller, Unwelcome> {
        match self {
            Self::Anybody { allow_common_name } => identity::caller(der, *allow_common_name),
            Self::Nodes { cluster } => identity::node(der, cluster, None),
        }
    }
}

fn unwelcome(unwelcome: Unwelcome) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(unwelcome))))
}

/// Looks at those who call.
#[derive(Debug)]
pub(super) struct Callers {
    vouched: Arc<dyn ClientCertVerifier>,
    welcome: Welcome,
}

impl Callers {
    pub(super) fn new(authorities: &Authorities, welcome: Welcome) -> Self {
        Self {
            vouched: authorities.clients(),
            welcome,
        }
    }
}

impl ClientCertVerifier for Callers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.vouched.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.vouched.verify_client_cert(end_entity, intermediates, now)?;
        self.welcome.check(end_entity).map_err(unwelcome)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.vouched.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.vouched.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.vouched.supported_verify_schemes()
    }
}

/// Looks at a node that was called by another: not at its host, since nodes move, but at its name.
pub(super) struct CalledNode {
    authorities: Authorities,
    algorithms: WebPkiSupportedAlgorithms,
    cluster: String,
    name: Option<String>,
}

impl CalledNode {
    pub(super) fn new(authorities: Authorities, cluster: &str, name: Option<String>) -> Self {
        Self {
            authorities,
            algorithms: provider().signature_verification_algorithms,
            cluster: cluster.to_owned(),
            name,
        }
    }
}

impl fmt::Debug for CalledNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CalledNode").field(&self.name).finish()
    }
}

impl ServerCertVerifier for CalledNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity)
            .chain(intermediates)
            .cloned()
            .collect();
        let now = TimestampMs(now.as_secs().saturating_mul(1000));
        let vouched = self.authorities.vouch(&chain, Usage::Server, now);
        vouched.map_err(Error::InvalidCertificate)?;
        identity::node(end_entity, &self.cluster, self.name.as_deref()).map_err(unwelcome)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
