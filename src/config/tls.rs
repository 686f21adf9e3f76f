//! What the options of `[tls]` come to.

use crate::tls::{Files, NodeNames};

use super::{
    layers::Layers,
    options::{Config, Tls, keys},
};

/// Finds the files that are named beside the one that names them.
pub(super) fn resolve(config: &mut Config, layers: &Layers<'_>) {
    let tls = &mut config.tls;
    layers.resolve(keys::tls::certificate, &mut tls.certificate);
    layers.resolve(keys::tls::key, &mut tls.key);
    layers.resolve(keys::tls::authorities, &mut tls.authorities);
}

impl Tls {
    /// The files of TLS; `None` where there is none, or not all of it.
    #[must_use]
    pub fn files(&self) -> Option<Files> {
        Some(Files {
            certificate: self.certificate.clone()?,
            key: self.key.clone()?,
            authorities: self.authorities.clone()?,
        })
    }
}

impl Config {
    /// Who this node is, by its names.
    #[must_use]
    pub fn node_names(&self) -> NodeNames {
        NodeNames {
            cluster: self.cluster.name.as_str().to_owned(),
            node: self.node.name.as_str().to_owned(),
        }
    }
}
