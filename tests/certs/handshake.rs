//! TLS between those who hold the certificates, and those who should not get in. In memory: bytes go from one side to the other
//! until nobody has any left.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection,
    client::WebPkiServerVerifier,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::support::{Cluster, DAY, Pair, ago, client, node};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(pem: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    Arc::new(roots)
}

fn chain(pair: &Pair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    (vec![certificate], key)
}

/// Serves as `pair`, to whom `authority` vouches for.
fn server(pair: &Pair, authority: &str) -> ServerConnection {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority), provider())
        .build()
        .unwrap();
    let (certificate, key) = chain(pair);
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificate, key)
        .unwrap();
    ServerConnection::new(Arc::new(config)).unwrap()
}

/// Calls that host as `pair`, if it is `authority` that vouches for it.
fn caller(pair: &Pair, authority: &str, host: &str) -> ClientConnection {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(authority), provider())
        .build()
        .unwrap();
    let (certificate, key) = chain(pair);
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(certificate, key)
        .unwrap();
    let host = ServerName::try_from(host.to_owned()).unwrap();
    ClientConnection::new(Arc::new(config), host).unwrap()
}

/// Who refused whom, and why.
#[derive(Debug)]
enum Refused {
    ByServer(Error),
    ByCaller(Error),
}

/// Lets them talk until both are content.
fn shake_hands(caller: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), Refused> {
    while caller.is_handshaking() || server.is_handshaking() || caller.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while caller.wants_write() {
            caller.write_tls(&mut wire).unwrap();
        }
        let mut arrived = io::Cursor::new(wire);
        while server.read_tls(&mut arrived).unwrap() > 0 {
            server.process_new_packets().map_err(Refused::ByServer)?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut arrived = io::Cursor::new(wire);
        while caller.read_tls(&mut arrived).unwrap() > 0 {
            caller.process_new_packets().map_err(Refused::ByCaller)?;
        }
    }
    Ok(())
}

/// A node of the cluster `orders` and a client of it, and what both trust.
struct Orders {
    cluster: Cluster,
    node: Pair,
    client: Pair,
}

fn orders() -> Orders {
    let cluster = Cluster::new("orders");
    Orders {
        node: cluster.sign(&node("node-0"), DAY),
        client: cluster.sign(&client("billing"), DAY),
        cluster,
    }
}

#[test]
fn a_client_and_a_node_know_each_other_at_every_host_of_the_node() {
    let orders = orders();
    let ca = &orders.cluster.certificate;
    for host in ["node-0.example.com", "localhost", "127.0.0.1", "::1", "10.0.0.1"] {
        let mut caller = caller(&orders.client, ca, host);
        let mut server = server(&orders.node, ca);
        shake_hands(&mut caller, &mut server).unwrap();
        let seen = server.peer_certificates().unwrap();
        assert_eq!(seen[0], chain(&orders.client).0[0], "at {host}");
        assert_eq!(caller.peer_certificates().unwrap()[0], chain(&orders.node).0[0]);
    }
}

#[test]
fn a_node_calls_another_node() {
    let orders = orders();
    let ca = &orders.cluster.certificate;
    let other = orders.cluster.sign(&node("node-1"), DAY);
    shake_hands(
        &mut caller(&other, ca, "localhost"),
        &mut server(&orders.node, ca),
    )
    .unwrap();
}

#[test]
fn a_node_is_not_believed_to_be_at_a_host_it_does_not_have() {
    let orders = orders();
    let ca = &orders.cluster.certificate;
    for host in ["node-1.example.com", "10.0.0.2"] {
        let refused = shake_hands(
            &mut caller(&orders.client, ca, host),
            &mut server(&orders.node, ca),
        );
        assert_refused_by_caller(refused, "NotValidForName");
    }
}

fn assert_refused_by_caller(refused: Result<(), Refused>, reason: &str) {
    match refused {
        Err(Refused::ByCaller(Error::InvalidCertificate(why))) => {
            assert!(format!("{why:?}").starts_with(reason), "{why:?}");
        }
        other => panic!("{other:?}"),
    }
}

fn assert_refused_by_server(refused: Result<(), Refused>, reason: &str) {
    match refused {
        Err(Refused::ByServer(Error::InvalidCertificate(why))) => {
            assert!(format!("{why:?}").starts_with(reason), "{why:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// Another authority of the same cluster's name is another authority.
#[test]
fn whom_another_authority_signed_is_refused_on_both_sides() {
    let (orders, others) = (self::orders(), self::orders());
    let (ca, their_ca) = (&orders.cluster.certificate, &others.cluster.certificate);
    let by_server = shake_hands(
        &mut caller(&others.client, ca, "localhost"),
        &mut server(&orders.node, ca),
    );
    assert_refused_by_server(by_server, "BadSignature");
    let by_caller = shake_hands(
        &mut caller(&orders.client, ca, "localhost"),
        &mut server(&others.node, their_ca),
    );
    assert_refused_by_caller(by_caller, "BadSignature");
}

#[test]
fn whose_certificate_has_expired_is_refused_on_both_sides() {
    let cluster = Cluster::made_at("orders", ago(DAY * 10), DAY * 3650);
    let ca = &cluster.certificate;
    let sign = |holder, valid_for: Duration| cluster.sign(&holder, valid_for);
    let refused = shake_hands(
        &mut caller(&sign(client("a"), DAY), ca, "localhost"),
        &mut server(&sign(node("b"), DAY * 30), ca),
    );
    assert_refused_by_server(refused, "Expired");
    let refused = shake_hands(
        &mut caller(&sign(client("a"), DAY * 30), ca, "localhost"),
        &mut server(&sign(node("b"), DAY), ca),
    );
    assert_refused_by_caller(refused, "Expired");
    // It is the time, and not that it was made long ago.
    let mut caller = caller(&sign(client("a"), DAY * 30), ca, "localhost");
    shake_hands(&mut caller, &mut server(&sign(node("b"), DAY * 30), ca)).unwrap();
}

/// With the hosts of a node, so that only its purpose is in its way.
#[test]
fn a_client_that_serves_is_refused() {
    use annals::certs::{Hosts, Key, Terms};
    let orders = orders();
    let ca = &orders.cluster.certificate;
    let key = Key::generate().unwrap();
    let terms = Terms {
        now: orders.cluster.now,
        valid_for: DAY,
    };
    let made =
        orders
            .cluster
            .authority
            .sign(&client("mallory"), &Hosts::default().with_loopback(), &key, terms);
    let mallory = Pair {
        certificate: made.unwrap(),
        key: key.to_pem(),
    };
    let refused = shake_hands(
        &mut caller(&orders.client, ca, "localhost"),
        &mut server(&mallory, ca),
    );
    assert_refused_by_caller(refused, "InvalidPurpose");
}

/// The path length of the authority is 0, and a node's certificate is none of an authority.
#[test]
fn a_node_vouches_for_nobody() {
    let orders = orders();
    let ca = &orders.cluster.certificate;
    let key = rcgen::KeyPair::try_from(
        PrivateKeyDer::from_pem_slice(orders.node.key.as_bytes())
            .unwrap()
            .secret_der(),
    );
    let node_der = CertificateDer::from_pem_slice(orders.node.certificate.as_bytes()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&node_der, key.unwrap()).unwrap();
    let own = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(
        "annals://orders/client/admin".try_into().unwrap(),
    )];
    let forged = params.signed_by(&own, &issuer).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(ca))
        .with_client_auth_cert(
            vec![forged.der().clone(), node_der],
            PrivateKeyDer::try_from(own.serialize_der()).unwrap(),
        )
        .unwrap();
    let mut forger =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let refused = shake_hands(&mut forger, &mut server(&orders.node, ca));
    assert!(
        matches!(refused, Err(Refused::ByServer(Error::InvalidCertificate(_)))),
        "{refused:?}"
    );
}
