//! No text makes the reading of certificates panic, and each certificate that is read is the whole of its block: written as
//! PEM again it says the same. An identity in one is a right one, and its key and its signer can be asked about.
//!
//! Input: what the rest is: PEM, or the bytes in a block of PEM.

#![no_main]

use std::{net::IpAddr, sync::LazyLock, time::Duration};

use annals::{
    certs::{Authority, Certificate, CertsError, Holder, Hosts, Identity, Key, Name, Terms},
    types::TimestampMs,
};
use annals_fuzz::seeds;
use base64::{Engine, prelude::BASE64_STANDARD};
use libfuzzer_sys::fuzz_target;

/// A key that no certificate of the corpus is of.
static KEY: LazyLock<Key> = LazyLock::new(|| Key::generate().expect("there is chance"));

fuzz_target!(init: seeds::plant("certificates", seeds()), |input: &[u8]| {
    if let [is_der, bytes @ ..] = input {
        let text = if is_der % 2 == 1 { pem(bytes).into_bytes() } else { bytes.to_vec() };
        check(&text);
    }
});

fn pem(der: &[u8]) -> String {
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        BASE64_STANDARD.encode(der)
    )
}

/// An authority and a node, each as PEM and as bytes, and both in one text.
fn seeds() -> Vec<Vec<u8>> {
    let name = |text: &str| -> Name { text.parse().expect("it is a name") };
    let terms = Terms {
        now: TimestampMs(1_795_157_460_000),
        valid_for: Duration::from_secs(1 << 20),
    };
    let authority = Authority::make(&name("orders"), &KEY, terms).expect("it can be made");
    let key = Key::from_pem(KEY.to_pem().as_bytes()).expect("it is one");
    let signer = Authority::read(authority.as_bytes(), key).expect("it was just made");
    let ips: [IpAddr; 2] = [[127, 0, 0, 1].into(), [0_u16; 8].into()];
    let hosts = Hosts::new("node-0.example.com".parse(), ips);
    let node = signer
        .sign(&Holder::Node(name("node-0")), &hosts, &KEY, terms)
        .expect("it can be signed");
    let both = [node.as_str(), authority.as_str()].concat();
    let der = |pem: &str| {
        Certificate::from_pem(pem.as_bytes())
            .expect("it was just made")
            .der()
            .to_vec()
    };
    vec![
        [&[1], &der(&authority)[..]].concat(),
        [&[1], &der(&node)[..]].concat(),
        [&[0], node.as_bytes()].concat(),
        [&[0], both.as_bytes()].concat(),
    ]
}

fn check(text: &[u8]) {
    let all = match Certificate::all_from_pem(text) {
        Ok(all) => all,
        Err(error) => {
            let is_clear = matches!(
                error,
                CertsError::NoCertificate | CertsError::DamagedPem | CertsError::DamagedCertificate
            );
            return assert!(is_clear && Certificate::from_pem(text).is_err(), "{error}");
        }
    };
    assert_eq!(Certificate::from_pem(text).as_ref(), Ok(&all[0]));
    for certificate in &all {
        assert_eq!(
            der_length(certificate.der()),
            certificate.der().len(),
            "something is behind it"
        );
        assert_eq!(
            Certificate::all_from_pem(pem(certificate.der()).as_bytes()),
            Ok(vec![certificate.clone()])
        );
        if let Some(identity) = &certificate.identity {
            assert_eq!(Identity::from_uri(&identity.to_string()).as_ref(), Some(identity));
        }
        assert_eq!(
            certificate.not_before.0 % 1000 + certificate.not_after.0 % 1000,
            0
        );
        let _ = (certificate.is_of(&KEY), certificate.is_signed_by(&all[0]));
    }
    if let Ok(key) = Key::from_pem(text) {
        assert_eq!(
            Key::from_pem(key.to_pem().as_bytes()).map(|again| again.public()),
            Ok(key.public())
        );
    }
}

/// Bytes of the outermost value of DER, by its own length.
fn der_length(der: &[u8]) -> usize {
    match der[1] {
        short @ ..0x80 => 2 + usize::from(short),
        long => {
            let bytes = &der[2..2 + usize::from(long & 0x7f)];
            2 + bytes.len()
                + bytes
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
    }
}
