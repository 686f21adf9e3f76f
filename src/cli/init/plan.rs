//! What is to be made: the files of a cluster and where each is, and their making.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{
    certs::{Hosts, Name},
    config::{Config, NodeName},
};

use super::{
    super::{
        certs::{
            AUTHORITY, CERTIFICATE_MODE, CertsFailure, DIRECTORY, Host, KEY_MODE, certificate_file,
            create_file, key_file, make_whole,
        },
        place::Place,
        security::Security,
    },
    InitArgs,
    error::InitFailure,
    gossip_key::file_with_new_key,
    node_file, policy,
};

/// The policy, as configurations in the same directory name it.
const POLICY: &str = "policy.csv";
/// The keys of gossip of a cluster, likewise.
const GOSSIP_KEYS: &str = "gossip.keys";
/// Where the data of nodes is to be, each in a directory of its name.
const DATA: &str = "data";
/// The client that stands for all that produce and consume.
const APP: &str = "app";

/// All that is to be made.
#[derive(Debug)]
pub(super) struct Plan {
    /// As it was given, so that what is printed is as short.
    directory: PathBuf,
    pub(super) cluster: Name,
    pub(super) nodes: Vec<Config>,
    names: Vec<Name>,
    hosts: Hosts,
    pub(super) admin: Name,
    pub(super) app: Name,
}

impl Plan {
    /// What the arguments ask for.
    ///
    /// Errors: `NotText`, `Twice`; `Files`, when the working directory is gone.
    pub(super) fn new(args: &InitArgs) -> Result<Self, InitFailure> {
        let app: Name = APP.parse().expect("it is a name");
        let names: Vec<Name> = match &args.name {
            Some(name) => vec![name.clone()],
            None => (0..args.nodes)
                .map(|node| NodeName::numbered(node.into()).as_str().parse())
                .collect::<Result<_, _>>()
                .expect("certificates and configurations take the same names"),
        };
        let mut seen = BTreeSet::from([&app]);
        if let Some(name) = names
            .iter()
            .chain([&args.client])
            .find(|name| !seen.insert(*name))
        {
            let name = name.to_string();
            return Err(InitFailure::Twice { name });
        }
        let base = base(args, names.len())?;
        let dns = args.host.iter().filter_map(Host::dns);
        let ips = args.host.iter().filter_map(Host::ip);
        Ok(Self {
            directory: args.directory.clone(),
            cluster: args.cluster.clone(),
            nodes: nodes(&base, &names, args.port),
            names,
            hosts: Hosts::new(dns, ips),
            admin: args.client.clone(),
            app,
        })
    }

    /// Makes all of it in that directory, which is empty and is to become the one that was asked for.
    ///
    /// Blocking. Errors: `Files`.
    pub(super) fn write(&self, directory: &Path) -> Result<(), InitFailure> {
        let clients = [self.admin.clone(), self.app.clone()];
        let certs = directory.join(DIRECTORY);
        make_whole(&certs, &self.cluster, &self.names, self.hosts.clone(), &clients)?;
        let policy = policy::text(&self.cluster, &self.admin, &self.app);
        create_file(&directory.join(POLICY), &policy, CERTIFICATE_MODE)?;
        if self.gossip_keys().is_some() {
            create_file(&directory.join(GOSSIP_KEYS), &file_with_new_key(), KEY_MODE)?;
        }
        for node in &self.nodes {
            let path = directory.join(file_of(node));
            create_file(&path, &node_file::text(node), CERTIFICATE_MODE)?;
        }
        Ok(())
    }

    /// The directory that is made.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the configuration of a node is.
    pub(super) fn config(&self, node: &Config) -> PathBuf {
        self.directory.join(file_of(node))
    }

    /// Where the policy is.
    pub(super) fn policy(&self) -> PathBuf {
        self.directory.join(POLICY)
    }

    /// Where the keys of gossip are; a node that is alone has none.
    pub(super) fn gossip_keys(&self) -> Option<PathBuf> {
        (self.nodes.len() > 1).then(|| self.directory.join(GOSSIP_KEYS))
    }

    /// Where the certificates are.
    pub(super) fn certs(&self) -> PathBuf {
        self.directory.join(DIRECTORY)
    }

    /// Where somebody's certificate is.
    pub(super) fn certificate(&self, name: &str) -> PathBuf {
        self.certs().join(certificate_file(name))
    }

    /// Where somebody's key is.
    pub(super) fn key(&self, name: &str) -> PathBuf {
        self.certs().join(key_file(name))
    }

    /// Where the certificate is that vouches for all others.
    pub(super) fn authority(&self) -> PathBuf {
        self.certificate(AUTHORITY)
    }

    /// Where the key is that can make every certificate.
    pub(super) fn authority_key(&self) -> PathBuf {
        self.key(AUTHORITY)
    }

    /// How a client calls the nodes.
    pub(super) fn security(&self, client: &Name) -> Security {
        let client = client.as_str();
        Security::of(self.authority(), self.certificate(client), self.key(client))
    }
}

fn file_of(node: &Config) -> String {
    format!("{}.toml", node.node.name)
}

/// What all nodes have in common.
fn base(args: &InitArgs, nodes: usize) -> Result<Config, InitFailure> {
    // It starts at the directory of whoever starts the node, unless it is absolute.
    let absolute = std::path::absolute(&args.directory).map_err(CertsFailure::io("find", &args.directory))?;
    if absolute.to_str().is_none() {
        return Err(InitFailure::NotText { path: absolute });
    }
    let mut config = Config::default();
    config.node.data_dir = absolute.join(DATA);
    config.tls.authorities = Some(Path::new(DIRECTORY).join(certificate_file(AUTHORITY)));
    config.acl.policy = Some(POLICY.into());
    config.cluster.name = args
        .cluster
        .as_str()
        .parse()
        .expect("certificates and configurations take the same names");
    config.cluster.gossip_key_file = (nodes > 1).then(|| GOSSIP_KEYS.into());
    // Whoever founds the cluster votes; an odd number of voters is the rule.
    config.cluster.voters_max = config.cluster.voters_max.max(u32::from(args.nodes) | 1);
    Ok(config)
}

fn nodes(base: &Config, names: &[Name], port: u16) -> Vec<Config> {
    let names: Vec<NodeName> = names
        .iter()
        .map(|name| {
            name.as_str()
                .parse()
                .expect("certificates and configurations take the same names")
        })
        .collect();
    let count = u16::try_from(names.len()).expect("there are few");
    let places = Place::several(base.listen.rpc.ip(), port, count);
    let mut nodes = Place::configs(&places, &names, base);
    for node in &mut nodes {
        let certs = Path::new(DIRECTORY);
        let name = node.node.name.as_str();
        node.tls.certificate = Some(certs.join(certificate_file(name)));
        node.tls.key = Some(certs.join(key_file(name)));
        // One that is alone founds at once, and gossips with nobody.
        if count == 1 {
            node.listen.gossip = base.listen.gossip;
            node.cluster = base.cluster.clone();
        }
    }
    nodes
}
