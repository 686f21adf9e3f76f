//! `annals certs`: the certificates of a cluster's nodes and clients, and the authority that signs them.

mod argument;
mod folder;
mod list;
mod make;
mod renew;
mod report;
mod table;

mod error;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use crate::certs::{DnsName, Name};

use self::argument::{parse_ip, parse_validity, parse_within};
use super::{error::CliError, output::Format};

pub(super) use argument::{AUTHORITY, Host, parse_holder, parse_host};
pub use error::CertsFailure;
pub(super) use folder::{CERTIFICATE_MODE, KEY_MODE, certificate_file, create_file, is_there, key_file};
pub(super) use make::whole as make_whole;

/// Where certificates are kept when nobody says otherwise.
pub(super) const DIRECTORY: &str = "certs";
/// How long an authority is valid: long, since everybody who trusts it must be told of another.
const AUTHORITY_VALID_FOR: &str = "3650d";
/// How long the certificate of a node or a client is valid: a year, as long as a certificate for the web was when this was decided.
const VALID_FOR: &str = "365d";

/// Certificates: make, list and renew those of nodes and clients
#[derive(Debug, clap::Subcommand)]
pub(super) enum CertsCommand {
    /// Make the certificate authority (CA) of a cluster, which signs all its certificates
    ///
    /// Makes DIR, for you alone, if it is not there, and in it ca.pem, which everybody needs, and ca.key, which nobody needs who
    /// makes no certificates.
    #[command(after_long_help = "\
Examples:
  annals certs ca --cluster orders
  annals certs ca --cluster orders --dir /etc/annals/certs --valid-for 1825d")]
    Ca(CaArgs),
    /// Make certificates for nodes, which serve with them and call each other
    ///
    /// The identity in it is annals://CLUSTER/node/NAME. It is good for the hosts given, and always for localhost, 127.0.0.1
    /// and ::1. Makes NAME.pem and NAME.key in DIR, and overwrites nothing.
    #[command(after_long_help = "\
Examples:
  annals certs node node-0 --dns node-0.example.com --ip 10.0.0.10
  annals certs node node-0 node-1 node-2 --dns '*.annals.example.com'
  annals certs node node-0 --valid-for 90d")]
    Node(NodeArgs),
    /// Make certificates for clients, which call nodes with them
    ///
    /// The identity in it is annals://CLUSTER/client/NAME. Makes NAME.pem and NAME.key in DIR, and overwrites nothing.
    #[command(after_long_help = "\
Examples:
  annals certs client billing
  annals certs client alice --valid-for 30d")]
    Client(ClientArgs),
    /// Show certificates: whose they are, where they are good for, when they expire, and whether the key beside them is theirs
    ///
    /// Of a directory, all *.pem and *.crt. LEFT is in days. Ends with exit code 7 when one has expired, or does so within
    /// the time given, and else with 1 when one cannot be read.
    #[command(after_long_help = "\
Examples:
  annals certs list
  annals certs list --expires-within 30d
  annals certs list certs/node-0.pem -o json | jq '.certificates[].days_left'")]
    List(ListArgs),
    /// Replace certificates of nodes and clients by new ones of the same identity and hosts, each with a new key
    ///
    /// The new files are written beside the old ones and then renamed, first the key and right after it the certificate. If that
    /// is interrupted, the next renewal of NAME finishes it. The old ones are not kept.
    #[command(after_long_help = "\
Examples:
  annals certs renew node-0
  annals certs renew --all --expires-within 30d
  annals certs renew billing --keep-key --valid-for 90d")]
    Renew(RenewArgs),
}

/// What all that make something take.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// The directory that the files are in
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    dir: PathBuf,
    /// How to print what was done
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Arguments of `annals certs ca`.
#[derive(Debug, clap::Args)]
pub(super) struct CaArgs {
    /// The name of the cluster, as in its configuration
    #[arg(long, value_name = "NAME")]
    cluster: Name,
    /// How long it is valid, as in 1825d
    #[arg(long, value_name = "TIME", default_value = AUTHORITY_VALID_FOR, value_parser = parse_validity)]
    valid_for: Duration,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `annals certs node`.
#[derive(Debug, clap::Args)]
pub(super) struct NodeArgs {
    /// The names of the nodes, as in their configurations
    #[arg(required = true, value_name = "NAME", value_parser = parse_holder)]
    names: Vec<Name>,
    /// A DNS name that the node is reached by; may be given several times
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    dns: Vec<DnsName>,
    /// An address that the node is reached at; may be given several times
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', value_parser = parse_ip)]
    ip: Vec<IpAddr>,
    /// How long they are valid, as in 90d; never longer than the CA is
    #[arg(long, value_name = "TIME", default_value = VALID_FOR, value_parser = parse_validity)]
    valid_for: Duration,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `annals certs client`.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArgs {
    /// The names of the clients
    #[arg(required = true, value_name = "NAME", value_parser = parse_holder)]
    names: Vec<Name>,
    /// How long they are valid, as in 90d; never longer than the CA is
    #[arg(long, value_name = "TIME", default_value = VALID_FOR, value_parser = parse_validity)]
    valid_for: Duration,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `annals certs list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Directories and files with certificates
    #[arg(value_name = "DIR|FILE", default_value = DIRECTORY)]
    paths: Vec<PathBuf>,
    /// End with exit code 7 also when a certificate expires within this, as in 30d
    #[arg(long, value_name = "TIME", value_parser = parse_within)]
    expires_within: Option<Duration>,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Arguments of `annals certs renew`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["name", "all"]))]
pub(super) struct RenewArgs {
    /// Whose certificate
    #[arg(value_parser = parse_holder)]
    name: Option<Name>,
    /// Those of all nodes and clients in DIR
    #[arg(long)]
    all: bool,
    /// Only what has expired, or does so within this, as in 30d
    #[arg(long, value_name = "TIME", value_parser = parse_within)]
    expires_within: Option<Duration>,
    /// Go on with the key that is there
    #[arg(long)]
    keep_key: bool,
    /// How long they are valid, as in 90d [default: as long as the old one was]
    #[arg(long, value_name = "TIME", value_parser = parse_validity)]
    valid_for: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

/// Does it, and prints what was done.
///
/// Errors: see [`CertsFailure`]. Blocking: reads and writes files, and syncs them.
pub(super) fn run(command: &CertsCommand) -> Result<(), CliError> {
    match command {
        CertsCommand::Ca(args) => make::authority(args),
        CertsCommand::Node(args) => make::nodes(args),
        CertsCommand::Client(args) => make::clients(args),
        CertsCommand::List(args) => list::run(args),
        CertsCommand::Renew(args) => renew::run(args),
    }
}
