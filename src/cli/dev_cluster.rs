//! `annals dev --nodes N`: several nodes in one process that found one cluster, and what to paste next.

use std::{
    fmt,
    io::{self, Write},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use crate::{
    client::Client,
    config::{Config, NodeName},
    node::{self, Addresses},
    telemetry::logging,
};

use super::{
    argument::shell_quoted, cluster, connect::FIRST_ANSWER_WITHIN, error::CliError, exit::Exit, place::Place,
    runtime,
};

/// A cluster that was just founded has settled within a tenth of that.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);

/// Tries to find a port that is free for packets and for connections.
const PORT_TRIES: usize = 64;

/// The configurations of `count` nodes below `data_dir`, all else as in `base`. Port 0: any free ones.
///
/// Errors: `PortsTaken`; `Start` when the system has no free port.
pub(super) fn configs(
    base: &Config,
    count: u16,
    port: u16,
    data_dir: &Path,
) -> Result<Vec<Config>, CliError> {
    let ip = base.listen.rpc.ip();
    let places = if port == 0 {
        any_ports(ip, count).map_err(CliError::Start)?
    } else {
        let places = Place::several(ip, port, count);
        refuse_taken(&places)?;
        places
    };
    let names: Vec<_> = (0..count).map(|i| NodeName::numbered(u32::from(i))).collect();
    let mut base = base.clone();
    base.node.data_dir = data_dir.to_owned();
    Ok(Place::configs(&places, &names, &base))
}

/// Gossip needs to know its seeds before anything listens, so its ports are looked for here.
fn any_ports(ip: IpAddr, count: u16) -> io::Result<Vec<Place>> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(free_port(ip)?);
    }
    let place = |(packets, _): &(UdpSocket, TcpListener)| {
        Ok(Place {
            gossip: packets.local_addr()?,
            ..Place {
                rpc: SocketAddr::new(ip, 0),
                gossip: SocketAddr::new(ip, 0),
                admin: SocketAddr::new(ip, 0),
            }
        })
    };
    held.iter().map(place).collect()
}

fn free_port(ip: IpAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let packets = UdpSocket::bind((ip, 0))?;
        match TcpListener::bind(packets.local_addr()?) {
            Ok(connections) => return Ok((packets, connections)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn refuse_taken(places: &[Place]) -> Result<(), CliError> {
    let all = places
        .iter()
        .flat_map(|place| [place.rpc, place.gossip, place.admin]);
    let is_taken = |address: &SocketAddr| {
        let bound = TcpListener::bind(address);
        bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    };
    let taken: Vec<_> = all.filter(is_taken).map(|address| address.to_string()).collect();
    if taken.is_empty() {
        return Ok(());
    }
    Err(CliError::PortsTaken {
        taken: taken.join(", "),
    })
}

/// Runs the nodes to their end, with their logs on standard error.
///
/// Blocking. Errors: one could not begin, or ended for another reason than being asked to.
pub(super) fn run(configs: &[Config], data_dir: &Path, keeps_data: bool) -> Result<(), CliError> {
    let telemetry = &configs[0].telemetry;
    let logging = logging::start(telemetry.log_level, telemetry.log_format)
        .map_err(|error| CliError::Start(io::Error::other(error)))?;
    let names: Vec<&str> = configs.iter().map(|config| config.node.name.as_str()).collect();
    let ended = node::run_several(configs, &logging.logger, |addresses| {
        let program = std::env::args().next().unwrap_or_else(|| "annals".to_owned());
        let banner = Banner {
            program: &program,
            data_dir,
            keeps_data,
            table: &table(addresses),
            nodes: names.iter().copied().zip(addresses.iter().copied()).collect(),
        };
        // A closed standard output is no reason to stop serving.
        drop(write!(io::stdout(), "{banner}"));
    });
    let ended = ended.map_err(CliError::Node)?;
    match Exit::of_node(ended.ending.exit_code) {
        Exit::Done => Ok(()),
        exit => Err(CliError::NodeEnded {
            cause: format!("{}: {}", ended.node_name, ended.ending.cause),
            exit,
        }),
    }
}

/// The cluster as `annals cluster status` shows it; nothing when it does not answer.
fn table(addresses: &[Addresses]) -> String {
    let client = Client::builder()
        .addresses(addresses.iter().map(|node| node.rpc))
        .within(FIRST_ANSWER_WITHIN)
        .only_these_addresses()
        .build();
    let Ok(client) = client else {
        return String::new();
    };
    // The runtime of this thread is at work already.
    let asked = thread::spawn(move || runtime::block_on(cluster::status_text(&client, SETTLES_WITHIN)));
    asked.join().ok().and_then(Result::ok).unwrap_or_default()
}

/// What nodes that just founded a cluster tell the person who started them.
#[derive(Clone, Debug)]
struct Banner<'a> {
    /// How this program was called, so that the lines can be pasted where they stand.
    program: &'a str,
    /// Where the data is.
    data_dir: &'a Path,
    /// Whether it is there when the nodes have stopped.
    keeps_data: bool,
    /// The cluster as it is.
    table: &'a str,
    nodes: Vec<(&'a str, Addresses)>,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = shell_quoted(self.program);
        let (_, first) = self.nodes[0];
        let (last_name, last) = self.nodes[self.nodes.len() - 1];
        let all: Vec<_> = self.nodes.iter().map(|(_, node)| node.rpc.to_string()).collect();
        let all = all.join(",");
        let count = self.nodes.len();
        writeln!(
            f,
            "annals {} is ready: {count} nodes, one cluster",
            env!("CARGO_PKG_VERSION")
        )?;
        writeln!(f)?;
        writeln!(f, "  data  {}/node-0 to {last_name}", self.data_dir.display())?;
        writeln!(f)?;
        for line in self.table.lines() {
            writeln!(f, "{}", format!("  {line}").trim_end())?;
        }
        writeln!(f)?;
        writeln!(f, "Paste into another terminal:")?;
        writeln!(f)?;
        writeln!(f, "  echo hello | {program} produce --addr {}", first.rpc)?;
        writeln!(f, "  {program} consume --addr {}", last.rpc)?;
        writeln!(f, "  {program} consume --addr {all} --from latest --follow")?;
        writeln!(f, "  {program} cluster status --addr {all}")?;
        writeln!(f, "  {program} cluster transfer-leader --addr {all}")?;
        writeln!(f, "  curl 'http://{}/readyz?verbose'", first.admin)?;
        writeln!(f)?;
        writeln!(
            f,
            "They are threads of one process. For nodes that can be killed alone: annals agent --config \
             config/cluster/node-0.toml, and so on."
        )?;
        match self.keeps_data {
            true => writeln!(f, "Ctrl-C stops all of them; the data stays."),
            false => writeln!(
                f,
                "Ctrl-C stops all of them, and the data goes; --data-dir DIR keeps it."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_ports_of_their_own_and_know_each_other() {
        // Ports that nobody is likely to have; where somebody does, that is told.
        let configs = match configs(&Config::default(), 3, 28_400, Path::new("/tmp/x")) {
            Ok(configs) => configs,
            Err(CliError::PortsTaken { .. }) => return,
            Err(error) => panic!("{error}"),
        };
        let rpc: Vec<_> = configs.iter().map(|config| config.listen.rpc.port()).collect();
        assert_eq!(rpc, [28_400, 28_410, 28_420]);
        let last = &configs[2];
        assert_eq!(last.gossip_listen().unwrap().port(), 28_421);
        assert_eq!(last.listen.admin.port(), 28_422);
        assert_eq!(last.node.data_dir, Path::new("/tmp/x/node-2"));
        assert_eq!(last.cluster.seeds.len(), 3);
        let members: Vec<_> = last
            .cluster
            .initial_members
            .iter()
            .map(NodeName::as_str)
            .collect();
        assert_eq!(members, ["node-0", "node-1", "node-2"]);
    }

    #[test]
    fn ports_that_are_taken_are_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let refused = configs(&Config::default(), 1, address.port(), Path::new("/tmp/x"));
        let Err(CliError::PortsTaken { taken }) = refused else {
            panic!("{refused:?}");
        };
        assert!(taken.contains(&address.to_string()), "{taken}");
    }

    #[test]
    fn any_free_ports_will_do() {
        let configs = configs(&Config::default(), 2, 0, Path::new("/tmp/x")).unwrap();
        assert!(configs.iter().all(|config| config.listen.rpc.port() == 0));
        let gossip: Vec<_> = configs
            .iter()
            .map(|config| config.gossip_listen().unwrap())
            .collect();
        assert!(gossip[0].port() != 0 && gossip[0] != gossip[1]);
    }
}
