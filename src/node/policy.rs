//! The policy of a node, and how another one comes into force while it runs.

use std::time::Duration;

use slog::{Logger, info, o, warn};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use crate::{
    acl::{Acl, Changed},
    actors::supervision::Ending,
    config::{Config, Enforcement, PolicyFileError, PolicyFiles},
    net::authorization::Authorization,
};

/// How often the files are read: who has lost a right is out within a few seconds, and reading some kilobytes costs nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    told: Option<String>,
    logger: Logger,
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
            told: None,
            logger: logger.new(o!("policy" => policy.files.name())),
        }
    }

    /// Looks until the node has ended.
    pub(super) async fn run(mut self, mut ending: watch::Receiver<Option<Ending>>) {
        // It ends, or nobody is there any more who could say it.
        let ended = async move { drop(ending.wait_for(Option::is_some).await) };
        tokio::select! {
            () = ended => {}
            () = self.look_on() => {}
        }
    }

    async fn look_on(&mut self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look().await;
        }
    }

    /// Looks once. What is wrong leaves what is in force as it is.
    async fn look(&mut self) {
        let (acl, files) = (self.acl.clone(), self.files.clone());
        // The runtime is going where it does not come back.
        let Ok(reloaded) = spawn_blocking(move || files.reload(&acl)).await else {
            return;
        };
        match reloaded {
            Ok(Changed::Yes { rules }) => {
                self.told = None;
                info!(self.logger, "another policy is in force"; "rules" => rules);
            }
            Ok(Changed::No) => {
                if self.told.take().is_some() {
                    info!(
                        self.logger,
                        "the policy's files are right again, and say what is in force"
                    );
                }
            }
            Err(error) => {
                let error = error.to_string();
                if self.told.as_ref() != Some(&error) {
                    warn!(self.logger, "the new policy is wrong; the one before stays in force"; "cause" => &error);
                    self.told = Some(error);
                }
            }
        }
    }
}
