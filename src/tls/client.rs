//! The TLS of a node's client: whom it believes, and who it is.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig,
    client::{Resumption, WebPkiServerVerifier},
    pki_types::ServerName,
    sign::SingleCertAndKey,
};
use tokio::net::TcpStream;

use super::{
    MaterialError, MaterialFile, Stream, TlsFailure,
    certificate::{all_from_pem, certified_key, check_time, roots},
    files::read,
    handshake, provider,
};
use crate::clock;

/// What clients and nodes speak.
const PROTOCOL: &[u8] = b"h2";

/// Where a client's files are.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// The certificates of the authorities that are believed.
    pub authorities: PathBuf,
    /// The client's certificate and its private key. Without them it is nobody, whom no node lets in.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// A client's TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

/// The same is the same, and what was read anew is another.
impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for ClientTls {}

impl ClientTls {
    /// What the files hold.
    ///
    /// Blocking. Errors: see [`MaterialError`]; a certificate that is not valid now among them.
    pub fn open(files: &ClientFiles) -> Result<Self, MaterialError> {
        let fault = |file, problem| MaterialError {
            file,
            path: match (file, &files.own) {
                (MaterialFile::Certificate, Some((certificate, _))) => certificate.clone(),
                (MaterialFile::Key, Some((_, key))) => key.clone(),
                (MaterialFile::Authorities | MaterialFile::Certificate | MaterialFile::Key, _) => {
                    files.authorities.clone()
                }
            },
            problem,
        };
        let in_authorities = |problem| fault(MaterialFile::Authorities, problem);
        let text = read(&files.authorities).map_err(in_authorities)?;
        let roots = Arc::new(roots(&text).map_err(in_authorities)?);
        let unusable = |error: &dyn std::error::Error| {
            in_authorities(super::MaterialProblem::NotVouchedFor {
                reason: error.to_string(),
            })
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_webpki_verifier(verifier.map_err(|error| unusable(&error))?);
        let mut config = match &files.own {
            None => builder.with_no_client_auth(),
            Some((certificate_path, key_path)) => {
                let in_certificate = |problem| fault(MaterialFile::Certificate, problem);
                let chain = read(certificate_path).and_then(|text| all_from_pem(&text));
                let chain = chain.map_err(in_certificate)?;
                let in_key = |problem| fault(MaterialFile::Key, problem);
                let key = read(key_path).map_err(in_key)?;
                let (not_before, not_after) = (chain[0].1.not_before, chain[0].1.not_after);
                let ders = chain.into_iter().map(|(der, _)| der).collect();
                let own = certified_key(ders, &key).map_err(in_key)?;
                check_time(not_before, not_after, clock::wall()).map_err(in_certificate)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
            }
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Shakes hands with the node at `host`, a DNS name or an address. Whether the node takes this client's certificate may show
    /// only later: see [`Stream::fate`].
    ///
    /// Errors: why not. Cancel: the connection is lost.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> Result<Stream, TlsFailure> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|_| TlsFailure::OtherHost {
            host: host.to_owned(),
            names: Vec::new(),
        })?;
        handshake::connect(stream, name, Arc::clone(&self.config)).await
    }
}
