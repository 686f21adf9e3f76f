//! Why the process ends, and with which exit code.

use super::{
    Answer, Reply, Unanswered,
    policy::{EXIT_ESCALATED, EXIT_FAILSAFE, EXIT_GRACEFUL},
};

/// Why the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// For people.
    pub cause: String,
    /// For whoever started the process; the constants are in [`super::policy`].
    pub exit_code: u8,
}

impl Ending {
    /// The process was asked to stop.
    #[must_use]
    pub fn graceful() -> Self {
        Self {
            cause: "asked to stop".to_owned(),
            exit_code: EXIT_GRACEFUL,
        }
    }

    /// Whether this is what people must hear when both happened: a failure before a request to stop, and a bad disk
    /// before all else.
    #[must_use]
    pub(crate) fn outranks(&self, other: &Self) -> bool {
        let rank = |ending: &Self| match ending.exit_code {
            EXIT_GRACEFUL => 0,
            EXIT_FAILSAFE => 2,
            _ => 1,
        };
        rank(self) > rank(other)
    }
}

/// What `main` waits for: the Agent's last word.
#[derive(Debug)]
#[must_use = "the process ends when this does"]
pub struct EndOfProcess(Answer<Ending, Unanswered>);

impl EndOfProcess {
    pub(crate) fn channel() -> (Reply<Ending, Unanswered>, Self) {
        let (reply, answer) = Reply::channel();
        (reply, Self(answer))
    }

    /// Waits until every part is down. An Agent that died itself is an ending too: nobody supervises it.
    pub async fn wait(self) -> Ending {
        self.0.await.unwrap_or_else(|Unanswered| Ending {
            cause: "the agent itself died".to_owned(),
            exit_code: EXIT_ESCALATED,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_bad_disk_outranks_a_failure_which_outranks_a_request_to_stop() {
        let ending = |exit_code| Ending {
            cause: String::new(),
            exit_code,
        };
        assert!(ending(EXIT_FAILSAFE).outranks(&ending(EXIT_ESCALATED)));
        assert!(ending(EXIT_ESCALATED).outranks(&Ending::graceful()));
        assert!(!ending(EXIT_ESCALATED).outranks(&ending(EXIT_ESCALATED)));
        assert!(!Ending::graceful().outranks(&ending(EXIT_FAILSAFE)));
    }

    #[test]
    fn the_death_of_the_agent_ends_the_process_with_a_failure() {
        let (reply, end) = EndOfProcess::channel();
        drop(reply);
        let ending = end.wait().now_or_never().unwrap();
        assert_eq!(ending.exit_code, EXIT_ESCALATED);
    }
}
