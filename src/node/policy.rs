//! The policy of a node, and how another one comes into force while it runs.

use std::sync::{Mutex, PoisonError};

use slog::{Logger, info};

use super::reload::{LastLook, ReloadError, Reloadable};
use crate::{
    acl::{Acl, Changed},
    config::{Config, Enforcement, PolicyContents, PolicyFileError, PolicyFiles},
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
    last_look: LastLook<PolicyContents>,
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
            last_look: LastLook::default(),
            told: Mutex::default(),
        }
    }
}

impl Reloadable for PolicyReload {
    fn name(&self) -> &'static str {
        "policy"
    }

    fn reload(&self, at_once: bool) -> Result<Option<String>, ReloadError> {
        let contents = self.files.contents();
        if let Ok(contents) = &contents
            && !self.last_look.is_settled(contents.clone())
            && !at_once
        {
            return Ok(None);
        }
        let reloaded = contents.and_then(|contents| self.files.put_in_force(contents, &self.acl));
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

#[cfg(test)]
mod tests {
    use std::fs;

    use slog::{Discard, o};

    use super::*;
    use crate::acl::{Right, Who};

    const ALLOWS: &str = "p, app, log, *\n";
    const DENIES: &str = "p, app, log, *\np, app, log, produce, deny\n";

    /// The bug: of a policy that was written in place, and not put there by renaming, what was there by then was in force for a second: the
    /// lines that allow, and not those behind them that deny.
    #[test]
    fn a_policy_that_is_being_written_comes_into_force_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.csv");
        let put = |text: &str| fs::write(&path, text).unwrap();
        put("p, other, log, produce\n");
        let files = PolicyFiles {
            policy: path.clone(),
            model: None,
        };
        let authorization = Authorization {
            acl: files.open().unwrap(),
            shadow: false,
        };
        let acl = authorization.acl.clone();
        let policy = NodePolicy { authorization, files };
        let reload = PolicyReload::new(&policy, &Logger::root(Discard, o!()));
        let may_produce = || acl.decide(Who::Named("app"), Right::PRODUCE).allowed;
        let look = |at_once| reload.reload(at_once).unwrap().is_some();

        assert!(!look(false));
        put(ALLOWS);
        assert!(!look(false) && !may_produce(), "there may be more to come");
        put(DENIES);
        assert!(!look(false) && !may_produce(), "it has just changed");
        assert!(look(false) && !may_produce());
        put(ALLOWS);
        assert!(look(true) && may_produce(), "somebody says that it is whole");
    }
}
