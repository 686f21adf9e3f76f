//! What an error asks of whoever handles it.

/// What is to be done about an error. Every error enum says it for each of its variants, in a match without a
/// wildcard; supervision and the mapping to gRPC codes both read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The request is wrong as it stands; a retry gets the same answer.
    Reject,
    /// Nothing is wrong with the request; try again after a moment.
    Retry,
    /// The component lost its state; it must be rebuilt from disk.
    Restart,
    /// The disk can no longer be trusted: this node takes no writes until its process restarts (STO-3).
    Failsafe,
    /// Nobody below the Agent can help; the process ends.
    Escalate,
}

/// An error with all its causes, in one line, for logs and for people.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
