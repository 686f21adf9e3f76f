//! What the lines that fit a request come to: a line that denies goes before all that allow, and without any line it is denied.
//!
//! Casbin's own says neither which line it was, without a logger that starts a thread, nor anything but a panic to an effect that
//! it does not know.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use casbin::{EffectKind, Effector, EffectorStream};

/// The line that decided, by its place among the lines; of one request at a time.
#[derive(Debug)]
pub(super) struct Decisive(AtomicUsize);

/// No line.
const NONE: usize = usize::MAX;

impl Default for Decisive {
    fn default() -> Self {
        Self(AtomicUsize::new(NONE))
    }
}

impl Decisive {
    /// Its place; `None` where no line fitted.
    pub(super) fn get(&self) -> Option<usize> {
        match self.0.load(Ordering::Relaxed) {
            NONE => None,
            index => Some(index),
        }
    }

    fn set(&self, index: usize) {
        self.0.store(index, Ordering::Relaxed);
    }
}

/// Notes there which line decided.
#[derive(Debug)]
pub(super) struct Effects(pub(super) Arc<Decisive>);

impl Effector for Effects {
    fn new_stream(&self, _: &str, _: usize) -> Box<dyn EffectorStream> {
        self.0.set(NONE);
        Box::new(Lines {
            decisive: Arc::clone(&self.0),
            next: 0,
            allowed: false,
        })
    }
}

/// The lines of a request, one after the other.
struct Lines {
    decisive: Arc<Decisive>,
    next: usize,
    allowed: bool,
}

impl EffectorStream for Lines {
    fn next(&self) -> bool {
        self.allowed
    }

    /// Takes what the next line comes to; true where the rest changes nothing.
    fn push_effect(&mut self, effect: EffectKind) -> bool {
        let line = self.next;
        self.next += 1;
        match effect {
            EffectKind::Indeterminate => false,
            EffectKind::Allow => {
                if !self.allowed {
                    self.decisive.set(line);
                }
                self.allowed = true;
                false
            }
            EffectKind::Deny => {
                self.decisive.set(line);
                self.allowed = false;
                true
            }
        }
    }
}
