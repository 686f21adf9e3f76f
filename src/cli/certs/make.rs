//! `annals certs ca|node|client`: what was not there before.

use std::{collections::BTreeSet, io, path::Path, time::Duration};

use crate::{
    certs::{Authority, Certificate, Holder, Hosts, Key, Name, Terms},
    clock,
};

use super::{
    AUTHORITY_VALID_FOR, CaArgs, ClientArgs, Common, DIRECTORY, NodeArgs, VALID_FOR,
    argument::{AUTHORITY, parse_validity},
    error::CertsFailure,
    folder::Folder,
    report::{Report, Saved},
};
use crate::cli::{argument::shell_quoted, error::CliError};

/// Makes the authority of a cluster.
pub(super) fn authority(args: &CaArgs) -> Result<(), CliError> {
    let folder = Folder::make(&args.common.dir)?;
    let report = Report {
        certificates: vec![found(&folder, &args.cluster, from_now(args.valid_for))?],
        next: vec![
            format!(
                "keep {} where no node runs: whoever has it can make every certificate",
                folder.key(AUTHORITY).display()
            ),
            format!(
                "annals certs node node-0{} --dns HOST --ip ADDRESS",
                dir_option(&args.common.dir)
            ),
        ],
    };
    print(&report, &args.common)
}

/// Makes the certificates of nodes.
pub(super) fn nodes(args: &NodeArgs) -> Result<(), CliError> {
    let hosts = Hosts::new(args.dns.iter().cloned(), args.ip.iter().copied()).with_loopback();
    let holders: Vec<Holder> = args.names.iter().cloned().map(Holder::Node).collect();
    issue(&holders, &hosts, args.valid_for, &args.common)
}

/// Makes the certificates of clients.
pub(super) fn clients(args: &ClientArgs) -> Result<(), CliError> {
    let holders: Vec<Holder> = args.names.iter().cloned().map(Holder::Client).collect();
    issue(&holders, &Hosts::default(), args.valid_for, &args.common)
}

/// Makes a certificate for each; none at all when one of them has its files already.
fn issue(holders: &[Holder], hosts: &Hosts, valid_for: Duration, common: &Common) -> Result<(), CliError> {
    let folder = match Folder::open(&common.dir) {
        Err(CertsFailure::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let path = common.dir.join(format!("{AUTHORITY}.pem"));
            return Err(CertsFailure::NoAuthority { path }.into());
        }
        opened => opened?,
    };
    let names = holders.iter().filter_map(Holder::name);
    let authority = folder.certificate(AUTHORITY);
    let next = |name| {
        format!(
            "give {name} its two files and {}, and nobody else its key",
            authority.display()
        )
    };
    let report = Report {
        certificates: sign(&folder, holders, hosts, from_now(valid_for))?,
        next: names.map(next).collect(),
    };
    print(&report, common)
}

/// The certificates of a whole cluster, in a directory that is not there yet: its authority, and these nodes, which are reached at
/// these hosts and from their own machines, and clients.
///
/// Errors: see [`CertsFailure`]; what was made until then is left.
pub(in crate::cli) fn whole(
    directory: &Path,
    cluster: &Name,
    nodes: &[Name],
    hosts: Hosts,
    clients: &[Name],
) -> Result<(), CertsFailure> {
    let folder = Folder::make(directory)?;
    let valid_for = |text| parse_validity(text).expect("it is what the command line defaults to");
    found(&folder, cluster, from_now(valid_for(AUTHORITY_VALID_FOR)))?;
    let terms = from_now(valid_for(VALID_FOR));
    let nodes: Vec<_> = nodes.iter().cloned().map(Holder::Node).collect();
    sign(&folder, &nodes, &hosts.with_loopback(), terms)?;
    let clients: Vec<_> = clients.iter().cloned().map(Holder::Client).collect();
    sign(&folder, &clients, &Hosts::default(), terms)?;
    Ok(())
}

fn from_now(valid_for: Duration) -> Terms {
    Terms {
        now: clock::wall(),
        valid_for,
    }
}

/// Makes what signs.
fn found(folder: &Folder, cluster: &Name, terms: Terms) -> Result<Saved, CertsFailure> {
    folder.check_vacant(AUTHORITY)?;
    let path = folder.certificate(AUTHORITY);
    let key = Key::generate().map_err(CertsFailure::content(&path))?;
    let text = Authority::make(cluster, &key, terms).map_err(CertsFailure::content(&path))?;
    save(folder, AUTHORITY, &text, &key, false)
}

/// Makes a certificate for each, who are nodes or clients; none at all when one of them has its files already.
fn sign(
    folder: &Folder,
    holders: &[Holder],
    hosts: &Hosts,
    terms: Terms,
) -> Result<Vec<Saved>, CertsFailure> {
    let authority = folder.authority()?;
    let name = |holder: &Holder| {
        holder
            .name()
            .map_or(AUTHORITY.to_owned(), |name| name.as_str().to_owned())
    };
    let mut seen = BTreeSet::new();
    for name in holders.iter().map(name) {
        folder.check_vacant(&name)?;
        if let Some(name) = seen.replace(name) {
            return Err(CertsFailure::Twice { name });
        }
    }
    let path = folder.certificate(AUTHORITY);
    let shortened = terms.not_after() > authority.certificate().not_after;
    let one = |holder: &Holder| {
        let key = Key::generate().map_err(CertsFailure::content(&path))?;
        let text = authority
            .sign(holder, hosts, &key, terms)
            .map_err(CertsFailure::content(&path))?;
        save(folder, &name(holder), &text, &key, shortened)
    };
    holders.iter().map(one).collect()
}

fn save(folder: &Folder, name: &str, text: &str, key: &Key, shortened: bool) -> Result<Saved, CertsFailure> {
    let (certificate, key_path) = (folder.certificate(name), folder.key(name));
    let made = Certificate::from_pem(text.as_bytes()).map_err(CertsFailure::content(&certificate))?;
    folder.create(name, text, key)?;
    Ok(Saved::new(name, &made, (&certificate, &key_path), shortened))
}

/// How the directory is named again, where it has to be.
fn dir_option(directory: &Path) -> String {
    if directory == Path::new(DIRECTORY) {
        String::new()
    } else {
        format!(" --dir {}", shell_quoted(&directory.to_string_lossy()))
    }
}

fn print(report: &Report, common: &Common) -> Result<(), CliError> {
    report
        .write(&mut io::stdout().lock(), common.output)
        .map_err(CliError::from_write)
}
