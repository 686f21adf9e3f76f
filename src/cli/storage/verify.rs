//! `annals storage verify`: is all of it as it was written?

use std::io::{self, Write};

use indicatif::BinaryBytes;
use serde::Serialize;

use crate::storage::{
    data_dir::IdleDataDir,
    offline::{Finding, Findings, LogFiles, Verified, Weight, verify_node},
};

use super::{
    Look, StorageFailure,
    place::{data_dirs, disk},
};
use crate::cli::{
    error::CliError,
    output::{Format, write_json},
    progress::Progress,
    style::{Style, Tone},
};

pub(super) fn run(look: &Look) -> Result<(), CliError> {
    let nodes = data_dirs(&look.dir)?;
    let disk = disk();
    // What is not there has no bytes; what cannot be read is told when it is read.
    let bytes = |node: &IdleDataDir| {
        LogFiles::list(&disk, &node.log_path())
            .and_then(|files| files.bytes(&disk))
            .unwrap_or(0)
    };
    let mut progress = Progress::of_input(Some(nodes.iter().map(bytes).sum()));
    let mut verified = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let found = verify_node(&disk, node, &mut |bytes| progress.add(bytes));
        verified.push((node, found.map_err(StorageFailure::Unreadable)?));
    }
    drop(progress);
    let mut out = io::stdout().lock();
    match look.output {
        Format::Text => write_text(&mut out, &verified, Style::of_stdout()),
        Format::Json => write_json(&mut out, &Report::new(&verified)),
    }
    .map_err(CliError::from_write)?;
    match (count(&verified, Weight::Fault), count(&verified, Weight::Mends)) {
        (0, 0) => Ok(()),
        (0, count) => Err(StorageFailure::Mends { count }.into()),
        (count, _) => Err(StorageFailure::Faults { count }.into()),
    }
}

/// How many findings weigh so. Those that are only counted weigh as the worst of their node.
fn count(verified: &[(&IdleDataDir, Verified)], weight: Weight) -> u64 {
    let of_node = |(_, verified): &(&IdleDataDir, Verified)| count_of(&verified.findings, weight);
    verified.iter().map(of_node).sum()
}

/// The same of one node.
pub(super) fn count_of(findings: &Findings, weight: Weight) -> u64 {
    let kept = findings.iter().filter(|finding| finding.weight == weight).count() as u64;
    let untold = if findings.worst() == Some(weight) {
        findings.untold()
    } else {
        0
    };
    kept + untold
}

pub(super) fn weight_word(weight: Weight) -> &'static str {
    match weight {
        Weight::Note => "note",
        Weight::Mends => "mends",
        Weight::Fault => "fault",
    }
}

fn write_text(out: &mut impl Write, verified: &[(&IdleDataDir, Verified)], style: Style) -> io::Result<()> {
    for (number, (node, verified)) in verified.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "data   {}", node.path().display())?;
        if let Ok(Some(identity)) = node.identity() {
            writeln!(out, "node   {}, id {}", identity.node_name, identity.node_id)?;
        }
        let plural = if verified.segments == 1 { "" } else { "s" };
        write!(
            out,
            "read   {} segment{plural}, {} bytes ({}): {} entries",
            verified.segments,
            verified.bytes,
            BinaryBytes(verified.bytes),
            verified.entries
        )?;
        match (verified.earliest, verified.tail) {
            (Some(earliest), Some(tail)) => writeln!(out, ", offsets {earliest}..{tail}")?,
            _ => writeln!(out)?,
        }
        for finding in verified.findings.iter() {
            write_finding(out, finding, style)?;
        }
        if verified.findings.untold() > 0 {
            writeln!(out, "\nand {} findings more", verified.findings.untold())?;
        }
        let result = match verified.findings.worst() {
            None | Some(Weight::Note) => style.paint(Tone::Good, "whole"),
            Some(Weight::Mends) => style.paint(Tone::Warn, "whole, once the node has started"),
            Some(Weight::Fault) => style.paint(Tone::Bad, "not whole"),
        };
        let gap = if verified.findings.count() > 0 { "\n" } else { "" };
        writeln!(out, "{gap}result {result}")?;
    }
    Ok(())
}

pub(super) fn write_finding(out: &mut impl Write, finding: &Finding, style: Style) -> io::Result<()> {
    let word = format!("{:6}", weight_word(finding.weight));
    let word = match finding.weight {
        Weight::Note => word,
        Weight::Mends => style.paint(Tone::Warn, &word),
        Weight::Fault => style.paint(Tone::Bad, &word),
    };
    write!(out, "\n{word} {}", finding.path.display())?;
    if let Some(position) = finding.position {
        write!(out, ", position {position}")?;
    }
    writeln!(out, "\n       {}\n       {}", finding.what, finding.meaning)
}

/// For programs.
#[derive(Serialize)]
struct Report<'a> {
    /// `whole`, `mends` or `faults`.
    verdict: &'static str,
    nodes: Vec<NodeReport<'a>>,
}

#[derive(Serialize)]
struct NodeReport<'a> {
    data_dir: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    segments: u64,
    bytes: u64,
    entries: u64,
    earliest: Option<u64>,
    tail: Option<u64>,
    findings: Vec<JsonFinding<'a>>,
    /// Findings that are only counted.
    untold: u64,
}

#[derive(Serialize)]
pub(super) struct JsonFinding<'a> {
    weight: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    what: &'a str,
    meaning: &'a str,
}

impl<'a> From<&'a Finding> for JsonFinding<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            weight: weight_word(finding.weight),
            path: finding.path.display().to_string(),
            position: finding.position.map(|position| position.get()),
            what: &finding.what,
            meaning: finding.meaning,
        }
    }
}

impl<'a> Report<'a> {
    fn new(verified: &'a [(&IdleDataDir, Verified)]) -> Self {
        let worst = verified
            .iter()
            .filter_map(|(_, verified)| verified.findings.worst())
            .max();
        let node = |(node, verified): &'a (&IdleDataDir, Verified)| NodeReport {
            data_dir: node.path().display().to_string(),
            node: node
                .identity()
                .ok()
                .flatten()
                .map(|identity| identity.node_name.as_str()),
            segments: verified.segments,
            bytes: verified.bytes,
            entries: verified.entries,
            earliest: verified.earliest.map(|offset| offset.get()),
            tail: verified.tail.map(|offset| offset.get()),
            findings: verified.findings.iter().map(JsonFinding::from).collect(),
            untold: verified.findings.untold(),
        };
        Self {
            verdict: match worst {
                None | Some(Weight::Note) => "whole",
                Some(Weight::Mends) => "mends",
                Some(Weight::Fault) => "faults",
            },
            nodes: verified.iter().map(node).collect(),
        }
    }
}
