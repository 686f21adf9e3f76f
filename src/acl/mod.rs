//! Who may do what: a policy, the model it is read by, and the decisions, which Casbin makes.
//!
//! Text comes in, decisions go out; nothing here knows a file, a socket or a certificate. Whatever is wrong with a text is told
//! with its line, and nothing of such a text comes into force. What no line allows is denied (SEC-1).

mod effects;
mod error;
mod matcher;
mod model;
mod policy;
mod roles;
mod rules;
mod subject;
mod words;

mod handle;

pub use error::{AclError, Mistake, Problem};
pub use handle::{Acl, AclStatus, Changed};
pub use model::{BUILT_IN_MODEL, Model};
pub use rules::{Decision, Rule};
pub use subject::{ANONYMOUS, Who};
pub use words::{Action, NamedObject, Object, Right, UnknownWord, Wanted};
