//! What the options of `[acl]` come to.

use std::path::PathBuf;

use super::{
    acl_files::PolicyFiles,
    layers::Layers,
    options::{Config, keys},
    value::{Refusal, Value, unreadable},
    words::words,
};

words! {
    /// Whether a policy is kept to.
    AclMode, "one of \"auto\", \"enforce\", \"shadow\", \"off\"", {
        /// Enforced where `[tls]` is on, off where it is not.
        Auto = "auto",
        /// What it does not allow is denied.
        Enforce = "enforce",
        /// What it would deny is written down, and allowed.
        Shadow = "shadow",
        /// Nobody is asked.
        Off = "off",
    }
}

/// How a policy that is in force is kept to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// What it does not allow is denied.
    Enforce,
    /// What it would deny is written down, and allowed.
    Shadow,
}

/// How the model that is built in is written.
const BUILT_IN: &str = "built-in";

/// The file of a model; `None` is the model that is built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelFile(pub Option<PathBuf>);

impl Value for ModelFile {
    const EXPECTED: &'static str = "a path such as \"/etc/annals/model.conf\", or \"built-in\"";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text {
            BUILT_IN => Ok(Self(None)),
            _ => PathBuf::from_text(text)
                .map(|path| Self(Some(path)))
                .map_err(|_| unreadable::<Self>(text)),
        }
    }

    fn to_toml(&self) -> toml::Value {
        self.0.as_ref().map_or_else(|| BUILT_IN.into(), Value::to_toml)
    }
}

/// Finds the files that are named beside the one that names them.
pub(super) fn resolve(config: &mut Config, layers: &Layers<'_>) {
    layers.resolve(keys::acl::policy, &mut config.acl.policy);
    layers.resolve(keys::acl::model, &mut config.acl.model.0);
}

impl Config {
    /// How the policy is kept to; `None` where nobody is asked for rights.
    #[must_use]
    pub fn enforcement(&self) -> Option<Enforcement> {
        match self.acl.mode {
            AclMode::Auto => self.tls.files().map(|_| Enforcement::Enforce),
            AclMode::Enforce => Some(Enforcement::Enforce),
            AclMode::Shadow => Some(Enforcement::Shadow),
            AclMode::Off => None,
        }
    }
}

impl super::options::Acl {
    /// The policy and its model; `None` where there is no policy.
    #[must_use]
    pub fn files(&self) -> Option<PolicyFiles> {
        Some(PolicyFiles {
            policy: self.policy.clone()?,
            model: self.model.0.clone(),
        })
    }
}
