//! A certificate, read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::{prelude::*, time::ASN1Time};

use crate::types::TimestampMs;

use super::{
    CertsError, Fingerprint, Identity, Key,
    pem::{CERTIFICATE, from_pem},
};

/// What a certificate says. Its texts are as they stand in it: whoever prints them takes care of what is unprintable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is, as X.509 writes names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Who it says its holder is; `None` where no URI of it is an identity, or several claim to be.
    pub identity: Option<Identity>,
    /// The DNS names it vouches for.
    pub dns: Vec<String>,
    /// The addresses it vouches for.
    pub ips: Vec<IpAddr>,
    /// What else it vouches for: other URIs, mail addresses.
    pub others: Vec<String>,
    /// All its URIs, claimed identities too, as they stand in it.
    pub uris: Vec<String>,
    /// The common name of its subject; `None` where there is none, or several.
    pub common_name: Option<String>,
    /// Valid from here on.
    pub not_before: TimestampMs,
    /// Valid up to here.
    pub not_after: TimestampMs,
    /// May sign others.
    pub is_authority: bool,
    public_key: Vec<u8>,
    der: Vec<u8>,
}

impl Certificate {
    /// Every certificate in a text, in its order; at least one.
    ///
    /// Errors: `NoCertificate`, `DamagedPem`, `DamagedCertificate`.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, CertsError> {
        let blocks = from_pem(text, CERTIFICATE)?;
        if blocks.is_empty() {
            return Err(CertsError::NoCertificate);
        }
        blocks.into_iter().map(Self::from_der).collect()
    }

    /// The first certificate in a text: that of whoever holds the key; what follows are those who vouch for it.
    ///
    /// Errors: as [`Certificate::all_from_pem`].
    pub fn from_pem(text: &[u8]) -> Result<Self, CertsError> {
        let mut all = Self::all_from_pem(text)?;
        Ok(all.swap_remove(0))
    }

    /// Whether this is the key of the certificate.
    #[must_use]
    pub fn is_of(&self, key: &Key) -> bool {
        self.public_key == key.public()
    }

    /// Whether that authority signed it, whatever it says of itself.
    #[must_use]
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        let (Ok((_, own)), Ok((_, signer))) = (
            X509Certificate::from_der(&self.der),
            X509Certificate::from_der(&authority.der),
        ) else {
            return false;
        };
        own.issuer().as_raw() == signer.subject().as_raw()
            && own.verify_signature(Some(signer.public_key())).is_ok()
    }

    /// The bytes of it.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What tells it from every other certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    /// The certificate in these bytes.
    ///
    /// Errors: `DamagedCertificate`.
    pub fn from_der(der: Vec<u8>) -> Result<Self, CertsError> {
        let damaged = |_| CertsError::DamagedCertificate;
        let (behind, read) = X509Certificate::from_der(&der).map_err(|_| CertsError::DamagedCertificate)?;
        if !behind.is_empty() {
            return Err(CertsError::DamagedCertificate);
        }
        let names = read.subject_alternative_name().map_err(damaged)?;
        let names = names.map_or_else(Names::default, |names| Names::of(&names.value.general_names));
        Ok(Self {
            subject: read.subject().to_string(),
            issuer: read.issuer().to_string(),
            identity: names.identity(),
            common_name: common_name(read.subject()),
            uris: names.uris,
            dns: names.dns,
            ips: names.ips,
            others: names.others,
            not_before: timestamp(read.validity().not_before),
            not_after: timestamp(read.validity().not_after),
            is_authority: read.is_ca(),
            public_key: read.public_key().raw.to_owned(),
            der,
        })
    }
}

/// A certificate may name any year; before 1970 counts as 1970.
fn timestamp(time: ASN1Time) -> TimestampMs {
    TimestampMs(
        u64::try_from(time.timestamp())
            .unwrap_or_default()
            .saturating_mul(1000),
    )
}

fn common_name(subject: &X509Name<'_>) -> Option<String> {
    let mut names = subject.iter_common_name();
    let (name, None) = (names.next()?, names.next()) else {
        return None;
    };
    name.as_str().ok().map(str::to_owned)
}

/// The subject alternative names, sorted by what they are.
#[derive(Default)]
struct Names {
    claims: Vec<String>,
    uris: Vec<String>,
    dns: Vec<String>,
    ips: Vec<IpAddr>,
    others: Vec<String>,
}

impl Names {
    fn of(all: &[GeneralName<'_>]) -> Self {
        let mut names = Self::default();
        for name in all {
            if let GeneralName::URI(uri) = name {
                names.uris.push((*uri).to_owned());
            }
            match name {
                GeneralName::URI(uri) if Identity::is_claimed_by(uri) => names.claims.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => names.dns.push((*dns).to_owned()),
                GeneralName::IPAddress(bytes) if ip(bytes).is_some() => names.ips.extend(ip(bytes)),
                other => names.others.push(other.to_string()),
            }
        }
        if names.identity().is_none() {
            names.others.append(&mut names.claims);
        }
        names
    }

    /// Who claims to be two is neither.
    fn identity(&self) -> Option<Identity> {
        match self.claims.as_slice() {
            [claim] => Identity::from_uri(claim),
            _ => None,
        }
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into());
    v4.or(v6).ok()
}
