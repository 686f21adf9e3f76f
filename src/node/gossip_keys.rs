//! The keys of gossip of a node, and how others come into force while it runs.

use super::reload::{LastLook, ReloadError, Reloadable};
use crate::{actors::membership::GossipRing, config::GossipKeyFile, types::GossipKeys};

/// Puts the keys that the file holds on the ring, whenever they are others.
#[derive(Debug)]
pub(super) struct GossipKeysReload {
    ring: GossipRing,
    file: GossipKeyFile,
    last_look: LastLook<GossipKeys>,
}

impl GossipKeysReload {
    pub(super) fn new(ring: GossipRing, file: GossipKeyFile) -> Self {
        Self {
            ring,
            file,
            last_look: LastLook::default(),
        }
    }

    /// What is wrong is told once, and not at each look.
    fn refuse(&self, error: ReloadError, at_once: bool) -> Result<Option<String>, ReloadError> {
        let text = error.to_string();
        let told = self.ring.note_problem(Some(text.clone()));
        if told == Some(text) && !at_once {
            return Ok(None);
        }
        Err(error)
    }
}

impl Reloadable for GossipKeysReload {
    fn name(&self) -> &'static str {
        "gossip keys"
    }

    fn reload(&self, at_once: bool) -> Result<Option<String>, ReloadError> {
        let keys = match self.file.read() {
            Ok(keys) => keys,
            Err(error) => {
                let remedy = error.remedy();
                let source = Box::new(error);
                return self.refuse(ReloadError { source, remedy }, at_once);
            }
        };
        if !self.last_look.is_settled(keys.clone()) && !at_once {
            return Ok(None);
        }
        let count = match keys.iter().count() {
            1 => "1 key".to_owned(),
            count => format!("{count} keys"),
        };
        let file = self.file.path().display();
        match self.ring.set(keys) {
            Ok(true) => {
                self.ring.note_problem(None);
                Ok(Some(format!("{count} of {file}")))
            }
            Ok(false) => {
                let was_wrong = self.ring.note_problem(None).is_some();
                Ok(was_wrong.then(|| format!("nothing: {file} is right again, and says what is in force")))
            }
            Err(error) => {
                let remedy = "restart the node".to_owned();
                let source = Box::new(error);
                self.refuse(ReloadError { source, remedy }, at_once)
            }
        }
    }
}
