//! One page of the view, as lines.

use std::cmp::Ordering;

use indicatif::BinaryBytes;

use super::{
    super::{
        cluster::table::{painted_reachable, painted_role},
        output::write_table,
        style::{Style, Tone, width},
    },
    gather::{Node, Sample},
};

/// What is not known.
const UNKNOWN: &str = "-";

/// By what nodes are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    /// The fastest first.
    Rate,
    /// Who lags most first.
    Lag,
}

/// How a page is wanted.
pub(super) struct View<'a> {
    /// No wider than that; `None`: as wide as it is.
    pub(super) columns: Option<usize>,
    /// No higher than that; `None`: as high as it is.
    pub(super) rows: Option<usize>,
    pub(super) sort: Sort,
    pub(super) style: Style,
    /// Why what is shown may be old.
    pub(super) trouble: Option<&'a str>,
}

/// The page.
pub(super) fn lines(sample: &Sample, view: &View<'_>) -> Vec<String> {
    let mut lines = head(sample, view);
    lines.push(String::new());
    lines.extend(table(sample, view));
    let problems = sample.nodes.iter().filter_map(|node| problem(node, view.style));
    let problems: Vec<_> = problems.collect();
    if !problems.is_empty() {
        lines.push(String::new());
        lines.extend(problems);
    }
    // On a terminal alone: a page on paper takes no keys.
    if let Some(rows) = view.rows {
        lines.truncate(rows.saturating_sub(1));
        lines.resize(rows.saturating_sub(1), String::new());
        lines.push("q quits   n r l sort by name, rate, lag".to_owned());
    }
    if let Some(columns) = view.columns {
        for line in &mut lines {
            *line = cut(line, columns);
        }
    }
    lines
}

fn head(sample: &Sample, view: &View<'_>) -> Vec<String> {
    let cluster = &sample.cluster;
    let header = cluster.header.clone().unwrap_or_default();
    let name = view.style.paint(Tone::Title, &cluster.cluster_name);
    let mut lines = vec![
        format!("cluster    {name} {}", header.cluster_id)
            .trim_end()
            .to_owned(),
    ];
    lines.push(match sample.leader() {
        Some(leader) => format!("leader     {}, term {}", leader.server.name, header.term),
        None => format!("leader     {}", view.style.paint(Tone::Bad, "none is known")),
    });
    let furthest = sample
        .nodes
        .iter()
        .max_by_key(|node| node.log.as_ref().map(|log| log.high_watermark));
    let told = sample.leader().filter(|leader| leader.log.is_some()).or(furthest);
    if let Some(log) = told.and_then(|node| node.log.as_ref()) {
        let rate = told.and_then(|node| node.records_per_second);
        lines.push(format!(
            "records    {} readable, {} a second",
            log.high_watermark - log.earliest.min(log.high_watermark),
            rate_text(rate)
        ));
    }
    if !cluster.waiting.is_empty() {
        lines.push(format!("waiting    {}", cluster.waiting));
    }
    if let Some(trouble) = view.trouble {
        lines.push(format!(
            "{}  this page is old: {trouble}",
            view.style.paint(Tone::Bad, "no answer")
        ));
    }
    lines
}

fn table(sample: &Sample, view: &View<'_>) -> Vec<String> {
    let mut nodes: Vec<&Node> = sample.nodes.iter().collect();
    nodes.sort_by(|left, right| match view.sort {
        Sort::Name => Ordering::Equal,
        Sort::Rate => right
            .records_per_second
            .partial_cmp(&left.records_per_second)
            .unwrap_or(Ordering::Equal),
        Sort::Lag => right.server.lag.cmp(&left.server.lag),
    });
    let titles = [
        "NODE",
        "ROLE",
        "TERM",
        "HIGH WATERMARK",
        "RECORDS/S",
        "LAG",
        "APPLIED",
        "BYTES",
        "REACHABLE",
        "DISK",
    ];
    let rows: Vec<_> = nodes.into_iter().map(|node| row(node, view.style)).collect();
    let mut table = Vec::new();
    // Nothing can go wrong in memory.
    drop(write_table(&mut table, titles, &rows));
    String::from_utf8_lossy(&table)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn row(node: &Node, style: Style) -> [String; 10] {
    let server = &node.server;
    let number = |number: Option<u64>| number.map_or(UNKNOWN.to_owned(), |number| number.to_string());
    let log = node.log.as_ref();
    [
        server.name.clone(),
        painted_role(server, style),
        number(server.term),
        number(log.map(|log| log.high_watermark)),
        rate_text(node.records_per_second),
        number(server.lag),
        number(server.applied),
        log.map_or(UNKNOWN.to_owned(), |log| BinaryBytes(log.bytes).to_string()),
        painted_reachable(server, style),
        match log {
            None => UNKNOWN.to_owned(),
            Some(log) if !log.failsafe.is_empty() => style.paint(Tone::Bad, "failsafe"),
            Some(log) if !log.storage_full.is_empty() => style.paint(Tone::Bad, "full"),
            Some(_) => "ok".to_owned(),
        },
    ]
}

fn problem(node: &Node, style: Style) -> Option<String> {
    let log = node.log.as_ref();
    let told = [
        Some(node.server.problem.clone()),
        log.map(|log| log.failsafe.clone()),
        log.filter(|log| !log.storage_full.is_empty())
            .map(|log| format!("its disk is {}", log.storage_full)),
    ];
    let said = told.into_iter().flatten().find(|text| !text.is_empty())?;
    Some(format!("{}: {said}", style.paint(Tone::Bad, &node.server.name)))
}

/// To three digits that mean something, or whole.
fn rate_text(rate: Option<f64>) -> String {
    match rate {
        None => UNKNOWN.to_owned(),
        Some(rate) if rate > 0.0 && rate < 10.0 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

/// As much of the line as fits. What is painted is left whole, or the color would go on behind it.
fn cut(line: &str, columns: usize) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    let mut cut = String::new();
    let (mut taken, mut inside) = (0, false);
    for char in line.chars() {
        let is_color = inside || char == '\x1b';
        inside = is_color && char != 'm';
        if is_color {
            cut.push(char);
        } else if taken < columns {
            cut.push(char);
            taken += 1;
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::{
        super::gather::tests::{node, sample},
        *,
    };
    use crate::proto::annals::v1::Role;

    fn view(sort: Sort) -> View<'static> {
        View {
            columns: None,
            rows: None,
            sort,
            style: Style::plain(),
            trouble: None,
        }
    }

    fn three() -> Sample {
        let mut nodes = vec![
            node("a", 1, Role::Follower, 90),
            node("b", 2, Role::Leader, 100),
            node("c", 3, Role::Follower, 0),
        ];
        nodes[0].records_per_second = Some(2.5);
        nodes[1].records_per_second = Some(1234.6);
        nodes[2].log = None;
        nodes[2].server.answered = false;
        nodes[2].server.problem = "it does not answer".to_owned();
        sample(nodes)
    }

    #[test]
    fn a_page_is_one_that_a_person_can_read() {
        let wanted = "\
cluster    orders
leader     b, term 4
records    100 readable, 1235 a second

NODE  ROLE      TERM  HIGH WATERMARK  RECORDS/S  LAG  APPLIED  BYTES     REACHABLE  DISK
a     follower  -     90              2.5        1    -        4.00 KiB  yes        ok
b     leader    -     100             1235       2    -        4.00 KiB  yes        ok
c     follower  -     -               -          3    -        -         by gossip  -

c: it does not answer";
        assert_eq!(lines(&three(), &view(Sort::Name)).join("\n"), wanted);
    }

    /// It said `ok` of a disk on which nothing more was written.
    #[test]
    fn a_disk_that_is_full_is_not_ok() {
        let mut full = sample(vec![node("a", 1, Role::Leader, 90)]);
        if let Some(log) = &mut full.nodes[0].log {
            log.storage_full = "nearly full: 1 byte free".to_owned();
        }
        let page = lines(&full, &view(Sort::Name));
        assert!(page[5].ends_with("  full"), "{page:?}");
        assert_eq!(page[7], "a: its disk is nearly full: 1 byte free");
    }

    #[test]
    fn nodes_are_sorted_as_is_wanted() {
        let order = |sort| -> Vec<String> {
            let lines = lines(&three(), &view(sort));
            lines[5..8].iter().map(|line| line[..1].to_owned()).collect()
        };
        assert_eq!(order(Sort::Name), ["a", "b", "c"]);
        assert_eq!(order(Sort::Rate), ["b", "a", "c"]);
        assert_eq!(order(Sort::Lag), ["c", "b", "a"]);
    }

    #[test]
    fn a_page_fits_the_terminal_however_small_it_is() {
        for rows in [1, 2, 5, 40] {
            for columns in [1, 20, 200] {
                let fitted = View {
                    columns: Some(columns),
                    rows: Some(rows),
                    ..view(Sort::Name)
                };
                let lines = lines(&three(), &fitted);
                assert_eq!(lines.len(), rows);
                assert!(lines.iter().all(|line| width(line) <= columns), "{columns}");
            }
        }
        assert_eq!(cut("\x1b[31mabc\x1b[0m", 2), "\x1b[31mab\x1b[0m");
    }
}
