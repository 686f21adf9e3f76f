//! The certificate authority of a cluster: made, read, and used to sign.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, string::Ia5String,
};
use time::OffsetDateTime;

use crate::types::TimestampMs;

use super::{
    Certificate, CertsError, Holder, Hosts, Identity, Key, Name,
    pem::{CERTIFICATE, to_pem},
};

/// Certificates are valid from so long before they are made: a machine whose clock is behind takes them too. An hour is what a
/// clock is off that was set to the wrong side of summer time.
pub const BACKDATED: Duration = Duration::from_secs(3600);

/// The common name of every authority; the organization beside it is its cluster.
const AUTHORITY_COMMON_NAME: &str = "Annals CA";

/// Bytes of a serial number, 126 bits of them random: no two are the same (RFC 5280, 4.1.2.2).
const SERIAL_BYTES: usize = 16;

/// When a certificate is made, and for how long it is valid from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// When.
    pub now: TimestampMs,
    /// For how long.
    pub valid_for: Duration,
}

impl Terms {
    /// Until when that is.
    #[must_use]
    pub fn not_after(self) -> TimestampMs {
        let valid_ms = u64::try_from(self.valid_for.as_millis()).unwrap_or(u64::MAX);
        TimestampMs(self.now.0.saturating_add(valid_ms))
    }
}

/// What signs the certificates of a cluster.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    cluster: Name,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the certificate of a new authority, as PEM. It may sign those of nodes and clients, and no further authorities.
    ///
    /// Errors: `TooLong`, `NotSigned`.
    pub fn make(cluster: &Name, key: &Key, terms: Terms) -> Result<String, CertsError> {
        let identity = Identity {
            cluster: cluster.clone(),
            holder: Holder::Authority,
        };
        let mut params = params(&identity, &Hosts::default(), terms.now, terms.not_after())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = params.self_signed(key.pair())?;
        Ok(to_pem(CERTIFICATE, made.der()))
    }

    /// An authority that was made before.
    ///
    /// Errors: the text is not its certificate (`NoCertificate`, `DamagedPem`, `DamagedCertificate`), not that of an authority of
    /// a cluster (`NoAuthority`), or the key is another's (`KeyOfAnother`).
    pub fn read(certificate: &[u8], key: Key) -> Result<Self, CertsError> {
        let certificate = Certificate::from_pem(certificate)?;
        let cluster = match &certificate.identity {
            Some(Identity {
                cluster,
                holder: Holder::Authority,
            }) if certificate.is_authority => cluster.clone(),
            _ => return Err(CertsError::NoAuthority),
        };
        if !certificate.is_of(&key) {
            return Err(CertsError::KeyOfAnother);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate.der().into(), key.into_pair())?;
        Ok(Self {
            certificate,
            cluster,
            issuer,
        })
    }

    /// Its own certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whose authority it is.
    #[must_use]
    pub fn cluster(&self) -> &Name {
        &self.cluster
    }

    /// Makes the certificate of a node or a client, as PEM. It is valid no longer than the authority is.
    ///
    /// Errors: `NoAuthority` where another authority is to be made, `AuthorityNotValid`, `TooLong`, `NotSigned`.
    pub fn sign(
        &self,
        holder: &Holder,
        hosts: &Hosts,
        key: &Key,
        terms: Terms,
    ) -> Result<String, CertsError> {
        let usages = match holder {
            Holder::Authority => return Err(CertsError::NoAuthority),
            Holder::Node(_) => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            Holder::Client(_) => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        if terms.now < self.certificate.not_before || terms.now >= self.certificate.not_after {
            return Err(CertsError::AuthorityNotValid);
        }
        let identity = Identity {
            cluster: self.cluster.clone(),
            holder: holder.clone(),
        };
        let not_after = terms.not_after().min(self.certificate.not_after);
        let mut params = params(&identity, hosts, terms.now, not_after)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let made = params.signed_by(key.pair(), &self.issuer)?;
        Ok(to_pem(CERTIFICATE, made.der()))
    }
}

/// What all certificates have.
fn params(
    identity: &Identity,
    hosts: &Hosts,
    now: TimestampMs,
    not_after: TimestampMs,
) -> Result<CertificateParams, CertsError> {
    let mut params = CertificateParams::default();
    let common_name = identity.holder.name().map_or(AUTHORITY_COMMON_NAME, Name::as_str);
    // In place of the library's own.
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, identity.cluster.as_str());
    let text = |text: &str| Ia5String::try_from(text);
    params
        .subject_alt_names
        .push(SanType::URI(text(&identity.to_string())?));
    for name in hosts.dns() {
        params
            .subject_alt_names
            .push(SanType::DnsName(text(name.as_str())?));
    }
    let ips = hosts.ips().iter().copied();
    params.subject_alt_names.extend(ips.map(SanType::IpAddress));
    let backdated_ms = u64::try_from(BACKDATED.as_millis()).unwrap_or(u64::MAX);
    params.not_before = as_date(TimestampMs(now.0.saturating_sub(backdated_ms)))?;
    params.not_after = as_date(not_after)?;
    let mut serial: [u8; SERIAL_BYTES] = rand::random();
    // The first bit is that of the sign; the second keeps the number from beginning with zeros, which DER leaves out.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// Certificates know whole seconds, up to the year 9999.
fn as_date(at: TimestampMs) -> Result<OffsetDateTime, CertsError> {
    let seconds = i64::try_from(at.0 / 1000).map_err(|_| CertsError::TooLong)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| CertsError::TooLong)
}
