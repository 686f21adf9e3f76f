//! `annals storage inspect`: what is there?

use std::io::{self, Write};

use indicatif::BinaryBytes;
use prost::Message;
use serde::Serialize;

use crate::{
    proto::peer,
    storage::{
        StoredMembership,
        data_dir::{DataDirError, IdleDataDir},
        offline::{LogSummary, SegmentState, SegmentSummary, VoteCopies, Weight, refuse_gone, summarize},
    },
    types::Offset,
};

use super::{
    Look, StorageFailure,
    place::{data_dirs, disk},
    verify::{JsonFinding, count_of, write_finding},
};
use crate::cli::{
    error::CliError,
    output::{Format, time_text, write_json, write_table},
    style::Style,
};

/// What is not known.
const UNKNOWN: &str = "-";

pub(super) fn run(look: &Look) -> Result<(), CliError> {
    let nodes = data_dirs(&look.dir)?;
    let mut looked = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let log = match summarize(&disk(), &node.log_path()) {
            Ok(log) => Some(log),
            // A node that has never started its log has none.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !node.log_path().exists() => None,
            Err(error) => return Err(StorageFailure::Frames(error.into()).into()),
        };
        looked.push((node, log));
    }
    let mut out = io::stdout().lock();
    match look.output {
        Format::Text => write_text(&mut out, &looked),
        Format::Json => write_json(
            &mut out,
            &Report {
                nodes: looked.iter().map(JsonNode::new).collect(),
            },
        ),
    }
    .map_err(CliError::from_write)?;
    for (node, _) in looked.iter().filter(|(_, log)| log.is_none()) {
        refuse_gone(&disk(), node).map_err(StorageFailure::from)?;
    }
    match looked.iter().map(faults).sum() {
        0 => Ok(()),
        count => Err(StorageFailure::Faults { count }.into()),
    }
}

type Looked<'a> = (&'a IdleDataDir, Option<LogSummary>);

/// How many faults were printed.
fn faults((node, log): &Looked<'_>) -> u64 {
    let is_nobodys = match node.identity() {
        Ok(identity) => identity.is_none() && log.is_some(),
        Err(_) => true,
    };
    let found = log
        .as_ref()
        .map_or(0, |log| count_of(&log.findings, Weight::Fault));
    u64::from(is_nobodys) + found
}

/// Whether there was a log once.
fn is_gone(node: &IdleDataDir) -> bool {
    matches!(refuse_gone(&disk(), node), Err(DataDirError::LogGone { .. }))
}

fn write_text(out: &mut impl Write, looked: &[Looked<'_>]) -> io::Result<()> {
    for (number, (node, log)) in looked.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "data       {}", node.path().display())?;
        match node.identity() {
            Ok(Some(identity)) => {
                writeln!(out, "node       {}, id {}", identity.node_name, identity.node_id)?;
                let cluster = identity
                    .cluster_id
                    .map_or("none yet".to_owned(), |id| id.to_string());
                writeln!(out, "cluster    {cluster}")?;
            }
            Ok(None) => writeln!(out, "node       unknown: there is no identity")?,
            Err(error) => writeln!(out, "node       unknown: {}", crate::error::causes(error))?,
        }
        match log {
            Some(log) => write_log(out, log)?,
            None if is_gone(node) => writeln!(out, "log        gone")?,
            None => writeln!(out, "log        none yet")?,
        }
    }
    Ok(())
}

fn write_log(out: &mut impl Write, log: &LogSummary) -> io::Result<()> {
    let bytes: u64 = log.segments.iter().map(|segment| segment.bytes).sum();
    writeln!(out, "log        default")?;
    match (log.earliest(), &log.end) {
        (Some(earliest), Some(end)) => {
            writeln!(out, "offsets    {earliest}..{}", end.next_offset())?;
            if let Some(first) = log.first_offset().filter(|first| *first < earliest) {
                writeln!(
                    out,
                    "trimmed    {first}..{earliest} lie here yet, until their segments go; no node reads them"
                )?;
            }
            writeln!(
                out,
                "last       entry {} of term {}",
                end.last_log_index(),
                end.last_term()
            )?;
        }
        _ => writeln!(out, "offsets    unknown: `annals storage verify` says why")?,
    }
    writeln!(out, "bytes      {bytes} ({})", BinaryBytes(bytes))?;
    if log.torn_bytes > 0 {
        writeln!(
            out,
            "torn       {} bytes behind that, which the next start cuts off",
            log.torn_bytes
        )?;
    }
    writeln!(out, "vote       {}", vote(&log.vote))?;
    let committed = match &log.committed {
        Some(note) => format!("entry {} of term {}, and perhaps more", note.log_index, note.term),
        None => "nothing is noted".to_owned(),
    };
    writeln!(out, "committed  {committed}")?;
    if let Some(end) = &log.end {
        writeln!(out, "producers  {}", end.producers())?;
        let members = end.membership().map(members).unwrap_or_default();
        for (number, member) in members.iter().enumerate() {
            let title = if number == 0 { "members" } else { "" };
            let role = if member.voter { "voter" } else { "learner" };
            writeln!(
                out,
                "{title:9}  {} at {}, {role}, id {}",
                member.node, member.address, member.id
            )?;
        }
    }
    write_segments(out, &log.segments, log.trimmed_below().unwrap_or(Offset::ZERO))?;
    for finding in log.findings.iter() {
        write_finding(out, finding, Style::of_stdout())?;
    }
    Ok(())
}

fn write_segments(
    out: &mut impl Write,
    segments: &[SegmentSummary],
    trimmed_below: Offset,
) -> io::Result<()> {
    if segments.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let number = |number: Option<u64>| number.map_or(UNKNOWN.to_owned(), |number| number.to_string());
    let rows = segments.iter().map(|segment| {
        [
            segment.first.to_string(),
            number(segment.last.map(|last| last.get())),
            number(segment.first_offset.map(|offset| offset.get())),
            number(segment.next_offset.map(|offset| offset.get())),
            segment.bytes.to_string(),
            segment
                .created
                .map_or(UNKNOWN.to_owned(), |created| time_text(created.0)),
            match (state_word(segment.state), segment.is_below(trimmed_below)) {
                (state, true) => format!("{state}, trimmed"),
                (state, false) => state.to_owned(),
            },
        ]
    });
    let titles = [
        "FIRST ENTRY",
        "LAST ENTRY",
        "FIRST OFFSET",
        "NEXT OFFSET",
        "BYTES",
        "CREATED",
        "STATE",
    ];
    write_table(out, titles, &rows.collect::<Vec<_>>())
}

fn vote(copies: &VoteCopies) -> String {
    match copies {
        VoteCopies::None => "none".to_owned(),
        VoteCopies::Unknown => "unknown: both copies are damaged".to_owned(),
        VoteCopies::Version(found) => format!("unknown: format version {found}"),
        VoteCopies::Same(vote) | VoteCopies::OneCounts(vote) => match vote.voted_for {
            Some(node) => format!("term {}, for node {node}", vote.term),
            None => format!("term {}, for nobody", vote.term),
        },
    }
}

fn state_word(state: SegmentState) -> &'static str {
    match state {
        SegmentState::Sealed => "sealed",
        SegmentState::Active => "active",
        SegmentState::Damaged => "damaged",
        SegmentState::Missing => "missing",
    }
}

/// Who belongs to the cluster, as the log says. What is no membership has nobody.
fn members(stored: &StoredMembership) -> Vec<JsonMember> {
    let Ok(membership) = peer::Membership::decode(stored.bytes.clone()) else {
        return Vec::new();
    };
    let votes = |id: &u64| membership.voter_sets.iter().any(|set| set.node_ids.contains(id));
    let member = |member: &peer::Member| JsonMember {
        node: member.name.clone(),
        id: member.node_id.to_string(),
        address: member.address.clone(),
        voter: votes(&member.node_id),
    };
    membership.members.iter().map(member).collect()
}

/// For programs.
#[derive(Serialize)]
struct Report<'a> {
    nodes: Vec<JsonNode<'a>>,
}

#[derive(Serialize)]
struct JsonNode<'a> {
    data_dir: String,
    node: Option<&'a str>,
    /// As text: it is larger than what a JSON number keeps in most programs.
    node_id: Option<String>,
    cluster_id: Option<String>,
    begins: Option<u64>,
    earliest: Option<u64>,
    trimmed_below: Option<u64>,
    tail: Option<u64>,
    last_log_index: Option<u64>,
    last_term: Option<u64>,
    torn_bytes: u64,
    vote: Option<JsonVote>,
    committed: Option<u64>,
    producers: Option<usize>,
    members: Vec<JsonMember>,
    segments: Vec<JsonSegment>,
    findings: Vec<JsonFinding<'a>>,
}

#[derive(Serialize)]
struct JsonVote {
    term: u64,
    voted_for: Option<String>,
}

#[derive(Serialize)]
struct JsonMember {
    node: String,
    id: String,
    address: String,
    voter: bool,
}

#[derive(Serialize)]
struct JsonSegment {
    first_log_index: u64,
    last_log_index: Option<u64>,
    first_offset: Option<u64>,
    next_offset: Option<u64>,
    bytes: u64,
    created_ms: Option<u64>,
    state: &'static str,
    /// All of its records are below `trimmed_below`.
    trimmed: bool,
}

impl<'a> JsonNode<'a> {
    fn new((node, log): &'a Looked<'a>) -> Self {
        let identity = node.identity().ok().flatten();
        let log = log.as_ref();
        let end = log.and_then(|log| log.end.as_ref());
        let segments = log.map(|log| log.segments.as_slice()).unwrap_or_default();
        let trimmed_below = log.and_then(LogSummary::trimmed_below).unwrap_or(Offset::ZERO);
        Self {
            data_dir: node.path().display().to_string(),
            node: identity.map(|identity| identity.node_name.as_str()),
            node_id: identity.map(|identity| identity.node_id.to_string()),
            cluster_id: identity.and_then(|identity| Some(identity.cluster_id?.to_string())),
            begins: log.and_then(|log| Some(log.begins?.get())),
            earliest: log.and_then(LogSummary::earliest).map(Offset::get),
            trimmed_below: log.and_then(LogSummary::trimmed_below).map(Offset::get),
            tail: end.map(|end| end.next_offset().get()),
            last_log_index: end.map(|end| end.last_log_index().get()),
            last_term: end.map(|end| end.last_term().get()),
            torn_bytes: log.map_or(0, |log| log.torn_bytes),
            vote: log.and_then(|log| log.vote.vote()).map(|vote| JsonVote {
                term: vote.term.get(),
                voted_for: vote.voted_for.map(|node| node.to_string()),
            }),
            committed: log.and_then(|log| Some(log.committed.as_ref()?.log_index.get())),
            producers: end.map(crate::storage::Checkpoint::producers),
            members: end
                .and_then(|end| end.membership().map(members))
                .unwrap_or_default(),
            segments: segments
                .iter()
                .map(|segment| JsonSegment::new(segment, trimmed_below))
                .collect(),
            findings: log
                .map(|log| log.findings.iter().map(JsonFinding::from).collect())
                .unwrap_or_default(),
        }
    }
}

impl JsonSegment {
    fn new(segment: &SegmentSummary, trimmed_below: Offset) -> Self {
        Self {
            first_log_index: segment.first.get(),
            last_log_index: segment.last.map(|last| last.get()),
            first_offset: segment.first_offset.map(|offset| offset.get()),
            next_offset: segment.next_offset.map(|offset| offset.get()),
            bytes: segment.bytes,
            created_ms: segment.created.map(|created| created.0),
            state: state_word(segment.state),
            trimmed: segment.is_below(trimmed_below),
        }
    }
}
