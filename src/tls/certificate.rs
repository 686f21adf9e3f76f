//! What a client has to know of a certificate: whose it is, when it is valid, and whether it may sign others.
//!
//! A few fields of X.509 (RFC 5280, section 4.1), read where they stand. The library that verifies does not show them, and one that reads all
//! of a certificate is the server's. Whatever cannot be read here is damaged; nothing is believed because of what is read here.

use std::{ops::Range, sync::Arc};

use rustls::{
    Error, InconsistentKeys, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{MaterialProblem, provider};
use crate::{certs::CertsError, types::TimestampMs};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whose it is: the common names of its subject.
    pub(super) subject: String,
    /// Valid from here on.
    pub(super) not_before: TimestampMs,
    /// Valid up to here.
    pub(super) not_after: TimestampMs,
    /// May sign others.
    pub(super) is_authority: bool,
}

// Tags of ASN.1 (X.690, section 8).
const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.19.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

impl Facts {
    /// Those of the certificate in these bytes; `None`: it is damaged.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let mut whole = Reader(der);
        let mut certificate = Reader(whole.expect(SEQUENCE)?);
        let mut signed = Reader(certificate.expect(SEQUENCE)?);
        // The algorithm, and the signature.
        certificate.expect(SEQUENCE)?;
        certificate.expect(BIT_STRING)?;
        if !whole.0.is_empty() || !certificate.0.is_empty() {
            return None;
        }
        signed.skip_if(VERSION)?;
        // Serial number, algorithm, issuer.
        for _ in 0..3 {
            signed.next()?;
        }
        let mut validity = Reader(signed.expect(SEQUENCE)?);
        let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = subject(signed.expect(SEQUENCE)?)?;
        // The public key.
        signed.expect(SEQUENCE)?;
        let mut is_authority = false;
        while let Some((tag, value)) = signed.next_if_any()? {
            if tag == EXTENSIONS {
                is_authority = may_sign(value)?;
            }
        }
        Some(Self {
            subject,
            not_before,
            not_after,
            is_authority,
        })
    }
}

/// Fields one after the other, each a tag, a length and so many bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next field; `None`: what is there is no field.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        // A short length, or how many bytes a long one has.
        let (len, rest) = match usize::from(first) {
            short @ 0..=0x7f => (short, rest),
            long @ 0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
                let len = bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
                (len, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next field, if there is one; the outer `None`: it is no field.
    fn next_if_any(&mut self) -> Option<Option<(u8, &'a [u8])>> {
        if self.0.is_empty() {
            return Some(None);
        }
        self.next().map(Some)
    }

    /// The next field, which is one of that kind.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, value)| value)
    }

    fn skip_if(&mut self, tag: u8) -> Option<()> {
        if self.0.first() == Some(&tag) {
            self.next()?;
        }
        Some(())
    }
}

/// The common names in a name, as X.509 writes them.
fn subject(name: &[u8]) -> Option<String> {
    let mut sets = Reader(name);
    let mut found = Vec::new();
    while let Some((tag, set)) = sets.next_if_any()? {
        if tag != SET {
            return None;
        }
        let mut set = Reader(set);
        while let Some((tag, attribute)) = set.next_if_any()? {
            let mut attribute = Reader((tag == SEQUENCE).then_some(attribute)?);
            let kind = attribute.expect(OBJECT_ID)?;
            let (_, value) = attribute.next()?;
            if kind == COMMON_NAME {
                found.push(format!("CN={}", String::from_utf8_lossy(value)));
            }
        }
    }
    Some(found.join(", "))
}

/// Whether the extensions say that the certificate may sign others.
fn may_sign(extensions: &[u8]) -> Option<bool> {
    let mut all = Reader(Reader(extensions).expect(SEQUENCE)?);
    while let Some((tag, extension)) = all.next_if_any()? {
        let mut extension = Reader((tag == SEQUENCE).then_some(extension)?);
        if extension.expect(OBJECT_ID)? != BASIC_CONSTRAINTS {
            continue;
        }
        // Whether it is critical.
        extension.skip_if(BOOLEAN)?;
        let mut constraints = Reader(Reader(extension.expect(OCTET_STRING)?).expect(SEQUENCE)?);
        return Some(match constraints.next_if_any()? {
            Some((BOOLEAN, value)) => value.first().is_some_and(|value| *value != 0),
            _ => false,
        });
    }
    Some(false)
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, section 4.1.2.5). Before 1970 counts as 1970.
fn time((tag, text): (u8, &[u8])) -> Option<TimestampMs> {
    let text = text.strip_suffix(b"Z")?;
    let number = |range: Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        let is_number = digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(digits)
            .ok()
            .filter(|_| is_number)?
            .parse()
            .ok()
    };
    let (year, rest) = match tag {
        UTC_TIME => {
            let year = number(0..2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, 2)
        }
        GENERALIZED_TIME => (number(0..4)?, 4),
        _ => return None,
    };
    let two = |i: usize| number(rest + 2 * i..rest + 2 * i + 2);
    let (month, day) = (two(0)?, two(1)?);
    let (hour, minute, second) = (two(2)?, two(3)?, two(4)?);
    let is_time =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if text.len() != rest + 10 || !is_time {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(TimestampMs(u64::try_from(seconds).unwrap_or_default() * 1000))
}

/// From 1970-01-01 to a day, in the calendar of Gregory: years begin in March here, so that a leap day is the last of them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Every certificate in a text, in its order, with what is to be known of it; at least one.
///
/// Errors: `Certificate`.
pub(super) fn all_from_pem(text: &[u8]) -> Result<Vec<(CertificateDer<'static>, Facts)>, MaterialProblem> {
    let mut all = Vec::new();
    for der in CertificateDer::pem_slice_iter(text) {
        let der = der.map_err(|_| CertsError::DamagedPem)?;
        let facts = Facts::of(&der).ok_or(CertsError::DamagedCertificate)?;
        all.push((der, facts));
    }
    if all.is_empty() {
        return Err(CertsError::NoCertificate.into());
    }
    Ok(all)
}

/// The authorities whose certificates are in a text.
///
/// Errors: `Certificate`; `NoAuthority`, when one of them may not sign.
pub(super) fn roots(text: &[u8]) -> Result<RootCertStore, MaterialProblem> {
    let mut roots = RootCertStore::empty();
    for (der, facts) in all_from_pem(text)? {
        let added = facts.is_authority && roots.add(der).is_ok();
        if !added {
            let subject = facts.subject;
            return Err(MaterialProblem::NoAuthority { subject });
        }
    }
    Ok(roots)
}

/// A key in PEM, with the certificate that it is of, and those that vouch for that.
///
/// Errors: `NoKey`, `UnknownKey`, `KeyOfAnother`.
pub(super) fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: &[u8],
) -> Result<Arc<CertifiedKey>, MaterialProblem> {
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| MaterialProblem::NoKey)?;
    let signing = provider().key_provider.load_private_key(key);
    let own = CertifiedKey::new(chain, signing.map_err(|_| MaterialProblem::UnknownKey)?);
    match own.keys_match() {
        // A kind of key that does not tell its public half: the handshake shows whether it is the right one.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(own)),
        Err(_) => Err(MaterialProblem::KeyOfAnother),
    }
}

/// Whether a certificate is valid now.
///
/// Errors: `NotYetValid`, `Expired`.
pub(super) fn check_time(
    not_before: TimestampMs,
    not_after: TimestampMs,
    now: TimestampMs,
) -> Result<(), MaterialProblem> {
    if now < not_before {
        Err(MaterialProblem::NotYetValid { not_before })
    } else if now >= not_after {
        Err(MaterialProblem::Expired { not_after })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::certs::{Authority, Certificate, Holder, Hosts, Key, Terms};

    fn pems(now: TimestampMs, valid_for: Duration) -> [String; 2] {
        let terms = Terms { now, valid_for };
        let (authority, key) = (Key::generate().unwrap(), Key::generate().unwrap());
        let ca = Authority::make(&"orders".parse().unwrap(), &authority, terms).unwrap();
        let signer = Authority::read(ca.as_bytes(), authority).unwrap();
        let holder = Holder::Client("app".parse().unwrap());
        let own = signer.sign(&holder, &Hosts::new([], []), &key, terms).unwrap();
        [ca, own]
    }

    #[test]
    fn what_is_read_is_what_the_library_reads_that_knows_all_of_it() {
        let day = Duration::from_secs(24 * 3600);
        // The last date has a year that two digits cannot write; the first is a leap day.
        for (now, valid_for) in [
            (951_782_400_000, day),
            (1_700_000_000_123, 365 * day),
            (2_524_600_000_000, 9999 * day),
        ] {
            for pem in pems(TimestampMs(now), valid_for) {
                let known = Certificate::from_pem(pem.as_bytes()).unwrap();
                let (der, read) = all_from_pem(pem.as_bytes()).unwrap().swap_remove(0);
                assert_eq!(&*der, known.der());
                assert_eq!(
                    (read.not_before, read.not_after),
                    (known.not_before, known.not_after)
                );
                assert_eq!(read.is_authority, known.is_authority);
                let name = known.common_name.unwrap();
                assert!(read.subject.contains(&format!("CN={name}")), "{read:?}");
            }
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_read_or_not_and_breaks_nothing() {
        for pem in pems(TimestampMs(1_700_000_000_000), Duration::from_secs(3600)) {
            let (der, read) = all_from_pem(pem.as_bytes()).unwrap().swap_remove(0);
            for end in 0..der.len() {
                assert_eq!(Facts::of(&der[..end]), None, "cut at {end}");
            }
            let mut damaged = der.to_vec();
            for at in 0..damaged.len() {
                for bit in 0..8 {
                    damaged[at] ^= 1 << bit;
                    // Whatever comes of it.
                    drop(Facts::of(&damaged));
                    damaged[at] ^= 1 << bit;
                }
            }
            assert_eq!(Facts::of(&damaged), Some(read));
        }
    }

    #[test]
    fn a_certificate_that_may_not_sign_is_no_authority() {
        let [ca, own] = pems(TimestampMs(1_700_000_000_000), Duration::from_secs(3600));
        assert_eq!(roots(ca.as_bytes()).unwrap().len(), 1);
        let error = roots(own.as_bytes()).unwrap_err();
        assert!(matches!(error, MaterialProblem::NoAuthority { .. }), "{error}");
        let error = roots(b"nothing").unwrap_err();
        assert!(
            matches!(error, MaterialProblem::Certificate(CertsError::NoCertificate)),
            "{error}"
        );
    }
}
