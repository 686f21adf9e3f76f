//! The configuration: strict, layered, and every fault reported at once with its place and its remedy.
//!
//! Layers, lowest first: defaults in the code, one TOML file, environment variables `ANNALS__SECTION__KEY`. What is not
//! an option, in the file or in the environment, is an error. `options.rs` is the table of options; `config/default.toml`
//! is the same for people, held equal by a test.

mod acl;
mod acl_checks;
mod acl_files;
mod addresses;
mod checks;
mod cluster;
mod cluster_checks;
mod environment;
mod error;
mod file;
mod gossip_keys;
mod layers;
mod lists;
mod nearest;
mod options;
mod origin;
mod reasons;
mod secret;
mod source;
mod tls;
mod tls_checks;
mod units;
mod value;
mod words;

use std::path::Path;

pub use acl::{AclMode, Enforcement, ModelFile};
pub use acl_files::{PolicyContents, PolicyFileError, PolicyFiles};
pub use addresses::{Auto, HostPort};
pub use cluster::Founding;
pub use environment::{process_environment, variable};
pub use error::{ConfigError, ConfigErrors, Excerpt, Problem};
pub use gossip_keys::{GossipKeyError, GossipKeyFile, GossipKeyProblem};
pub(crate) use nearest::nearest;
pub use options::{Acl, Cluster, Config, Key, Limits, Listen, Log, Node, Telemetry, Tls, keys};
pub use origin::{Origin, Origins};
pub use reasons::{reason, section_reason};
pub use units::{ByteSize, UnitError, format_duration, parse_duration};
pub use value::Refusal;
pub use words::{ClusterName, LogFormat, LogLevel, NodeName};

/// A configuration and where each value of it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The effective values.
    pub config: Config,
    /// Where they come from.
    pub origins: Origins,
    /// What is not wrong and should not stay so.
    pub warnings: Vec<String>,
}

/// Reads and checks a configuration: the defaults, then `file`, then the variables of `environment` that begin with
/// `ANNALS__` (see [`process_environment`]).
///
/// Errors: everything that is wrong, at once, with its place and what to do about it. Blocking: reads the file, and those that it
/// names.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, ConfigErrors> {
    let environment = environment::EnvironmentLayer::parse(environment);
    let source = match file.map(source::Source::read).transpose() {
        Ok(source) => source,
        // What is in the file is unknown, so only what is wrong whatever it says is reported with it.
        Err(unreadable) => {
            return Err(ConfigErrors::new(
                environment.errors.into_iter().chain([*unreadable]).collect(),
            ));
        }
    };
    let mut layers = layers::Layers::new(source.as_ref(), environment);
    let mut config = Config::read(&mut layers);
    tls::resolve(&mut config, &layers);
    acl::resolve(&mut config, &layers);
    gossip_keys::resolve(&mut config, &layers);
    checks::check(&config, &mut layers);
    let mut warnings = tls_checks::warnings(&config);
    warnings.extend(acl_checks::warning(&config));
    warnings.extend(gossip_keys::warning(&config));
    let origins = layers.finish().map_err(ConfigErrors::new)?;
    Ok(Loaded {
        config,
        origins,
        warnings,
    })
}
