//! Callers of every kind, made by rustls itself: what they hear from a node.

use std::{io, net::SocketAddr, sync::Arc};

use annals::certs::{Holder, Hosts, Key, Terms};
use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
use rustls::{AlertDescription, ClientConfig, Error, SupportedProtocolVersion, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::support::{
    certs::{Cluster, Pair},
    node::in_time,
    tls::client_config,
};

/// With what HTTP/2 begins: the preface, and settings without any.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// What a peer says first.
pub(crate) const PEER: &[u8] = &[1];

/// What a caller hears.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The settings of HTTP/2.
    Settings,
    /// Why it is not let in.
    Alert(AlertDescription),
    /// Something else.
    Other(String),
}

/// A caller, by its certificate and whom it believes.
pub(crate) struct Speaker {
    pub(crate) own: Option<Pair>,
    pub(crate) believes: String,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
}

impl Speaker {
    pub(crate) fn new(own: Option<Pair>, believes: &str) -> Self {
        Self {
            own,
            believes: believes.to_owned(),
            versions: rustls::ALL_VERSIONS,
        }
    }

    pub(crate) fn config(&self) -> ClientConfig {
        client_config(self.own.as_ref(), &self.believes, self.versions)
    }

    /// Connects, says `first` before TLS, and begins with HTTP/2.
    pub(crate) async fn speak(&self, address: SocketAddr, first: &[u8]) -> Heard {
        match in_time("an answer", self.try_speak(address, first)).await {
            Ok(heard) => heard,
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(Error::AlertReceived(alert)) => Heard::Alert(*alert),
                _ => Heard::Other(error.to_string()),
            },
        }
    }

    async fn try_speak(&self, address: SocketAddr, first: &[u8]) -> io::Result<Heard> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(first).await?;
        let host = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(self.config()))
            .connect(host, stream)
            .await?;
        begin_http2(stream).await
    }
}

async fn begin_http2(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Heard> {
    stream.write_all(PREFACE).await?;
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await?;
    Ok(match frame[3] {
        4 => Heard::Settings,
        kind => Heard::Other(format!("a frame of kind {kind}")),
    })
}

/// Signed at another time than the authority was made.
pub(crate) fn signed_at(cluster: &Cluster, holder: &Holder, terms: Terms) -> Pair {
    let key = Key::generate().unwrap();
    let hosts = Hosts::default().with_loopback();
    Pair {
        certificate: cluster.authority.sign(holder, &hosts, &key, terms).unwrap(),
        key: key.to_pem(),
    }
}

/// An authority that is not of `annals certs`, as cfssl's is, and what it signs for this common name and these hosts.
pub(crate) fn by_another_tool(common_name: &str, hosts: &[&str]) -> (String, Pair) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name = named("Some CA");
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = named(common_name);
    let hosts = hosts
        .iter()
        .map(|host| SanType::DnsName((*host).try_into().unwrap()));
    params.subject_alt_names = hosts.collect();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let pair = Pair {
        certificate: pem("CERTIFICATE", certificate.der()),
        key: pem("PRIVATE KEY", &key.serialize_der()),
    };
    (pem("CERTIFICATE", authority.der()), pair)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}
