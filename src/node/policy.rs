//! The policy of a node, and how another one comes into force while it runs.

use std::sync::{Mutex, PoisonError};

use slog::{Logger, info};

use super::reload::{ReloadError, Reloadable};
use crate::{
    acl::{Acl, Changed},
    config::{Config, Enforcement, PolicyFileError, PolicyFiles},
    net::authorization::Authorization,
};

/// A policy and its files.
#[derive(Clone, Debug)]
pub struct NodePolicy {
    /// As calls are asked about.
    pub authorization: Authorization,
    /// Where it comes from.
    pub files: PolicyFiles,
}

impl NodePolicy {
    /// What `config` says; `None` where nobody is asked for rights.
    ///
    /// Blocking. Errors: what is wrong with the files.
    pub fn open(config: &Config) -> Result<Option<Self>, PolicyFileError> {
        let (Some(enforcement), Some(files)) = (config.enforcement(), config.acl.files()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            authorization: Authorization {
                acl: files.open()?,
                shadow: enforcement == Enforcement::Shadow,
            },
            files,
        }))
    }
}

/// Puts what the files say in force, whenever that is something else.
#[derive(Debug)]
pub(super) struct PolicyReload {
    acl: Acl,
    files: PolicyFiles,
    /// What was told of files that are wrong: once, and not at each look.
    told: Mutex<Option<String>>,
}

impl PolicyReload {
    pub(super) fn new(policy: &NodePolicy, logger: &Logger) -> Self {
        let mode = if policy.authorization.shadow {
            "shadow"
        } else {
            "enforce"
        };
        info!(logger, "calls are asked about by a policy"; "policy" => policy.files.name(), "mode" => mode);
        Self {
            acl: policy.authorization.acl.clone(),
            files: policy.files.clone(),
            told: Mutex::default(),
        }
    }
}

impl Reloadable for PolicyReload {
    fn name(&self) -> &'static str {
        "policy"
    }

    fn reload(&self, at_once: bool) -> Result<Option<String>, ReloadError> {
        let reloaded = self.files.reload(&self.acl);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match reloaded {
            Ok(Changed::Yes { rules }) => {
                *told = None;
                let rules = match rules {
                    1 => "1 rule".to_owned(),
                    rules => format!("{rules} rules"),
                };
                Ok(Some(format!("{rules} of {}", self.files.name())))
            }
            Ok(Changed::No) => Ok(told.take().map(|_| {
                format!(
                    "nothing: {} is right again, and says what is in force",
                    self.files.name()
                )
            })),
            Err(error) => {
                let text = error.to_string();
                if told.as_ref() == Some(&text) && !at_once {
                    return Ok(None);
                }
                // As often as it is told, and not at each look.
                if told.as_ref() != Some(&text) {
                    self.acl.note_failure();
                }
                *told = Some(text);
                Err(ReloadError {
                    remedy: error.remedy(),
                    source: Box::new(error),
                })
            }
        }
    }
}
