//! What is in the certificates, read by x509-parser.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use annals::{
    certs::{Authority, BACKDATED, Certificate, CertsError, Holder, Hosts, Identity, Key, Terms},
    types::TimestampMs,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use x509_parser::{pem::Pem, prelude::*};

use crate::support::{Cluster, DAY, Pair, client, name, node};

/// 2026-11-20T06:51:00Z.
const NOW: TimestampMs = TimestampMs(1_795_157_460_000);

fn orders() -> Cluster {
    Cluster::made_at("orders", NOW, DAY * 3650)
}

fn der(pem: &str) -> Vec<u8> {
    let blocks: Vec<Pem> = Pem::iter_from_buffer(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].label, "CERTIFICATE");
    blocks[0].contents.clone()
}

/// Its subject alternative names, as text.
fn names(read: &X509Certificate<'_>) -> Vec<String> {
    let names = read.subject_alternative_name().unwrap().unwrap();
    assert!(!names.critical, "it has a subject beside them");
    names.value.general_names.iter().map(name_as_text).collect()
}

/// x509-parser shows the bytes of an address.
fn name_as_text(name: &GeneralName<'_>) -> String {
    let ip: IpAddr = match name {
        GeneralName::IPAddress(bytes) if bytes.len() == 4 => <[u8; 4]>::try_from(*bytes).unwrap().into(),
        GeneralName::IPAddress(bytes) => <[u8; 16]>::try_from(*bytes).unwrap().into(),
        other => return other.to_string(),
    };
    format!("IPAddress({ip})")
}

/// Critical or not, each extension: what does not know one that is must refuse the certificate.
fn critical(read: &X509Certificate<'_>) -> BTreeSet<String> {
    let critical = read.extensions().iter().filter(|extension| extension.critical);
    critical.map(|extension| extension.oid.to_string()).collect()
}

const KEY_USAGE: &str = "2.5.29.15";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";

/// From an hour before it was made, and for as long as was asked for.
fn assert_valid(read: &X509Certificate<'_>, valid_for: Duration) {
    let seconds = i64::try_from(NOW.0 / 1000).unwrap();
    let backdated = i64::try_from(BACKDATED.as_secs()).unwrap();
    assert_eq!(read.validity().not_before.timestamp(), seconds - backdated);
    assert_eq!(
        read.validity().not_after.timestamp(),
        seconds + i64::try_from(valid_for.as_secs()).unwrap()
    );
}

fn assert_p256(read: &X509Certificate<'_>) {
    // id-ecPublicKey over prime256v1, signed by ecdsa-with-SHA256.
    let algorithm = &read.public_key().algorithm;
    assert_eq!(algorithm.algorithm.to_string(), "1.2.840.10045.2.1");
    let curve = algorithm.parameters.as_ref().unwrap().as_oid().unwrap();
    assert_eq!(curve.to_string(), "1.2.840.10045.3.1.7");
    assert_eq!(
        read.signature_algorithm.algorithm.to_string(),
        "1.2.840.10045.4.3.2"
    );
}

#[test]
fn an_authority_may_sign_and_nothing_else() {
    let der = der(&orders().certificate);
    let (behind, read) = X509Certificate::from_der(&der).unwrap();
    assert!(behind.is_empty());
    assert_eq!(read.version(), X509Version::V3);
    assert_eq!(read.subject().to_string(), "CN=Annals CA, O=orders");
    assert_eq!(read.issuer().as_raw(), read.subject().as_raw());
    assert_eq!(names(&read), ["URI(annals://orders/ca)"]);
    let constraints = read.basic_constraints().unwrap().unwrap().value;
    assert!(constraints.ca);
    assert_eq!(constraints.path_len_constraint, Some(0));
    let usage = read.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign());
    assert_eq!(usage.flags.count_ones(), 2);
    assert!(read.extended_key_usage().unwrap().is_none());
    assert_eq!(
        critical(&read),
        BTreeSet::from([KEY_USAGE.to_owned(), BASIC_CONSTRAINTS.to_owned()])
    );
    assert_valid(&read, DAY * 3650);
    assert_p256(&read);
    read.verify_signature(None).unwrap();
}

/// What nodes and clients have alike.
fn assert_leaf(read: &X509Certificate<'_>, cluster: &Cluster) {
    let authority = der(&cluster.certificate);
    let (_, authority) = X509Certificate::from_der(&authority).unwrap();
    assert_eq!(read.issuer().as_raw(), authority.subject().as_raw());
    read.verify_signature(Some(authority.public_key())).unwrap();
    assert!(!read.basic_constraints().unwrap().unwrap().value.ca);
    let usage = read.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature());
    assert_eq!(usage.flags.count_ones(), 1);
    assert_eq!(
        critical(read),
        BTreeSet::from([KEY_USAGE.to_owned(), BASIC_CONSTRAINTS.to_owned()])
    );
    assert_valid(read, DAY * 365);
    assert_p256(read);
    let identifier = |read: &X509Certificate<'_>, of_authority: bool| {
        let found = read
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) if of_authority => {
                    Some(id.key_identifier.as_ref().unwrap().0.to_vec())
                }
                ParsedExtension::SubjectKeyIdentifier(id) if !of_authority => Some(id.0.to_vec()),
                _ => None,
            });
        found.unwrap()
    };
    assert_eq!(identifier(read, true), identifier(&authority, false));
}

#[test]
fn a_node_serves_and_calls_under_its_identity_and_its_hosts() {
    let cluster = orders();
    let der = der(&cluster.sign(&node("node-0"), DAY * 365).certificate);
    let (_, read) = X509Certificate::from_der(&der).unwrap();
    assert_leaf(&read, &cluster);
    assert_eq!(read.subject().to_string(), "CN=node-0, O=orders");
    assert_eq!(
        names(&read),
        [
            "URI(annals://orders/node/node-0)",
            "DNSName(node-0.example.com)",
            "DNSName(localhost)",
            "IPAddress(10.0.0.1)",
            "IPAddress(127.0.0.1)",
            "IPAddress(::1)",
        ]
    );
    let usage = read.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && !usage.any);
}

#[test]
fn a_client_calls_and_may_not_serve() {
    let cluster = orders();
    let der = der(&cluster.sign(&client("billing"), DAY * 365).certificate);
    let (_, read) = X509Certificate::from_der(&der).unwrap();
    assert_leaf(&read, &cluster);
    assert_eq!(read.subject().to_string(), "CN=billing, O=orders");
    assert_eq!(names(&read), ["URI(annals://orders/client/billing)"]);
    let usage = read.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
}

#[test]
fn no_two_serial_numbers_are_the_same_not_with_one_key_either() {
    let cluster = orders();
    let key = Key::generate().unwrap();
    let terms = Terms {
        now: NOW,
        valid_for: DAY,
    };
    let mut serials = BTreeSet::new();
    for _ in 0..50 {
        let made = cluster
            .authority
            .sign(&client("a"), &Hosts::default(), &key, terms);
        let der = der(&made.unwrap());
        let (_, read) = X509Certificate::from_der(&der).unwrap();
        let serial = read.raw_serial().to_vec();
        // Positive, of one length, and not above what RFC 5280 allows.
        assert_eq!(serial.len(), 16);
        assert_eq!(serial[0] & 0x80, 0);
        serials.insert(serial);
    }
    assert_eq!(serials.len(), 50);
}

#[test]
fn nothing_outlives_its_authority() {
    let cluster = Cluster::made_at("orders", NOW, DAY * 30);
    let read = Certificate::from_pem(cluster.sign(&node("a"), DAY * 365).certificate.as_bytes()).unwrap();
    assert_eq!(read.not_after, cluster.authority.certificate().not_after);
}

#[test]
fn an_authority_that_is_not_valid_signs_nothing() {
    let cluster = Cluster::made_at("orders", NOW, DAY);
    let sign = |now| {
        let terms = Terms { now, valid_for: DAY };
        let key = Key::generate().unwrap();
        cluster.authority.sign(&node("a"), &Hosts::default(), &key, terms)
    };
    let day_ms = 24 * 3600 * 1000;
    assert!(sign(TimestampMs(NOW.0 + day_ms - 1000)).is_ok());
    for now in [NOW.0 + day_ms, NOW.0 - day_ms] {
        assert_eq!(sign(TimestampMs(now)), Err(CertsError::AuthorityNotValid));
    }
}

#[test]
fn an_authority_signs_no_other() {
    let key = Key::generate().unwrap();
    let terms = Terms {
        now: NOW,
        valid_for: DAY,
    };
    let made = orders()
        .authority
        .sign(&Holder::Authority, &Hosts::default(), &key, terms);
    assert_eq!(made, Err(CertsError::NoAuthority));
}

#[test]
fn what_is_no_authority_is_not_read_as_one() {
    let cluster = orders();
    let Pair { certificate, key } = cluster.sign(&node("a"), DAY);
    let read = |certificate: &str, key: &str| {
        Authority::read(certificate.as_bytes(), Key::from_pem(key.as_bytes()).unwrap()).unwrap_err()
    };
    assert_eq!(read(&certificate, &key), CertsError::NoAuthority);
    assert_eq!(read(&cluster.certificate, &key), CertsError::KeyOfAnother);
    assert_eq!(read("", &key), CertsError::NoCertificate);
    assert_eq!(read(&key, &key), CertsError::NoCertificate);
}

#[test]
fn a_certificate_reads_back_as_what_it_was_made_of() {
    let cluster = orders();
    let pair = cluster.sign(&node("node-0"), DAY);
    let read = Certificate::from_pem(pair.certificate.as_bytes()).unwrap();
    let identity = Identity {
        cluster: name("orders"),
        holder: node("node-0"),
    };
    assert_eq!(read.identity, Some(identity));
    assert_eq!(read.dns, ["node-0.example.com", "localhost"]);
    assert_eq!(read.ips.len(), 3);
    assert_eq!(read.others, [""; 0]);
    assert!(!read.is_authority);
    assert!(read.is_of(&Key::from_pem(pair.key.as_bytes()).unwrap()));
    assert!(!read.is_of(&Key::generate().unwrap()));
    assert!(read.is_signed_by(cluster.authority.certificate()));
    // Of the same name, and another.
    assert!(!read.is_signed_by(orders().authority.certificate()));
    let both = pair.certificate + cluster.certificate.as_str();
    assert_eq!(Certificate::all_from_pem(both.as_bytes()).unwrap().len(), 2);
}

/// Whoever claims to be two is neither: not the first, and not the last.
#[test]
fn two_identities_in_one_certificate_are_none() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let uri = |text: &str| rcgen::SanType::URI(text.try_into().unwrap());
    for claims in [
        vec!["annals://orders/node/a", "annals://orders/client/b"],
        vec!["annals://orders/node/a", "ANNALS://x"],
        vec!["annals://orders/node/a/b"],
    ] {
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = claims.iter().map(|claim| uri(claim)).collect();
        let made = params.self_signed(&key).unwrap();
        let pem = pem(made.der());
        let read = Certificate::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(read.identity, None, "{claims:?}");
        assert_eq!(read.others.len(), claims.len());
    }
}

#[test]
fn a_damaged_certificate_is_refused_and_nothing_panics() {
    let whole = orders().certificate;
    for cut in 0..whole.len() - 1 {
        let read = Certificate::from_pem(&whole.as_bytes()[..cut]);
        // Without the last dashes the block still ends.
        assert!(read.is_err() || cut > whole.len() - 20, "cut at {cut}");
    }
    let der = der(&whole);
    let authority = Certificate::from_pem(whole.as_bytes()).unwrap();
    assert!(authority.is_signed_by(&authority));
    let (_, read) = X509Certificate::from_der(&der).unwrap();
    // Behind its head of four bytes; what follows it is not signed.
    let signed = 4..4 + read.tbs_certificate.as_ref().len();
    for at in 0..der.len() {
        let mut damaged = der.clone();
        damaged[at] ^= 0x55;
        let pem = pem(&damaged);
        if let Ok(read) = Certificate::from_pem(pem.as_bytes()) {
            assert!(
                !read.is_signed_by(&authority) || !signed.contains(&at),
                "byte {at}"
            );
        }
    }
}

fn pem(der: &[u8]) -> String {
    let encoded = BASE64_STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n")
}
