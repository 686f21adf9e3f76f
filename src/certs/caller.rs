//! Who is at the other end of a connection, by the certificate that it proved to have.

use std::{fmt, sync::Arc};

use crate::types::TimestampMs;

use super::{Certificate, DnsName, Fingerprint, Holder, Identity, NamesNobody, nobody::SUBJECT_BYTES_MAX};

/// What policies call those who come without a certificate.
const ANONYMOUS: &str = "anonymous";

/// Every URI has one behind its scheme, and no name of another kind has any.
const BEHIND_SCHEME: char = ':';

/// Who is at the other end of a connection. Cheap to clone; clones are the same.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller(Arc<Facts>);

#[derive(PartialEq, Eq)]
struct Facts {
    subject: String,
    identity: Option<Identity>,
    fingerprint: Fingerprint,
    not_after: TimestampMs,
}

impl Caller {
    /// Whose certificate that is. Who they are is, in this order: the one identity it has; its first other URI; its first DNS
    /// name that is not `localhost`; its common name, if that is allowed. What is there and unsuitable is not passed over.
    ///
    /// Whether to believe the certificate is not asked here.
    ///
    /// Errors: see [`NamesNobody`].
    pub fn of(certificate: &Certificate, allow_common_name: bool) -> Result<Self, NamesNobody> {
        Ok(Self(Arc::new(Facts {
            subject: subject(certificate, allow_common_name)?,
            identity: certificate.identity.clone(),
            fingerprint: certificate.fingerprint(),
            not_after: certificate.not_after,
        })))
    }

    /// Its one name, in rules and in the audit trail: `annals://orders/client/app`, `spiffe://example.com/app`,
    /// `app.example.com`. Printable ASCII without spaces, commas and quotes, at most 256 bytes.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Which node or client of which cluster it is, when its certificate is of that kind.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.0.identity.as_ref()
    }

    /// Which certificate it has.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// Until when that is valid.
    #[must_use]
    pub fn not_after(&self) -> TimestampMs {
        self.0.not_after
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.0.subject).finish()
    }
}

fn subject(certificate: &Certificate, allow_common_name: bool) -> Result<String, NamesNobody> {
    if certificate.uris.iter().any(|uri| Identity::is_claimed_by(uri)) {
        return match &certificate.identity {
            Some(
                identity @ Identity {
                    holder: Holder::Node(_) | Holder::Client(_),
                    ..
                },
            ) => Ok(identity.to_string()),
            _ => Err(NamesNobody::UnclearIdentity),
        };
    }
    if let Some(uri) = certificate.uris.first() {
        return suitable(uri, uri.contains(BEHIND_SCHEME));
    }
    let mut dns = certificate.dns.iter();
    if let Some(name) = dns.find(|name| !name.eq_ignore_ascii_case("localhost")) {
        // Case says nothing in DNS, and rules compare letter by letter.
        let name = name.to_ascii_lowercase();
        let is_dns = name.parse::<DnsName>().is_ok();
        return suitable(&name, is_dns);
    }
    match &certificate.common_name {
        Some(name) if allow_common_name => suitable(name, !name.contains(BEHIND_SCHEME)),
        Some(_) => Err(NamesNobody::NoName),
        None => Err(NamesNobody::Nameless),
    }
}

/// The name, if it is of its kind and can stand in a rule. It comes from outside.
fn suitable(name: &str, is_of_its_kind: bool) -> Result<String, NamesNobody> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'"' | b'\'');
    if is_of_its_kind
        && name != ANONYMOUS
        && (1..=SUBJECT_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_plain)
    {
        Ok(name.to_owned())
    } else {
        Err(NamesNobody::UnsuitableName)
    }
}
