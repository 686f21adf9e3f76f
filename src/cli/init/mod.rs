//! `annals init DIR`: all that a secured node or cluster needs, in a directory of its own, and the lines that use it.

mod gossip_key;
mod node_file;
mod plan;
mod policy;
mod report;
mod staging;

mod error;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use crate::certs::Name;

use super::{
    certs::{Host, parse_holder, parse_host},
    error::CliError,
    output::Format,
    place::port_max,
};

use self::{plan::Plan, report::Report, staging::Staging};

pub use error::InitFailure;

/// The most nodes: as many as may vote.
const NODES_MAX: u16 = 9;

/// Make a directory with all that a secured node needs, or a cluster: configurations, certificates, and who may do what
///
/// Nodes and clients prove who they are by certificates, and a policy says what they may do. There are two clients: one that may do
/// everything, and `app`, which may produce, consume and describe. The nodes listen on this machine; the files say what to
/// change for others. DIR must not be there yet, and is made as a whole or not at all. It prints what it made and what to paste next.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  annals init secured
  annals init secured --nodes 3 --cluster orders
  annals init /srv/annals --name log-0 --host log-0.example.com --host 10.0.0.10")]
pub(super) struct InitArgs {
    /// The directory to make
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// For so many nodes, node-0 and so on, which found a cluster together; an odd number is best
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    nodes: u16,
    /// What the one node is called [default: node-0]
    #[arg(long, value_parser = parse_holder, conflicts_with = "nodes")]
    name: Option<Name>,
    /// What the cluster is called
    #[arg(long, value_name = "NAME", default_value = "annals")]
    cluster: Name,
    /// A DNS name or an address that the nodes are reached by, beside localhost; may be given several times
    #[arg(long, value_delimiter = ',', value_parser = parse_host)]
    host: Vec<Host>,
    /// What the client is called that may do everything
    #[arg(long, value_name = "NAME", default_value = "admin", value_parser = parse_holder)]
    client: Name,
    /// Take clients on this port, gossip one above, and probes two above; the next node ten above
    #[arg(long, value_name = "PORT", default_value_t = 8400, value_parser = clap::value_parser!(u16).range(1..=i64::from(port_max(NODES_MAX))))]
    port: u16,
    /// How to print what was made
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Makes it, and prints what was made.
///
/// Errors: see [`InitFailure`]. Blocking: writes files, and syncs them.
pub(super) fn run(args: &InitArgs) -> Result<(), CliError> {
    let plan = Plan::new(args)?;
    let staging = Staging::beside(&args.directory)?;
    plan.write(staging.path())?;
    staging.put_in_place()?;
    let program = std::env::args().next().unwrap_or_else(|| "annals".to_owned());
    let mut out = io::stdout().lock();
    Report::new(&plan, &program)
        .write(&mut out, args.output)
        .and_then(|()| out.flush())
        .map_err(CliError::from_write)
}
