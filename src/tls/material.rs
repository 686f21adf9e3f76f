//! A certificate, its key and whom one believes: read, and found to fit together.

use std::sync::Arc;

use rustls::{
    CertificateError, Error, InconsistentKeys,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{
    Authorities, Contents, Files, MaterialError, MaterialFile, MaterialProblem, NodeNames, Usage, provider,
};
use crate::{
    certs::{Certificate, Holder, Identity},
    types::TimestampMs,
};

/// What one proves who one is with, and whom one believes. It fits together.
#[derive(Clone, Debug)]
pub struct Material {
    certificate: Certificate,
    own: Arc<CertifiedKey>,
    authorities: Authorities,
}

impl Material {
    /// What a node needs, if all of it is right at this time: the key is the certificate's, the certificate is that node's and
    /// valid, and the authorities that the node believes vouch for it, so that its peers, who believe the same, will take it.
    ///
    /// Errors: the first thing that is not so, and in which file.
    pub fn of_node(
        contents: &Contents,
        files: &Files,
        names: &NodeNames,
        now: TimestampMs,
    ) -> Result<Self, MaterialError> {
        let fault = |file, problem| files.fault(file, problem);
        let (certificate, own) = own(&contents.certificate, &contents.key)
            .map_err(|(file, problem)| files.fault(file, problem))?;
        let authorities = Authorities::parse(&contents.authorities)
            .map_err(|problem| fault(MaterialFile::Authorities, problem))?;
        let in_certificate = |problem| fault(MaterialFile::Certificate, problem);
        check_time(&certificate, now).map_err(in_certificate)?;
        for usage in [Usage::Server, Usage::Client] {
            authorities.vouch(&own.cert, usage, now).map_err(|error| {
                in_certificate(MaterialProblem::NotVouchedFor {
                    reason: reason(&error),
                })
            })?;
        }
        check_node(&certificate, names).map_err(in_certificate)?;
        Ok(Self {
            certificate,
            own,
            authorities,
        })
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whom one believes.
    #[must_use]
    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    pub(super) fn own(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.own)
    }
}

/// A certificate with those who vouch for it, and its key.
pub(super) fn own(
    certificate: &[u8],
    key: &[u8],
) -> Result<(Certificate, Arc<CertifiedKey>), (MaterialFile, MaterialProblem)> {
    let chain = Certificate::all_from_pem(certificate);
    let mut chain = chain.map_err(|error| (MaterialFile::Certificate, error.into()))?;
    let ders = chain
        .iter()
        .map(|certificate| CertificateDer::from(certificate.der().to_vec()));
    let ders = ders.collect();
    let in_key = |problem| (MaterialFile::Key, problem);
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| in_key(MaterialProblem::NoKey))?;
    let signing = provider().key_provider.load_private_key(key);
    let signing = signing.map_err(|_| in_key(MaterialProblem::UnknownKey))?;
    let own = CertifiedKey::new(ders, signing);
    match own.keys_match() {
        Ok(()) => Ok((chain.swap_remove(0), Arc::new(own))),
        // A kind of key that does not tell its public half: the handshake shows whether it is the right one.
        Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok((chain.swap_remove(0), Arc::new(own))),
        Err(_) => Err(in_key(MaterialProblem::KeyOfAnother)),
    }
}

/// Whether the certificate is valid now.
pub(super) fn check_time(certificate: &Certificate, now: TimestampMs) -> Result<(), MaterialProblem> {
    let (not_before, not_after) = (certificate.not_before, certificate.not_after);
    if now < not_before {
        Err(MaterialProblem::NotYetValid { not_before })
    } else if now >= not_after {
        Err(MaterialProblem::Expired { not_after })
    } else {
        Ok(())
    }
}

fn check_node(certificate: &Certificate, names: &NodeNames) -> Result<(), MaterialProblem> {
    let NodeNames { cluster, node } = names.clone();
    match &certificate.identity {
        Some(Identity {
            cluster: theirs,
            holder: Holder::Node(name),
        }) if theirs.as_str() == cluster && name.as_str() == node => Ok(()),
        Some(
            identity @ Identity {
                holder: Holder::Node(_),
                ..
            },
        ) => Err(MaterialProblem::OfAnother {
            found: identity.to_string(),
            cluster,
            node,
        }),
        _ => Err(MaterialProblem::NotOfANode { cluster, node }),
    }
}

/// Why nobody vouches for a certificate, for people.
pub(super) fn reason(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "none of them signed it".to_owned(),
        CertificateError::BadSignature => "one of the same name did not sign it".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it was not made for this use".to_owned()
        }
        other => other.to_string(),
    }
}
