//! Who somebody is, by every kind of name that a certificate can have.

use annals::certs::{Caller, Certificate, NamesNobody};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};

use crate::support::{Cluster, DAY, client};

/// A certificate with these names: `uri:`, `dns:` or `ip:` before each, and `cn:` before a common name.
fn certificate(names: &[&str]) -> Certificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for name in names {
        let (kind, name) = name.split_once(':').unwrap();
        let alternative = match kind {
            "uri" => SanType::URI(name.try_into().unwrap()),
            "dns" => SanType::DnsName(name.try_into().unwrap()),
            "ip" => SanType::IpAddress(name.parse().unwrap()),
            _ => {
                params.distinguished_name.push(DnType::CommonName, name);
                continue;
            }
        };
        params.subject_alt_names.push(alternative);
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    Certificate::from_der(params.self_signed(&key).unwrap().der().to_vec()).unwrap()
}

fn subject(names: &[&str], allow_common_name: bool) -> Result<String, NamesNobody> {
    Caller::of(&certificate(names), allow_common_name).map(|caller| caller.subject().to_owned())
}

#[test]
fn a_caller_is_the_first_kind_of_name_that_its_certificate_has() {
    let table: [(&[&str], &str); 8] = [
        (
            &["uri:annals://orders/client/app", "cn:x"],
            "annals://orders/client/app",
        ),
        (
            &["uri:annals://orders/node/node-0"],
            "annals://orders/node/node-0",
        ),
        (
            &[
                "dns:app.example.com",
                "uri:spiffe://example.com/app",
                "uri:annals://orders/client/app",
            ],
            "annals://orders/client/app",
        ),
        (
            &[
                "dns:app.example.com",
                "uri:spiffe://example.com/app",
                "uri:spiffe://b",
            ],
            "spiffe://example.com/app",
        ),
        (&["uri:urn:example:app"], "urn:example:app"),
        (
            &["dns:localhost", "dns:App.Example.com", "dns:b.example.com"],
            "app.example.com",
        ),
        (
            &["ip:127.0.0.1", "dns:app.example.com", "cn:root"],
            "app.example.com",
        ),
        (&["dns:localhost", "dns:LOCALHOST", "dns:app"], "app"),
    ];
    for (names, wanted) in table {
        for allow_common_name in [false, true] {
            assert_eq!(
                subject(names, allow_common_name).as_deref(),
                Ok(wanted),
                "{names:?}"
            );
        }
    }
}

#[test]
fn a_common_name_counts_only_where_that_is_allowed_and_there_is_nothing_else() {
    for names in [
        &["cn:root"][..],
        &["cn:root", "dns:localhost"],
        &["cn:root", "ip:10.0.0.1"],
    ] {
        assert_eq!(subject(names, false), Err(NamesNobody::NoName), "{names:?}");
        assert_eq!(subject(names, true).as_deref(), Ok("root"), "{names:?}");
    }
    for names in [&[][..], &["dns:localhost"], &["ip:10.0.0.1"]] {
        for allow_common_name in [false, true] {
            assert_eq!(
                subject(names, allow_common_name),
                Err(NamesNobody::Nameless),
                "{names:?}"
            );
        }
    }
}

#[test]
fn whose_claim_is_unclear_is_nobody_whatever_other_names_there_are() {
    let other = ["dns:app.example.com", "uri:spiffe://example.com/app", "cn:root"];
    let unclear: [&[&str]; 6] = [
        &["uri:annals://orders/ca"],
        &["uri:annals://orders/client/a/b"],
        &["uri:annals://orders/client/%61"],
        &["uri:Annals://orders/client/app"],
        &["uri:annals://orders/client/app", "uri:annals://orders/client/app"],
        &["uri:annals://orders/client/app", "uri:ANNALS://x"],
    ];
    for claims in unclear {
        let names = [&other[..], claims].concat();
        assert_eq!(
            subject(&names, true),
            Err(NamesNobody::UnclearIdentity),
            "{claims:?}"
        );
    }
}

/// A name comes from outside, and stands in rules and log lines later.
#[test]
fn a_name_that_is_unsuitable_or_poses_as_another_kind_is_nobody() {
    let long = format!("uri:spiffe://{}", "x".repeat(248));
    let longest = format!("uri:spiffe://{}", "x".repeat(247));
    assert!(subject(&[&longest], false).is_ok());
    for name in [
        long.as_str(),
        "uri:spiffe://a b",
        "uri:spiffe://a,b",
        "uri:spiffe://a\nb",
        "uri:spiffe://a\x7f",
        "uri:spiffe://a\"b",
        "uri:app.example.com",
        "uri:",
        "dns:annals://orders/client/app",
        "dns:a b",
        "dns:",
        "cn:annals://orders/client/app",
        "cn:spiffe://example.com/app",
        "dns:anonymous",
        "dns:ANONYMOUS",
        "cn:anonymous",
        "cn:a b",
        "cn:a,b",
        "cn:jos\u{e9}",
        "cn:",
    ] {
        assert_eq!(
            subject(&[name], true),
            Err(NamesNobody::UnsuitableName),
            "{name:?}"
        );
        // Nor is it passed over for the next kind.
        if !name.starts_with("cn:") {
            assert_eq!(
                subject(&[name, "cn:root"], true),
                Err(NamesNobody::UnsuitableName),
                "{name:?}"
            );
        }
    }
}

#[test]
fn a_caller_tells_which_certificate_it_has_and_until_when() {
    let cluster = Cluster::new("orders");
    let pairs = [(); 2].map(|()| cluster.sign(&client("app"), DAY));
    let callers = pairs.map(|pair| {
        let certificate = Certificate::from_pem(pair.certificate.as_bytes()).unwrap();
        let caller = Caller::of(&certificate, false).unwrap();
        assert_eq!(caller.not_after(), certificate.not_after);
        assert_eq!(caller.identity(), certificate.identity.as_ref());
        assert_eq!(caller.fingerprint(), certificate.fingerprint());
        caller
    });
    assert_eq!(callers[0].subject(), callers[1].subject());
    assert_ne!(callers[0].fingerprint(), callers[1].fingerprint());
}
