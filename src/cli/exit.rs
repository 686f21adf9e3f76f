//! What the program's exit code says.

use std::process::ExitCode;

use crate::actors::supervision::policy::{EXIT_CANNOT_START, EXIT_ESCALATED, EXIT_FAILSAFE, EXIT_GRACEFUL};

/// Why the program ended. The numbers are a promise to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// Something failed that has no code of its own; or a policy that was asked says no, or a node that it does not serve.
    Failed = 1,
    /// The command line is wrong, or the policy or context that it names; nothing was tried.
    Usage = 2,
    /// No node could be reached, or none answered in time.
    CannotConnect = 3,
    /// What was asked for is not there: an offset, a log, a cursor, a node, a file.
    NotFound = 4,
    /// The node refused: a condition did not hold, the producer is fenced, a rule denies it, or a change of the cluster
    /// would be wrong. Or a file is there already, and is not overwritten.
    Refused = 5,
    /// Part of the records was acknowledged, the rest was not.
    PartlyDone = 6,
    /// Certificates have expired, or do so soon.
    Due = 7,
    /// Of the data of a node nothing is lost, but its next start has something to mend.
    Mends = 8,
    /// Data of a node is damaged, or missing.
    Faulty = 9,
    /// A part of the node failed and could not be restarted.
    NodeEscalated = EXIT_ESCALATED,
    /// The node's disk failed.
    NodeFailsafe = EXIT_FAILSAFE,
    /// The configuration is wrong, or a node cannot start with it.
    WrongConfiguration = EXIT_CANNOT_START,
}

impl Exit {
    /// How a node that ended with this code of supervision ends its process.
    #[must_use]
    pub fn of_node(exit_code: u8) -> Self {
        match exit_code {
            EXIT_GRACEFUL => Self::Done,
            EXIT_FAILSAFE => Self::NodeFailsafe,
            EXIT_CANNOT_START => Self::WrongConfiguration,
            _ => Self::NodeEscalated,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The table of exit codes, as `annals --help` prints it. 70, 74 and 78 are what supervision ends a node with.
pub const TABLE: &str = "\
Exit codes:
   0  done
   1  failed; acl check: denied; health: it does not serve
   2  the command line, or the file of contexts, is wrong; acl check: or the policy is
   3  no node could be reached, or none answered in time
   4  not found: an offset, a log, a cursor, a node, a file
   5  refused: a condition did not hold, the producer is fenced, a rule denies it, a file is there already, or the change would be wrong
   6  partly done: some records were acknowledged, the rest was not
   7  certs list: a certificate has expired, or does so within the time given
   8  storage verify: nothing acknowledged is lost, but the next start has something to mend
   9  storage: data is damaged, or missing
  70  agent, dev: a part of the node failed and could not be restarted
  74  agent, dev: the disk failed; start again, recovery decides what is there
  78  agent, dev, config: the configuration is wrong, or the node cannot start with it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_code() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::CannotConnect,
            Exit::NotFound,
            Exit::Refused,
            Exit::PartlyDone,
            Exit::Due,
            Exit::Mends,
            Exit::Faulty,
            Exit::NodeEscalated,
            Exit::NodeFailsafe,
            Exit::WrongConfiguration,
        ];
        for exit in all {
            let code = format!("\n  {:>2}  ", exit as u8);
            assert!(TABLE.contains(&code), "{exit:?} is not in the table");
        }
    }
}
