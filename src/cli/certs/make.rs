//! `annals certs ca|node|client`: what was not there before.

use std::{collections::BTreeSet, io, path::Path, time::Duration};

use crate::{
    certs::{Authority, Certificate, Holder, Hosts, Key, Name, Terms},
    clock,
};

use super::{
    CaArgs, ClientArgs, Common, DIRECTORY, NodeArgs,
    argument::AUTHORITY,
    error::CertsFailure,
    folder::Folder,
    report::{Report, Saved},
};
use crate::cli::{argument::shell_quoted, error::CliError};

/// Makes the authority of a cluster.
pub(super) fn authority(args: &CaArgs) -> Result<(), CliError> {
    let folder = Folder::make(&args.common.dir)?;
    folder.check_vacant(AUTHORITY)?;
    let terms = Terms {
        now: clock::wall(),
        valid_for: args.valid_for,
    };
    let path = folder.certificate(AUTHORITY);
    let key = Key::generate().map_err(CertsFailure::content(&path))?;
    let text = Authority::make(&args.cluster, &key, terms).map_err(CertsFailure::content(&path))?;
    let saved = save(&folder, AUTHORITY, &text, &key, false)?;
    let report = Report {
        certificates: vec![saved],
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
    let authority = folder.authority()?;
    let names: Vec<&str> = holders
        .iter()
        .filter_map(Holder::name)
        .map(Name::as_str)
        .collect();
    let mut seen = BTreeSet::new();
    for name in &names {
        if !seen.insert(*name) {
            let name = (*name).to_owned();
            return Err(CertsFailure::Twice { name }.into());
        }
        folder.check_vacant(name)?;
    }
    let terms = Terms {
        now: clock::wall(),
        valid_for,
    };
    let mut report = Report {
        certificates: Vec::new(),
        next: Vec::new(),
    };
    let authority_path = folder.certificate(AUTHORITY);
    for (holder, name) in holders.iter().zip(names) {
        let key = Key::generate().map_err(CertsFailure::content(&authority_path))?;
        let text = authority
            .sign(holder, hosts, &key, terms)
            .map_err(CertsFailure::content(&authority_path))?;
        let shortened = terms.not_after() > authority.certificate().not_after;
        report
            .certificates
            .push(save(&folder, name, &text, &key, shortened)?);
        report.next.push(format!(
            "give {name} its two files and {}, and nobody else its key",
            authority_path.display()
        ));
    }
    print(&report, common)
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
