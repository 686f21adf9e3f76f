//! The keys of gossip of a node, and how others come into force while it runs.

use std::sync::{Mutex, PoisonError};

use super::reload::{ReloadError, Reloadable};
use crate::{actors::membership::GossipRing, config::GossipKeyFile};

/// Puts the keys that the file holds on the ring, whenever they are others.
#[derive(Debug)]
pub(super) struct GossipKeysReload {
    ring: GossipRing,
    file: GossipKeyFile,
    /// What was told of a file that is wrong: once, and not at each look.
    told: Mutex<Option<String>>,
}

impl GossipKeysReload {
    pub(super) fn new(ring: GossipRing, file: GossipKeyFile) -> Self {
        Self {
            ring,
            file,
            told: Mutex::default(),
        }
    }
}

impl Reloadable for GossipKeysReload {
    fn name(&self) -> &'static str {
        "gossip keys"
    }

    fn reload(&self, at_once: bool) -> Result<Option<String>, ReloadError> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = |text: String, error: ReloadError, told: &mut Option<String>| {
            if told.as_ref() == Some(&text) && !at_once {
                return Ok(None);
            }
            *told = Some(text);
            Err(error)
        };
        let keys = match self.file.read() {
            Ok(keys) => keys,
            Err(error) => {
                let (text, remedy) = (error.to_string(), error.remedy());
                let source = Box::new(error);
                return wrong(text, ReloadError { source, remedy }, &mut told);
            }
        };
        let count = keys.iter().count();
        match self.ring.set(keys) {
            Ok(true) => {
                *told = None;
                Ok(Some(format!("{count} keys of {}", self.file.path().display())))
            }
            Ok(false) => Ok(told.take().map(|_| {
                format!(
                    "nothing: {} is right again, and says what is in force",
                    self.file.path().display()
                )
            })),
            Err(error) => {
                let remedy = "restart the node".to_owned();
                let source = Box::new(error);
                wrong(error.to_string(), ReloadError { source, remedy }, &mut told)
            }
        }
    }
}
