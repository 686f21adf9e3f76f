//! `annals certs renew`: new certificates in the place of old ones.

use std::{
    fmt::Display,
    fs,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use serde::Serialize;

use crate::{
    certs::{Authority, BACKDATED, Certificate, DnsName, Holder, Hosts, Key, Terms},
    clock,
    types::TimestampMs,
};

use super::{
    RenewArgs,
    argument::{AUTHORITY, parse_holder},
    error::{CertsFailure, Unrenewable},
    folder::{Folder, read, read_key},
    report::{date, days_left, time},
};
use crate::cli::{
    error::CliError,
    output::{Format, write_json},
};

/// What became of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// There is a new one.
    Renewed,
    /// A renewal that was interrupted is done now; there is a new one since then.
    Finished,
    /// It is not due.
    Kept,
}

#[derive(Debug, Serialize)]
struct Renewed {
    name: String,
    outcome: Outcome,
    identity: String,
    not_after: String,
    days_left: i64,
    new_key: bool,
    certificate: String,
    key: String,
}

#[derive(Debug, Serialize)]
struct Skipped {
    file: String,
    reason: String,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    certificates: Vec<Renewed>,
    skipped: Vec<Skipped>,
}

/// A certificate, and what a new one is made of.
struct Plan {
    name: String,
    holder: Holder,
    hosts: Hosts,
    valid_for: Duration,
    /// The one that is to be kept.
    key: Option<Key>,
    old: Certificate,
    is_finished: bool,
}

/// Renews what was asked for.
pub(super) fn run(args: &RenewArgs) -> Result<(), CliError> {
    let folder = Folder::open(&args.common.dir)?;
    let authority = folder.authority()?;
    let mut report = Report::default();
    let names = match &args.name {
        Some(name) => vec![name.as_str().to_owned()],
        None => all_names(&folder, &mut report)?,
    };
    // All are looked at before the first is replaced: what one of them lacks is known while nothing has changed.
    let mut plans = Vec::new();
    for name in names {
        match plan(&folder, &authority, &name, args) {
            Ok(plan) => plans.push(plan),
            // One file that has nothing to renew must not keep the others from it; `list` shows it too.
            Err(CertsFailure::NotRenewable { path, reason }) if args.all => {
                report.skip(&path, &reason);
            }
            Err(CertsFailure::Content { path, source }) if args.all => report.skip(&path, &source),
            Err(error) => return Err(error.into()),
        }
    }
    let now = clock::wall();
    for plan in plans {
        let renewed = carry_out(&folder, &authority, plan, args, now)?;
        report.certificates.push(renewed);
    }
    report
        .write(&mut io::stdout().lock(), args.common.output)
        .map_err(CliError::from_write)
}

/// The names of all certificates but the authority's; files whose names cannot be those of nodes and clients are told of.
fn all_names(folder: &Folder, report: &mut Report) -> Result<Vec<String>, CertsFailure> {
    let unreadable = || CertsFailure::io("read", folder.path());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.path()).map_err(unreadable())? {
        let path = entry.map_err(unreadable())?.path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        match parse_holder(&stem) {
            Ok(name) => names.push(name.as_str().to_owned()),
            Err(_) if stem == AUTHORITY => {}
            Err(_) => report.skip(&path, &"it has no name that a node or a client could have"),
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Finishes what was interrupted, and finds out what a new certificate is made of.
///
/// Errors: `NotRenewable`; the files cannot be read.
fn plan(folder: &Folder, authority: &Authority, name: &str, args: &RenewArgs) -> Result<Plan, CertsFailure> {
    let is_finished = folder.finish(name)?;
    let path = folder.certificate(name);
    let old = Certificate::from_pem(&read(&path)?).map_err(CertsFailure::content(&path))?;
    let (holder, hosts) =
        holder_and_hosts(&old, authority, folder, name).map_err(|reason| CertsFailure::NotRenewable {
            path: path.clone(),
            reason,
        })?;
    let key = if args.keep_key {
        let key = read_key(&folder.key(name))?;
        if !old.is_of(&key) {
            let reason = Unrenewable::OtherKey;
            return Err(CertsFailure::NotRenewable { path, reason });
        }
        Some(key)
    } else {
        None
    };
    let length = Duration::from_millis(old.not_after.0.saturating_sub(old.not_before.0));
    Ok(Plan {
        name: name.to_owned(),
        holder,
        hosts,
        valid_for: args.valid_for.unwrap_or(length.saturating_sub(BACKDATED)),
        key,
        old,
        is_finished,
    })
}

/// What the old one says, if it can be believed and said again.
fn holder_and_hosts(
    old: &Certificate,
    authority: &Authority,
    folder: &Folder,
    name: &str,
) -> Result<(Holder, Hosts), Unrenewable> {
    let identity = old.identity.as_ref().ok_or(Unrenewable::NoIdentity)?;
    let holder = identity.holder.clone();
    let own = holder.name().ok_or(Unrenewable::NoIdentity)?;
    if own.as_str() != name || identity.cluster != *authority.cluster() {
        let identity = identity.to_string();
        return Err(Unrenewable::OtherName { identity });
    }
    if !old.is_signed_by(authority.certificate()) {
        return Err(Unrenewable::NotSigned {
            authority: folder.certificate(AUTHORITY),
        });
    }
    let dns: Result<Vec<DnsName>, _> = old.dns.iter().map(|name| name.parse()).collect();
    match dns {
        Ok(dns) if old.others.is_empty() => Ok((holder, Hosts::new(dns, old.ips.iter().copied()))),
        _ => Err(Unrenewable::OtherNames),
    }
}

fn carry_out(
    folder: &Folder,
    authority: &Authority,
    plan: Plan,
    args: &RenewArgs,
    now: TimestampMs,
) -> Result<Renewed, CertsFailure> {
    let is_due = args.expires_within.is_none_or(|within| {
        let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        plan.old.not_after.0 < now.0.saturating_add(within)
    });
    let (outcome, certificate, new_key) = if plan.is_finished {
        (Outcome::Finished, plan.old, true)
    } else if !is_due {
        (Outcome::Kept, plan.old, false)
    } else {
        let path = folder.certificate(AUTHORITY);
        let terms = Terms {
            now,
            valid_for: plan.valid_for,
        };
        let is_new = plan.key.is_none();
        let key = plan
            .key
            .map_or_else(Key::generate, Ok)
            .map_err(CertsFailure::content(&path))?;
        let text = authority
            .sign(&plan.holder, &plan.hosts, &key, terms)
            .map_err(CertsFailure::content(&path))?;
        let made = Certificate::from_pem(text.as_bytes()).map_err(CertsFailure::content(&path))?;
        folder.replace(&plan.name, &text, is_new.then_some(&key))?;
        (Outcome::Renewed, made, is_new)
    };
    let identity = certificate.identity.as_ref();
    Ok(Renewed {
        outcome,
        identity: identity.map(ToString::to_string).unwrap_or_default(),
        not_after: time(certificate.not_after),
        days_left: days_left(certificate.not_after, now),
        new_key,
        certificate: folder.certificate(&plan.name).display().to_string(),
        key: folder.key(&plan.name).display().to_string(),
        name: plan.name,
    })
}

impl Report {
    fn skip(&mut self, file: &Path, reason: &impl Display) {
        self.skipped.push(Skipped {
            file: file.display().to_string(),
            reason: reason.to_string(),
        });
    }

    fn write(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        if format == Format::Json {
            return write_json(out, self);
        }
        if self.certificates.is_empty() {
            writeln!(out, "no certificates of nodes or clients")?;
        }
        for one in &self.certificates {
            let until = date(&one.not_after);
            let (what, how) = match (one.outcome, one.new_key) {
                (Outcome::Renewed, true) => ("renewed ", ", with a new key"),
                (Outcome::Renewed, false) => ("renewed ", ", with the key it had"),
                (Outcome::Finished, _) => ("finished", ", as a renewal that was interrupted made it"),
                (Outcome::Kept, _) => ("kept    ", ", not due yet"),
            };
            let Renewed {
                certificate,
                identity,
                ..
            } = one;
            writeln!(out, "{what}  {certificate}  {identity}, valid until {until}{how}")?;
        }
        for Skipped { file, reason } in &self.skipped {
            writeln!(out, "skipped   {file}  {reason}")?;
        }
        for one in self
            .certificates
            .iter()
            .filter(|one| one.outcome != Outcome::Kept)
        {
            writeln!(out, "next: give {} its new files", one.name)?;
        }
        Ok(())
    }
}
