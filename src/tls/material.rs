//! A certificate, its key and whom one believes: read, and found to fit together.

use std::sync::Arc;

use rustls::{CertificateError, pki_types::CertificateDer, sign::CertifiedKey};

use super::{
    Authorities, Contents, Files, MaterialError, MaterialFile, MaterialProblem, NodeNames, Usage,
    certificate::{certified_key, check_time},
    error::OF_ANOTHER_USE,
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
        check_time(certificate.not_before, certificate.not_after, now).map_err(in_certificate)?;
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
fn own(
    certificate: &[u8],
    key: &[u8],
) -> Result<(Certificate, Arc<CertifiedKey>), (MaterialFile, MaterialProblem)> {
    let chain = Certificate::all_from_pem(certificate);
    let mut chain = chain.map_err(|error| (MaterialFile::Certificate, error.into()))?;
    let ders = chain
        .iter()
        .map(|certificate| CertificateDer::from(certificate.der().to_vec()));
    let own = certified_key(ders.collect(), key).map_err(|problem| (MaterialFile::Key, problem))?;
    Ok((chain.swap_remove(0), own))
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
            OF_ANOTHER_USE.to_owned()
        }
        other => other.to_string(),
    }
}
