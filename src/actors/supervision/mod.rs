//! Who restarts whom, and who answers when an actor dies.
//!
//! actix (0.13) does not restart an actor that panicked, and its mailboxes have a limit only for those who ask for it.
//! So supervision is ours: an actor holds a [`Lifeline`] that tells the Agent how it ended, the Agent looks the case up
//! in [`policy`], and others reach the actor through an [`ActorRef`], which outlives it. A [`Reply`] answers its caller
//! whatever happens to the actor that holds it (ACT-1).

pub mod policy;
mod reply;
#[cfg(feature = "fault-injection")]
mod sabotage;

mod actor_ref;
mod lifeline;
pub(crate) mod pulse;

mod child;
mod ending;
mod ledger;
pub(crate) mod roster;
mod seat;
mod status;
mod timing;

pub use actor_ref::{ActorRef, PostError, RecipientRef};
pub use child::{Child, StartError};
pub use ending::{EndOfProcess, Ending};
pub use lifeline::{Died, Exit, Lifeline};
pub use policy::Part;
pub use pulse::Heartbeat;
pub use reply::{Answer, Reply, Unanswered};
#[cfg(feature = "fault-injection")]
pub use sabotage::Sabotage;
pub use status::{PartStatus, State};
pub use timing::Timing;
