//! What the Agent asks of a part that it supervises.

use std::error::Error;

use futures::future::LocalBoxFuture;

use crate::error::{Disposition, causes};

use super::{Lifeline, Part};

/// Builds, stops and watches one part. It outlives the part's actors: each [`Child::start`] makes a new instance.
///
/// Its methods run on the Agent's thread and must not block.
pub trait Child {
    /// Which part it is; not one that another part starts (a segment).
    fn part(&self) -> Part;

    /// Builds the part from what is on disk, at process start and after each failure alike; done when it is ready.
    ///
    /// The lifeline goes into the actor. The future must end when the actor that it waits for is gone: let it wait
    /// for a [`super::Reply`].
    ///
    /// Errors: why it cannot start. At process start that ends the process, later it counts as a failure.
    /// Cancel: the Agent drops the future to stop a part that is still starting, and then calls [`Child::stop`].
    fn start(&mut self, lifeline: Lifeline) -> LocalBoxFuture<'static, Result<(), StartError>>;

    /// Ends the part gracefully: takes no more work, finishes what it has, syncs.
    ///
    /// Also called for a part that is dead already, to clear away what it left (its [`super::ActorRef`], its tasks);
    /// there is nothing to wait for then.
    ///
    /// Cancel: the Agent drops the future when its patience ends ([`super::Timing::stop_within`]).
    fn stop(&mut self) -> LocalBoxFuture<'static, ()>;

    /// Sends the part's actor a [`super::Heartbeat`], usually by [`super::ActorRef::ping`].
    fn ping(&self);
}

/// A part could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start")]
pub struct StartError {
    disposition: Disposition,
    source: Box<dyn Error + Send + Sync>,
}

impl StartError {
    /// What stood in the way, and what that asks for.
    pub fn new(disposition: Disposition, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            disposition,
            source: source.into(),
        }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        self.disposition
    }

    /// What stood in the way, with all its causes, in one line.
    #[must_use]
    pub fn causes(&self) -> String {
        causes(&*self.source)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the log")]
    struct CannotOpen(#[source] io::Error);

    #[test]
    fn the_causes_of_a_failed_start_are_told_in_one_line() {
        let error = StartError::new(
            Disposition::Escalate,
            CannotOpen(io::Error::other("disk on fire")),
        );
        assert_eq!(error.causes(), "cannot open the log: disk on fire");
    }
}
