//! `annals cluster`: who belongs to the cluster, how each node is, and how to change that.

pub(super) mod call;
mod change;
pub(super) mod table;

use std::{
    io::{self, Write},
    str::FromStr,
    time::Duration,
};

use tokio::time::timeout;
use tonic::Request;

use crate::{client::Client, proto::annals::v1 as proto};

use self::change::Change;
use super::{argument::parse_timeout, connect::Target, error::CliError, output::Format, runtime};

/// The cluster: who belongs to it, how each node is, and how to change that
#[derive(Debug, clap::Subcommand)]
pub(super) enum ClusterCommand {
    /// Show every node: its role, how far it is, and whether it is reached
    ///
    /// Any node may be asked: it asks the others for what only they know. TERM and APPLIED are each node's own word; LAG
    /// is how many entries of the leader's log it does not have on its disk for certain.
    #[command(after_long_help = "\
Examples:
  annals cluster status
  annals cluster status --addr 127.0.0.1:8410,127.0.0.1:8420
  annals cluster status -o json | jq -r '.nodes[] | select(.role == \"leader\").address'")]
    Status(Common),
    /// List the nodes, with their ids
    #[command(after_long_help = "\
Examples:
  annals cluster servers
  annals cluster servers -o json | jq -r .nodes[].address")]
    Servers(Common),
    /// Make a node vote that gossip knows, without waiting for the leader to do it by itself
    #[command(after_long_help = "\
Examples:
  annals cluster add node-3
  annals cluster add node-4 --learner")]
    Add {
        /// Its name or id
        node: NodeName,
        /// Let it only receive the log: it votes when the leader finds it fit for that
        #[arg(long)]
        learner: bool,
        #[command(flatten)]
        common: Common,
    },
    /// End a node's membership, whether it is up or not
    ///
    /// Its data counts for nothing from then on: to come back it must be wiped, and comes back as a new node. Refused
    /// where what is left would have no majority.
    #[command(after_long_help = "\
Examples:
  annals cluster remove node-2
  annals cluster remove 8753488146623291269")]
    Remove {
        /// Its name or id
        node: NodeName,
        #[command(flatten)]
        common: Common,
    },
    /// Let another node lead
    #[command(after_long_help = "\
Examples:
  annals cluster transfer-leader
  annals cluster transfer-leader node-1")]
    TransferLeader {
        /// Its name or id [default: the one that is furthest]
        node: Option<NodeName>,
        #[command(flatten)]
        common: Common,
    },
    /// Let the node at --addr leave for good: it is removed, and says so to the others
    ///
    /// Its process runs on and serves old records, until it is stopped.
    #[command(after_long_help = "\
Examples:
  annals cluster leave --addr 127.0.0.1:8420")]
    Leave(Common),
}

/// What all of them take.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    target: Target,
    /// Give up when it is not done within this
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_timeout)]
    timeout: Duration,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

impl Common {
    fn client(&self) -> Result<Client, CliError> {
        self.target.client(self.timeout)
    }

    /// The cluster as it is now.
    fn cluster(&self) -> Result<proto::GetClusterResponse, CliError> {
        runtime::block_on(call::get_cluster(&self.client()?))
    }
}

/// A node as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeName(proto::NodeRef);

impl FromStr for NodeName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(0) => Err("no node has the id 0"),
            Ok(node_id) => Ok(Self(proto::NodeRef {
                node_id,
                name: String::new(),
            })),
            Err(_) if text.is_empty() => Err("write the name or the id of a node"),
            Err(_) => Ok(Self(proto::NodeRef {
                node_id: 0,
                name: text.to_owned(),
            })),
        }
    }
}

/// Runs the verb.
pub(super) fn run(command: &ClusterCommand) -> Result<(), CliError> {
    match command {
        ClusterCommand::Status(common) => {
            let cluster = common.cluster()?;
            print(|out| match common.output {
                Format::Text => table::write_status(out, &cluster),
                Format::Json => table::write_status_json(out, &cluster),
            })
        }
        ClusterCommand::Servers(common) => {
            let cluster = common.cluster()?;
            if let Some(removed) = table::removed(&cluster) {
                // On standard error: a program that reads the table is not to take it for a node.
                drop(writeln!(io::stderr(), "note: {removed}"));
            }
            print(|out| match common.output {
                Format::Text => table::write_servers(out, &cluster),
                Format::Json => table::write_servers_json(out, &cluster),
            })
        }
        ClusterCommand::Add {
            node,
            learner,
            common,
        } => add(common, node, *learner),
        ClusterCommand::Remove { node, common } => remove(common, node),
        ClusterCommand::TransferLeader { node, common } => transfer_leader(common, node.as_ref()),
        ClusterCommand::Leave(common) => leave(common),
    }
}

fn print(write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) -> Result<(), CliError> {
    write(&mut io::stdout().lock()).map_err(CliError::from_write)
}

/// What `annals cluster status` prints, once nothing is being changed, or at the latest after `within`.
///
/// Cancel: safe. Errors: no node answers.
pub(super) async fn status_text(client: &Client, within: Duration) -> Result<String, CliError> {
    let mut cluster = call::get_cluster(client).await?;
    let mut views = client.watch();
    let settled = async {
        while cluster.changing {
            match views.next().await {
                Some(Ok(view)) => cluster = view,
                // What is known is shown.
                Some(Err(_)) | None => return,
            }
        }
    };
    drop(timeout(within, settled).await);
    let mut text = Vec::new();
    table::write_status(&mut text, &cluster).map_err(CliError::from_write)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Says what was done.
fn say(common: &Common, change: &Change) -> Result<(), CliError> {
    print(|out| match common.output {
        Format::Text => change.write(out),
        Format::Json => change.write_json(out),
    })
}

fn add(common: &Common, node: &NodeName, learner: bool) -> Result<(), CliError> {
    let request = proto::AddServerRequest {
        log: String::new(),
        node: Some(node.0.clone()),
        learner,
    };
    let client = common.client()?;
    let added = call::at_leader(&client, |mut node, within| {
        let mut request = Request::new(request.clone());
        request.set_timeout(within);
        async move { node.add_server(request).await }
    });
    say(common, &Change::added(runtime::block_on(added)?, learner))
}

fn remove(common: &Common, node: &NodeName) -> Result<(), CliError> {
    let request = proto::RemoveServerRequest {
        log: String::new(),
        node: Some(node.0.clone()),
    };
    let client = common.client()?;
    let removed = call::at_leader(&client, |mut node, within| {
        let mut request = Request::new(request.clone());
        request.set_timeout(within);
        async move { node.remove_server(request).await }
    });
    say(common, &Change::removed(runtime::block_on(removed)?))
}

fn transfer_leader(common: &Common, node: Option<&NodeName>) -> Result<(), CliError> {
    let request = proto::TransferLeaderRequest {
        log: String::new(),
        to: node.map(|node| node.0.clone()),
    };
    let client = common.client()?;
    let transferred = call::at_leader(&client, |mut node, within| {
        let mut request = Request::new(request.clone());
        request.set_timeout(within);
        async move { node.transfer_leader(request).await }
    });
    say(common, &Change::transferred(runtime::block_on(transferred)?))
}

fn leave(common: &Common) -> Result<(), CliError> {
    if common.target.count() > 1 {
        return Err(CliError::Usage {
            text: "one node leaves at a time",
            hint: "give --addr the address of the node that is to leave",
        });
    }
    let left = runtime::block_on(call::leave(&common.client()?, common.timeout))?;
    say(common, &Change::left(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_its_id_or_its_name() {
        let parsed = |text: &str| {
            let node = text.parse::<NodeName>().ok()?.0;
            Some((node.node_id, node.name))
        };
        assert_eq!(parsed("node-1"), Some((0, "node-1".to_owned())));
        assert_eq!(parsed("18446744073709551615"), Some((u64::MAX, String::new())));
        assert_eq!(parsed("0"), None);
        assert_eq!(parsed(""), None);
    }
}
