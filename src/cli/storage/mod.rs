//! `annals storage`: the data of a node that does not run, looked at and never changed.

mod dump;
mod error;
mod inspect;
mod place;
mod verify;

use std::path::PathBuf;

use super::{error::CliError, output::Format};

use self::dump::DumpArgs;
pub use error::StorageFailure;

/// The data of a node that does not run: check it, look at it, print it; nothing of it is ever changed
///
/// DIR is a data directory (node.data_dir of the configuration; --data-dir of `annals dev`), or one that holds those of several
/// nodes. While a node uses it, it is left alone.
#[derive(Debug, clap::Subcommand)]
pub(super) enum StorageCommand {
    /// Read all of it, and say what is not as it was written: file, position, and what it means
    ///
    /// Reads every byte: checksums, order, what each segment says of those before it, indexes, vote, identity. `note` is
    /// nothing to do; `mends` is what the next start puts right without losing anything that was acknowledged; `fault` is damage.
    /// Ends with exit code 0 when there is neither, 8 when there is only the former, and 9 when there is a fault.
    #[command(after_long_help = "\
Examples:
  annals storage verify /var/lib/annals
  annals storage verify /var/lib/annals -o json | jq -r '.nodes[].findings[].path'")]
    Verify(Look),
    /// Show what is there: whose it is, its segments, what was promised and committed, who the members are
    ///
    /// Reads the header of each segment, and the last one whole. Ends with exit code 9 when it meets a fault on the way; `annals storage verify`
    /// finds all there are. A log that was trimmed begins inside a segment: what lies there before that is said to be trimmed.
    #[command(after_long_help = "\
Examples:
  annals storage inspect /var/lib/annals
  annals storage inspect /var/lib/annals -o json | jq '.nodes[].segments | length'")]
    Inspect(Look),
    /// Print the records, or the frames, as they lie on the disk
    ///
    /// Committed or not: of a node of a cluster, the newest may be some that nobody ever acknowledged. Ends at the first
    /// damage, with exit code 9. Where segments are missing before or behind those that are there it prints these, says what
    /// is missing, and ends with 9, too. Records are printed as by `annals consume`; of those that were trimmed and lie there yet a note
    /// says how many there are, and JSON has `trimmed`.
    #[command(after_long_help = "\
Examples:
  annals storage dump /var/lib/annals
  annals storage dump /var/lib/annals --from 1000 --count 10 -o json
  annals storage dump /var/lib/annals --frames | tail -n 5")]
    Dump(DumpArgs),
}

/// What verify and inspect take.
#[derive(Debug, clap::Args)]
pub(super) struct Look {
    /// The data directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Runs the verb.
pub(super) fn run(command: &StorageCommand) -> Result<(), CliError> {
    match command {
        StorageCommand::Verify(look) => verify::run(look),
        StorageCommand::Inspect(look) => inspect::run(look),
        StorageCommand::Dump(args) => dump::run(args),
    }
}
