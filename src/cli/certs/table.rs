//! Certificates as people read them, and as programs do.

use std::io::{self, Write};

use serde::Serialize;

use crate::types::TimestampMs;

use super::{
    argument::AUTHORITY,
    list::{KeyFile, Listed, Listing, Signer},
    report::{date, days_left, time},
};
use crate::cli::output::{Format, write_json, write_table};

/// What is not there.
const NONE: &str = "-";

/// Prints a listing: a line for each certificate, and then what is to be looked at.
pub(super) fn write(
    listing: &Listing,
    out: &mut impl Write,
    format: Format,
    now: TimestampMs,
) -> io::Result<()> {
    if format == Format::Json {
        return write_json(out, &as_json(listing, now));
    }
    if listing.certificates.is_empty() {
        writeln!(out, "no certificates")?;
    } else {
        let titles = [
            "FILE", "SUBJECT", "IDENTITY", "ISSUER", "EXPIRES", "LEFT", "KEY", "NAMES",
        ];
        let rows: Vec<_> = listing.certificates.iter().map(|one| row(one, now)).collect();
        write_table(out, titles, &rows)?;
    }
    let mut remarks = Vec::new();
    for one in &listing.certificates {
        let file = one.file.display();
        if one.expired {
            remarks.push(format!("EXPIRED: {file} on {}", time(one.certificate.not_after)));
        }
        remarks.extend(
            one.warnings
                .iter()
                .map(|warning| format!("warning: {file}: {warning}")),
        );
    }
    let problems = listing.problems.iter();
    remarks.extend(problems.map(|(file, problem)| format!("{}: {problem}", file.display())));
    for (place, remark) in remarks.iter().enumerate() {
        if place == 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", printable(remark))?;
    }
    Ok(())
}

fn row(one: &Listed, now: TimestampMs) -> [String; 8] {
    let certificate = &one.certificate;
    let left = if one.expired {
        "EXPIRED".to_owned()
    } else {
        days_left(certificate.not_after, now).to_string()
    };
    let issuer = match one.signed_by {
        Some(Signer::Authority) => format!("{AUTHORITY}.pem"),
        Some(Signer::Itself) => "itself".to_owned(),
        None => certificate.issuer.clone(),
    };
    let key = match one.key.as_ref().map(|(_, state)| state) {
        None | Some(KeyFile::Missing) => NONE,
        Some(KeyFile::Belongs) => "ok",
        Some(KeyFile::OfAnother) => "ANOTHER'S",
        Some(KeyFile::Unreadable(_)) => "UNREADABLE",
    };
    let names = certificate.dns.iter().cloned();
    let names = names
        .chain(certificate.ips.iter().map(ToString::to_string))
        .chain(certificate.others.iter().cloned());
    [
        one.file.display().to_string(),
        certificate.subject.clone(),
        certificate
            .identity
            .as_ref()
            .map_or_else(|| NONE.to_owned(), ToString::to_string),
        issuer,
        date(&time(certificate.not_after)).to_owned(),
        left,
        key.to_owned(),
        or_none(names.collect::<Vec<_>>().join(",")),
    ]
    .map(|cell| printable(&cell))
}

fn or_none(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

/// A certificate of anybody's may be listed: what it says must not steer the terminal.
fn printable(text: &str) -> String {
    let is_harmful = |c: char| {
        // Besides control characters those that turn the direction of writing around.
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            printable.extend(c.escape_unicode());
        } else {
            printable.push(c);
        }
    }
    printable
}

#[derive(Serialize)]
struct JsonListing {
    certificates: Vec<JsonCertificate>,
    problems: Vec<JsonProblem>,
}

#[derive(Serialize)]
struct JsonProblem {
    file: String,
    problem: String,
}

#[derive(Serialize)]
struct JsonCertificate {
    file: String,
    subject: String,
    identity: Option<String>,
    kind: Option<&'static str>,
    issuer: String,
    signed_by: Option<&'static str>,
    dns: Vec<String>,
    ip: Vec<std::net::IpAddr>,
    other_names: Vec<String>,
    not_before: String,
    not_after: String,
    days_left: i64,
    expired: bool,
    due: bool,
    key: Option<JsonKey>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct JsonKey {
    file: String,
    state: &'static str,
}

fn as_json(listing: &Listing, now: TimestampMs) -> JsonListing {
    let problems = listing.problems.iter().map(|(file, problem)| JsonProblem {
        file: file.display().to_string(),
        problem: problem.clone(),
    });
    JsonListing {
        certificates: listing
            .certificates
            .iter()
            .map(|one| json_certificate(one, now))
            .collect(),
        problems: problems.collect(),
    }
}

fn json_certificate(one: &Listed, now: TimestampMs) -> JsonCertificate {
    let certificate = &one.certificate;
    let identity = certificate.identity.as_ref();
    let key = one.key.as_ref().map(|(file, state)| JsonKey {
        file: file.display().to_string(),
        state: match state {
            KeyFile::Missing => "missing",
            KeyFile::Belongs => "belongs",
            KeyFile::OfAnother => "of_another",
            KeyFile::Unreadable(_) => "unreadable",
        },
    });
    JsonCertificate {
        file: one.file.display().to_string(),
        subject: certificate.subject.clone(),
        identity: identity.map(ToString::to_string),
        kind: identity.map(|identity| identity.holder.kind()),
        issuer: certificate.issuer.clone(),
        signed_by: one.signed_by.map(|signer| match signer {
            Signer::Authority => "ca",
            Signer::Itself => "itself",
        }),
        dns: certificate.dns.clone(),
        ip: certificate.ips.clone(),
        other_names: certificate.others.clone(),
        not_before: time(certificate.not_before),
        not_after: time(certificate.not_after),
        days_left: days_left(certificate.not_after, now),
        expired: one.expired,
        due: one.due,
        key,
        warnings: one.warnings.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_certificate_steers_the_terminal() {
        assert_eq!(printable("CN=ä b"), "CN=ä b");
        assert_eq!(
            printable("a\x1b[2Jb\nc\u{202e}d"),
            "a\\u{1b}[2Jb\\u{a}c\\u{202e}d"
        );
    }
}
