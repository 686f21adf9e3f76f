//! A node's TLS: what is in force, how it is replaced, and who is connected by it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{
    Contents, Files, Guest, Material, MaterialError, MaterialProblem, NodeNames, Proven, Stream, TlsFailure,
    Usage, accept, handshake, identity,
    open::{OpenConnections, Outcast},
    provider,
    server::{PEERS_PROTOCOL, serving},
    verifiers::{CalledNode, Welcome},
};
use crate::{certs::Certificate, clock, types::TimestampMs};

/// A node's TLS. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct NodeTls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Files,
    names: NodeNames,
    allow_common_name: bool,
    current: ArcSwap<Current>,
    open: Arc<OpenConnections>,
    looks: Mutex<Looks>,
    reloads: AtomicU64,
    failures: AtomicU64,
}

/// What is in force, all of one kind.
#[derive(Debug)]
struct Current {
    material: Material,
    contents: Contents,
    clients: Arc<ServerConfig>,
    peers: Arc<ServerConfig>,
    /// Counted up with each replacement, from 0.
    generation: u64,
}

/// What was found at the last looks at the files.
#[derive(Debug, Default)]
struct Looks {
    /// Other contents than those in force, as they were seen once: they may still be being written.
    seen: Option<Contents>,
    /// What was refused already, so that it is told once.
    refused: Option<Contents>,
    /// Why, for as long as it is there.
    problem: Option<String>,
}

/// What became of a look at the files.
#[derive(Debug)]
pub enum Reloaded {
    /// They are as they were, or not whole yet.
    Unchanged,
    /// What is in them is in force.
    Changed {
        /// What has changed, for people.
        what: String,
    },
}

/// How it stands, for those who run the node.
#[derive(Clone, Debug)]
pub struct Status {
    /// The node's certificate.
    pub certificate: Certificate,
    /// Those of the authorities that it believes.
    pub authorities: Vec<Certificate>,
    /// Replacements since the start.
    pub reloads: u64,
    /// Replacements that were refused since the start.
    pub failures: u64,
    /// What is wrong with the files as they are now; what was in force before is still.
    pub problem: Option<String>,
    /// Connections that are open.
    pub connections: usize,
}

impl NodeTls {
    /// What the files hold, for the node of these names.
    ///
    /// Blocking. Errors: see [`MaterialError`].
    pub fn open(files: Files, names: NodeNames, allow_common_name: bool) -> Result<Self, MaterialError> {
        let contents = files.read()?;
        let current = Current::new(contents, &files, &names, allow_common_name, 0)?;
        Ok(Self(Arc::new(Shared {
            files,
            names,
            allow_common_name,
            current: ArcSwap::from_pointee(current),
            open: Arc::default(),
            looks: Mutex::default(),
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })))
    }

    /// Shakes hands with a client that has connected, within that time.
    ///
    /// Errors: why not; the client has been told. Cancel: the connection is lost.
    pub async fn accept_client(&self, stream: TcpStream, within: Duration) -> Result<Proven, TlsFailure> {
        let current = self.0.current.load_full();
        let stream = accept::accept(stream, Arc::clone(&current.clients), within).await?;
        let welcome = Welcome::Anybody {
            allow_common_name: self.0.allow_common_name,
        };
        proven(stream, &welcome, current.generation)
    }

    /// The same with a peer: a node of this cluster, or nobody.
    ///
    /// Errors: why not; the other side has been told. Cancel: the connection is lost.
    pub async fn accept_peer(&self, stream: TcpStream, within: Duration) -> Result<Proven, TlsFailure> {
        let current = self.0.current.load_full();
        let stream = accept::accept(stream, Arc::clone(&current.peers), within).await?;
        let welcome = Welcome::Nodes {
            cluster: self.0.names.cluster.clone(),
        };
        proven(stream, &welcome, current.generation)
    }

    /// Shakes hands with a node of this cluster that this one has connected to; with that of this name, when it is known.
    ///
    /// Errors: why not. Cancel: the connection is lost.
    pub async fn call_peer(&self, stream: TcpStream, name: Option<String>) -> Result<Proven, TlsFailure> {
        let current = self.0.current.load_full();
        let config = self.calling(&current.material, name.clone());
        let config = config.map_err(|error| TlsFailure::Broken {
            reason: error.to_string(),
        })?;
        let stream = handshake::connect(stream, any_host(), config).await?;
        let own = stream.chain().first().ok_or(TlsFailure::NoCertificate)?;
        let caller = identity::node(own, &self.0.names.cluster, name.as_deref())?;
        Ok(Proven {
            stream,
            caller,
            generation: current.generation,
        })
    }

    fn calling(&self, material: &Material, name: Option<String>) -> Result<Arc<ClientConfig>, rustls::Error> {
        let called = CalledNode::new(material.authorities().clone(), &self.0.names.cluster, name);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(called))
            .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(material.own())));
        config.alpn_protocols = vec![PEERS_PROTOCOL.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// Keeps an eye on a connection of somebody who does that with their certificate: `kill` is cancelled when nobody vouches for
    /// them any more.
    #[must_use]
    pub fn watch(&self, proven: &Proven, usage: Usage, kill: CancellationToken) -> Guest {
        let chain = proven.stream.chain().to_vec();
        let caller = proven.caller.clone();
        self.0.open.enter(caller, chain, usage, proven.generation, kill)
    }

    /// Looks at the files, and puts what is in them in force when it is other than before and right. What has just changed may not
    /// be whole yet: it is waited for until it is the same at two looks in a row, except `at_once`.
    ///
    /// Blocking. Errors: what is wrong with them, once for each change, and each time `at_once`; what was in force stays.
    pub fn reload(&self, at_once: bool) -> Result<Reloaded, MaterialError> {
        let shared = &*self.0;
        let mut looks = shared.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let current = shared.current.load_full();
        let contents = match shared.files.read() {
            Ok(contents) => contents,
            // As contents that nothing can be made of.
            Err(error) => return self.refuse(&mut looks, Contents::default(), error, at_once),
        };
        if contents == current.contents {
            *looks = Looks::default();
            return Ok(Reloaded::Unchanged);
        }
        let is_whole = looks.seen.as_ref() == Some(&contents);
        if !at_once && (!is_whole || looks.refused.as_ref() == Some(&contents)) {
            looks.seen = Some(contents);
            return Ok(Reloaded::Unchanged);
        }
        let generation = current.generation + 1;
        let next = Current::new(
            contents.clone(),
            &shared.files,
            &shared.names,
            shared.allow_common_name,
            generation,
        );
        match next {
            Ok(next) => {
                let what = changes(&current, &next);
                shared.current.store(Arc::new(next));
                shared.reloads.fetch_add(1, Ordering::Relaxed);
                *looks = Looks::default();
                Ok(Reloaded::Changed { what })
            }
            Err(error) => self.refuse(&mut looks, contents, error, at_once),
        }
    }

    fn refuse(
        &self,
        looks: &mut Looks,
        contents: Contents,
        error: MaterialError,
        at_once: bool,
    ) -> Result<Reloaded, MaterialError> {
        let is_whole = looks.seen.as_ref() == Some(&contents);
        let is_told = looks.refused.as_ref() == Some(&contents);
        looks.seen = Some(contents.clone());
        if !at_once && (is_told || !is_whole) {
            return Ok(Reloaded::Unchanged);
        }
        if !is_told {
            self.0.failures.fetch_add(1, Ordering::Relaxed);
        }
        (looks.refused, looks.problem) = (Some(contents), Some(error.to_string()));
        Err(error)
    }

    /// Ends the connections of those for whom nobody vouches any more, and says whose they were.
    pub fn look_through(&self, now: TimestampMs) -> Vec<Outcast> {
        let current = self.0.current.load_full();
        let authorities = current.material.authorities();
        self.0.open.look_through(authorities, current.generation, now)
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let current = self.0.current.load_full();
        let looks = self.0.looks.lock().unwrap_or_else(PoisonError::into_inner);
        Status {
            certificate: current.material.certificate().clone(),
            authorities: current.material.authorities().certificates().to_vec(),
            reloads: self.0.reloads.load(Ordering::Relaxed),
            failures: self.0.failures.load(Ordering::Relaxed),
            problem: looks.problem.clone(),
            connections: self.0.open.count(),
        }
    }

    /// That the certificate in force has expired, if it has: nobody shakes hands with this node any more.
    #[must_use]
    pub fn expired(&self, now: TimestampMs) -> Option<MaterialProblem> {
        let not_after = self.0.current.load().material.certificate().not_after;
        (not_after <= now).then_some(MaterialProblem::Expired { not_after })
    }

    /// Where its files are.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.0.files
    }
}

impl Current {
    fn new(
        contents: Contents,
        files: &Files,
        names: &NodeNames,
        allow_common_name: bool,
        generation: u64,
    ) -> Result<Self, MaterialError> {
        let material = Material::of_node(&contents, files, names, clock::wall())?;
        let serving = |welcome| {
            serving(&material, welcome).map_err(|error| {
                let problem = MaterialProblem::NotVouchedFor {
                    reason: error.to_string(),
                };
                files.fault(super::MaterialFile::Certificate, problem)
            })
        };
        Ok(Self {
            clients: serving(Welcome::Anybody { allow_common_name })?,
            peers: serving(Welcome::Nodes {
                cluster: names.cluster.clone(),
            })?,
            material,
            contents,
            generation,
        })
    }
}

/// Peers are known by their names and not by their hosts; TLS wants to be told some host all the same.
fn any_host() -> ServerName<'static> {
    ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST))
}

fn proven(stream: Stream, welcome: &Welcome, generation: u64) -> Result<Proven, TlsFailure> {
    let own = stream.chain().first().ok_or(TlsFailure::NoCertificate)?;
    let caller = welcome.check(own)?;
    Ok(Proven {
        stream,
        caller,
        generation,
    })
}

/// What is other than before, for people.
fn changes(before: &Current, after: &Current) -> String {
    let mut what = Vec::new();
    let own = |current: &Current| current.material.certificate().fingerprint();
    if own(before) != own(after) {
        what.push(format!(
            "its certificate is {} now, valid until {}",
            own(after),
            super::error::Time(after.material.certificate().not_after)
        ));
    }
    let count = |current: &Current| match current.material.authorities().certificates().len() {
        1 => "1 authority".to_owned(),
        count => format!("{count} authorities"),
    };
    if before.contents.authorities != after.contents.authorities {
        what.push(format!(
            "it believes {} now, {} before",
            count(after),
            count(before)
        ));
    }
    if what.is_empty() {
        what.push("nothing but how it is written".to_owned());
    }
    what.join("; ")
}
