//! A fault on demand, for tests alone: built only with the feature `fault-injection`.

use actix::prelude::*;

use super::Part;

/// Panic now, in the middle of the work.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Sabotage {
    /// Whose actor is to panic. LogActor passes on what is meant for its segment.
    pub of: Part,
}

impl Sabotage {
    /// Panics.
    pub fn strike(self) -> ! {
        panic!("sabotage of the {}", self.of)
    }
}
