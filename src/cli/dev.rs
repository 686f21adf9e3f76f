//! `annals dev`: a node to try things with, or a cluster of some, and what to paste next.

use std::{
    fmt,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    config::{self, Config, Loaded, Origin, keys},
    node::{Addresses, Hangup},
    telemetry::patience::{LAST_WORDS_WITHIN, done_within},
};

use super::{
    agent::run_node,
    argument::shell_quoted,
    dev_cluster,
    dev_data::refuse_other_nodes,
    error::CliError,
    leftovers,
    place::{ADMIN_DISTANCE, port_max},
};

/// The most nodes of one process.
const NODES_MAX: u16 = 5;

/// Run a node, or a cluster, to try things with: all defaults, and it prints what to paste next
///
/// It stops with Ctrl-C. With --nodes 3 the process runs three nodes that found one cluster. Without --data-dir the data is in a temporary directory, which goes when it stops;
/// the next one says which of them are left of some that were killed. A directory that holds the data of one node is refused to several, and the reverse.
/// ANNALS__SECTION__KEY in the environment sets any option of config/default.toml.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  annals dev
  annals dev --nodes 3
  annals dev --data-dir /tmp/annals --port 9400")]
pub struct DevArgs {
    /// Run so many nodes, which found a cluster together; each takes three ports, ten above those of the one before
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    nodes: u16,
    /// Keep the data there [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Take clients on this port, gossip one above, and probes two above; 0: any free ports [default: 8400]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(..=i64::from(port_max(NODES_MAX))))]
    port: Option<u16>,
}

impl DevArgs {
    /// Runs the node to its end.
    ///
    /// Blocking. Errors: the node could not begin, or ended for another reason than being asked to.
    pub fn run(&self) -> Result<(), CliError> {
        let (config, temporary) = self.load()?;
        let (data_dir, keeps_data) = (config.node.data_dir.clone(), temporary.is_none());
        refuse_other_nodes(&data_dir, self.nodes, NODES_MAX)?;
        if self.nodes > 1 {
            let port = self.port.unwrap_or(config.listen.rpc.port());
            let configs = dev_cluster::configs(&config, self.nodes, port, &data_dir)?;
            let result = dev_cluster::run(&configs, &data_dir, keeps_data);
            drop(temporary);
            return result;
        }
        let result = run_node(&config, Hangup::End, move |Addresses { rpc, admin }| {
            let program = std::env::args().next().unwrap_or_else(|| "annals".to_owned());
            let banner = Banner {
                program: &program,
                data_dir: &data_dir,
                keeps_data,
                rpc,
                admin,
            };
            // A closed standard output is no reason to stop serving.
            drop(write!(io::stdout(), "{banner}"));
        });
        drop(temporary);
        result
    }

    /// The configuration to run with: the defaults, the environment, and above both the arguments; and the directory
    /// that goes with the node, unless one was named.
    ///
    /// Errors: `Config`, when the environment is wrong; `Start`, when there is no room for a temporary directory.
    fn load(&self) -> Result<(Config, Option<TempDir>), CliError> {
        let environment = config::process_environment();
        let Loaded {
            mut config, origins, ..
        } = config::load(None, environment).map_err(CliError::Config)?;
        self.apply(&mut config);
        if self.data_dir.is_some() || *origins.of(keys::node::data_dir) != Origin::Default {
            return Ok((config, None));
        }
        // On standard error, for whoever wonders where the room went; nobody has to read it.
        if let Some(note) = leftovers::note(&std::env::temp_dir()) {
            done_within(LAST_WORDS_WITHIN, note, |note| {
                drop(writeln!(io::stderr(), "note: {note}"))
            });
        }
        let temporary = tempfile::Builder::new()
            .prefix(leftovers::PREFIX)
            .tempdir()
            .map_err(CliError::Start)?;
        config.node.data_dir = temporary.path().to_owned();
        Ok((config, Some(temporary)))
    }

    fn apply(&self, config: &mut Config) {
        if let Some(data_dir) = &self.data_dir {
            config.node.data_dir.clone_from(data_dir);
        }
        if let Some(port) = self.port {
            config.listen.rpc.set_port(port);
            config
                .listen
                .admin
                .set_port(if port == 0 { 0 } else { port + ADMIN_DISTANCE });
        }
    }
}

/// What a node that just started tells the person who started it. Displayed only once all of it is true: the
/// addresses are bound.
#[derive(Clone, Debug)]
pub struct Banner<'a> {
    /// How this program was called, so that the lines can be pasted where they stand.
    pub program: &'a str,
    /// Where the data is.
    pub data_dir: &'a Path,
    /// Whether it is there when the node has stopped.
    pub keeps_data: bool,
    /// Where clients are taken.
    pub rpc: SocketAddr,
    /// Where probes are answered.
    pub admin: SocketAddr,
}

/// The address that `--addr` has when it is left out.
const RPC_DEFAULT: &str = "127.0.0.1:8400";

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            data_dir, rpc, admin, ..
        } = self;
        let program = shell_quoted(self.program);
        let addr = match rpc.to_string() {
            default if default == RPC_DEFAULT => String::new(),
            other => format!(" --addr {other}"),
        };
        writeln!(f, "annals {} is ready", env!("CARGO_PKG_VERSION"))?;
        writeln!(f)?;
        writeln!(f, "  data     {}", data_dir.display())?;
        writeln!(f, "  address  {rpc}")?;
        writeln!(f)?;
        writeln!(f, "Paste into another terminal:")?;
        writeln!(f)?;
        writeln!(f, "  echo hello | {program} produce{addr}")?;
        writeln!(f, "  {program} consume{addr}")?;
        writeln!(f, "  {program} consume{addr} --from latest --follow")?;
        writeln!(f, "  {program} log describe{addr}")?;
        writeln!(f, "  curl 'http://{rpc}/v1/records?encoding=text'")?;
        writeln!(f, "  curl 'http://{admin}/readyz?verbose'")?;
        writeln!(f)?;
        match self.keeps_data {
            true => writeln!(f, "Ctrl-C stops it; the data stays."),
            false => writeln!(f, "Ctrl-C stops it, and the data goes; --data-dir DIR keeps it."),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Dev {
        #[command(flatten)]
        args: DevArgs,
    }

    fn config(args: &[&str]) -> Config {
        let parsed = Dev::try_parse_from([&["dev"], args].concat()).expect("the arguments are right");
        let mut config = Config::default();
        parsed.args.apply(&mut config);
        config
    }

    #[test]
    fn without_arguments_everything_is_as_by_default() {
        assert_eq!(config(&[]), Config::default());
    }

    #[test]
    fn a_port_moves_the_admin_port_too() {
        let moved = config(&["--port", "9400", "--data-dir", "/tmp/x"]);
        assert_eq!((moved.listen.rpc.port(), moved.listen.admin.port()), (9400, 9402));
        assert_eq!(moved.node.data_dir, Path::new("/tmp/x"));
        let any = config(&["--port", "0"]);
        assert_eq!((any.listen.rpc.port(), any.listen.admin.port()), (0, 0));
        assert!(Dev::try_parse_from(["dev", "--port", "65500"]).is_err());
    }

    #[test]
    fn the_default_address_of_clients_is_the_default_address_of_nodes() {
        assert_eq!(Config::default().listen.rpc.to_string(), RPC_DEFAULT);
    }

    #[test]
    fn the_lines_to_paste_name_the_program_and_an_address_that_is_not_the_default() {
        let banner = Banner {
            program: "/home/me/my annals",
            data_dir: Path::new("/tmp/x"),
            keeps_data: true,
            rpc: SocketAddr::from(([127, 0, 0, 1], 9400)),
            admin: SocketAddr::from(([127, 0, 0, 1], 9402)),
        };
        let text = banner.to_string();
        assert!(
            text.contains("echo hello | '/home/me/my annals' produce --addr 127.0.0.1:9400\n"),
            "{text}"
        );
        assert!(
            text.contains("curl 'http://127.0.0.1:9402/readyz?verbose'\n"),
            "{text}"
        );
        let rpc = SocketAddr::from(([127, 0, 0, 1], 8400));
        let default = Banner {
            program: "annals",
            rpc,
            ..banner
        }
        .to_string();
        assert!(default.contains("\n  annals consume\n"), "{default}");
    }
}
