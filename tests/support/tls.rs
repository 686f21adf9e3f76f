//! The certificates of a cluster of tests: its authority, and what each of its nodes and clients is given.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub(crate) use annals::testing::endpoint;
use annals::{
    certs::Holder,
    testing::Certificates,
    tls::{Files, NodeNames, NodeTls},
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use super::certs::{Cluster, DAY, Pair, client, node};

/// The name of the clusters here.
pub(crate) const CLUSTER: &str = "annals";
/// For an address at which nobody answers at all. One that nobody listens at refuses at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// An authority, and a directory with the files of those that it has signed.
pub(crate) struct Credentials {
    pub(crate) authority: Cluster,
    directory: TempDir,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl Certificates for Credentials {
    fn of_node(&self, name: &str) -> NodeTls {
        self.node(name)
    }

    fn of_client(&self, name: &str) -> ClientTlsConfig {
        self.client(name)
    }
}

impl Credentials {
    /// Of a cluster of this name.
    pub(crate) fn of(cluster: &str) -> Self {
        Self::by(Cluster::new(cluster))
    }

    /// By this authority.
    pub(crate) fn by(authority: Cluster) -> Self {
        let directory = tempfile::tempdir().expect("the machine has a disk");
        Self { authority, directory }
    }

    /// Where the files of that node are.
    pub(crate) fn files(&self, name: &str) -> Files {
        let path = |ending: &str| self.directory.path().join(format!("{name}.{ending}"));
        Files {
            certificate: path("pem"),
            key: path("key"),
            authorities: path("ca.pem"),
        }
    }

    /// The TLS of that node, which has files from now on.
    pub(crate) fn node(&self, name: &str) -> NodeTls {
        self.node_that_allows(name, false)
    }

    /// The same; it may let clients in by their common names.
    pub(crate) fn node_that_allows(&self, name: &str, common_names: bool) -> NodeTls {
        let files = self.files(name);
        if !files.certificate.exists() {
            self.put(&files, &self.sign(&node(name)), &self.authority.certificate);
        }
        let names = NodeNames {
            cluster: CLUSTER.to_owned(),
            node: name.to_owned(),
        };
        NodeTls::open(files, names, common_names).expect("the files fit together")
    }

    /// Puts other things into the files.
    pub(crate) fn put(&self, files: &Files, pair: &Pair, authorities: &str) {
        replace(&files.certificate, &pair.certificate);
        replace(&files.key, &pair.key);
        replace(&files.authorities, authorities);
    }

    /// A new certificate, for some days.
    pub(crate) fn sign(&self, holder: &Holder) -> Pair {
        self.authority.sign(holder, DAY * 99)
    }

    /// How a client of this authority calls a node of it.
    pub(crate) fn client(&self, name: &str) -> ClientTlsConfig {
        calling_as(&self.sign(&client(name)), &self.authority.certificate)
    }
}

/// Puts a text in the place of a file, as a whole.
pub(crate) fn replace(path: &Path, text: &str) {
    let new = PathBuf::from(format!("{}.new", path.display()));
    fs::write(&new, text).expect("the disk has room");
    fs::rename(new, path).expect("it is the same directory");
}

/// How somebody calls who has that certificate and believes these authorities.
pub(crate) fn calling_as(pair: &Pair, authorities: &str) -> ClientTlsConfig {
    believing(authorities).identity(Identity::from_pem(&pair.certificate, &pair.key))
}

/// How nobody calls who believes these authorities.
pub(crate) fn believing(authorities: &str) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities))
}

/// How somebody calls by rustls itself who has that certificate, or none, and believes these authorities.
pub(crate) fn client_config(
    own: Option<&Pair>,
    authorities: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots
            .add(authority.expect("its PEM is good"))
            .expect("it is an authority");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("rustls has them")
        .with_root_certificates(roots);
    let Some(pair) = own else {
        return builder.with_no_client_auth();
    };
    let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("its PEM is good");
    builder
        .with_client_auth_cert(chain.expect("its PEM is good"), key)
        .expect("they fit together")
}

/// A connection that is made when it is used first.
pub(crate) fn connect(address: &str, tls: Option<&ClientTlsConfig>) -> Channel {
    endpoint(address, tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .connect_lazy()
}
