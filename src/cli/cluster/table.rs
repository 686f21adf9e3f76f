//! The cluster as people read it, and as programs do.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use crate::{
    net::cluster_json::{JsonCluster, JsonServer, role},
    proto::annals::v1::{GetClusterResponse, Presence, Role, Server},
};

use super::super::{
    output::{write_json, write_table},
    style::{Style, Tone},
};

/// What is not known.
const UNKNOWN: &str = "-";

/// The cluster in a few words, and a line for each node.
pub(super) fn write_status(out: &mut impl Write, cluster: &GetClusterResponse) -> io::Result<()> {
    write_styled_status(out, cluster, Style::of_stdout())
}

fn write_styled_status(out: &mut impl Write, cluster: &GetClusterResponse, style: Style) -> io::Result<()> {
    let header = cluster.header.clone().unwrap_or_default();
    if let Some(removed) = removed(cluster) {
        writeln!(out, "removed  {removed}")?;
    }
    if !cluster.waiting.is_empty() {
        writeln!(
            out,
            "cluster  {}, of which this node is not one yet",
            cluster.cluster_name
        )?;
        writeln!(out, "waiting  {}", cluster.waiting)?;
    } else {
        let leader = cluster
            .servers
            .iter()
            .find(|server| server.role() == Role::Leader);
        let leader = leader.map_or_else(
            || "none is known".to_owned(),
            |leader| format!("{} at {}", leader.name, leader.address),
        );
        let voters = cluster.servers.iter().filter(|server| server.voter).count();
        let changing = if cluster.changing {
            "; it is being changed"
        } else {
            ""
        };
        writeln!(out, "cluster  {} {}", cluster.cluster_name, header.cluster_id)?;
        writeln!(out, "leader   {leader}, term {}", header.term)?;
        writeln!(
            out,
            "voters   {voters}, of which {} are a majority{changing}",
            voters / 2 + 1
        )?;
    }
    if !cluster.servers.is_empty() {
        writeln!(out)?;
        let titles = [
            "NODE",
            "ADDRESS",
            "ROLE",
            "TERM",
            "APPLIED",
            "LAG",
            "REACHABLE",
            "LAST CONTACT",
            "VERSION",
        ];
        let rows = cluster.servers.iter().map(|server| {
            [
                server.name.clone(),
                or_unknown(&server.address),
                painted_role(server, style),
                number(server.term),
                number(server.applied),
                number(server.lag),
                painted_reachable(server, style),
                contact(server),
                or_unknown(&server.version),
            ]
        });
        write_table(out, titles, &rows.collect::<Vec<_>>())?;
    }
    for server in cluster.servers.iter().filter(|server| !server.problem.is_empty()) {
        let what = match (server.role(), server.answered) {
            (Role::Outsider, _) => "is not taken in",
            (_, true) => "does not serve",
            (_, false) => "does not answer",
        };
        let said = style.paint(Tone::Bad, what);
        writeln!(out, "\n{} {said}: {}", server.name, server.problem)?;
    }
    Ok(())
}

/// A line for each node, with its id.
pub(super) fn write_servers(out: &mut impl Write, cluster: &GetClusterResponse) -> io::Result<()> {
    let rows = cluster.servers.iter().map(|server| {
        [
            server.name.clone(),
            server.node_id.to_string(),
            or_unknown(&server.address),
            role(server).to_owned(),
        ]
    });
    write_table(out, ["NODE", "ID", "ADDRESS", "ROLE"], &rows.collect::<Vec<_>>())
}

/// The whole, for programs.
pub(super) fn write_status_json(out: &mut impl Write, cluster: &GetClusterResponse) -> io::Result<()> {
    write_json(out, &JsonCluster::of(cluster))
}

/// The nodes, for programs.
pub(super) fn write_servers_json(out: &mut impl Write, cluster: &GetClusterResponse) -> io::Result<()> {
    #[derive(Serialize)]
    struct Nodes<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        removed_at: Option<u64>,
        nodes: Vec<JsonServer<'a>>,
    }
    let nodes = cluster.servers.iter().map(JsonServer::from).collect();
    let removed_at = cluster.removed_at;
    write_json(out, &Nodes { removed_at, nodes })
}

/// That the node which answered was removed, so that its word about the others is an old one.
pub(super) fn removed(cluster: &GetClusterResponse) -> Option<String> {
    let removed_at = cluster.removed_at?;
    Some(format!(
        "this node was removed from the cluster, at entry {removed_at} of the log: who belongs is shown as of then; ask another node. \
         To let this one join anew, stop it, wipe its data directory, and start it"
    ))
}

fn reachable(server: &Server) -> &'static str {
    let by_gossip = server.presence() == Presence::Reachable;
    match (server.answered, by_gossip) {
        (true, _) => "yes",
        (false, true) if server.role() == Role::Outsider => "yes",
        (false, true) => "by gossip",
        (false, false) => "no",
    }
}

/// The leader stands out.
pub(in crate::cli) fn painted_role(server: &Server, style: Style) -> String {
    match server.role() {
        Role::Leader => style.paint(Tone::Good, role(server)),
        _ => role(server).to_owned(),
    }
}

/// So does who is not there.
pub(in crate::cli) fn painted_reachable(server: &Server, style: Style) -> String {
    match reachable(server) {
        "no" => style.paint(Tone::Bad, "no"),
        said => said.to_owned(),
    }
}

fn contact(server: &Server) -> String {
    server.last_contact_ms.map_or_else(
        || UNKNOWN.to_owned(),
        |ms| {
            // Milliseconds of minutes ago are of no use to anybody.
            let shown = if ms < 10_000 { ms } else { ms - ms % 1000 };
            format!("{} ago", humantime::format_duration(Duration::from_millis(shown)))
        },
    )
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { UNKNOWN } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::annals::v1::ResponseHeader;

    fn server(name: &str, role: Role) -> Server {
        Server {
            node_id: 7,
            name: name.to_owned(),
            address: "127.0.0.1:8400".to_owned(),
            role: role.into(),
            voter: matches!(role, Role::Leader | Role::Follower),
            presence: Presence::Reachable.into(),
            answered: true,
            term: Some(4),
            applied: Some(1234),
            matched: Some(1234),
            lag: Some(0),
            last_contact_ms: (role != Role::Leader).then_some(61_234),
            version: "0.1.0".to_owned(),
            problem: String::new(),
        }
    }

    fn cluster(servers: Vec<Server>) -> GetClusterResponse {
        GetClusterResponse {
            header: Some(ResponseHeader {
                cluster_id: "c0ffee".to_owned(),
                term: 4,
                ..ResponseHeader::default()
            }),
            cluster_name: "annals".to_owned(),
            servers,
            ..GetClusterResponse::default()
        }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).expect("memory can be written");
        String::from_utf8(out).expect("it is text")
    }

    fn plain_status(out: &mut Vec<u8>, cluster: &GetClusterResponse) -> io::Result<()> {
        write_styled_status(out, cluster, Style::plain())
    }

    #[test]
    fn a_cluster_is_a_page_a_person_can_read() {
        let gone = Server {
            presence: Presence::Unreachable.into(),
            answered: false,
            term: None,
            applied: None,
            lag: Some(34),
            ..server("node-2", Role::Follower)
        };
        let fenced = Server {
            problem: "it was removed".to_owned(),
            ..server("node-10", Role::Learner)
        };
        let outsider = Server {
            answered: false,
            term: None,
            applied: None,
            lag: None,
            last_contact_ms: None,
            problem: "no TLS".to_owned(),
            ..server("node-11", Role::Outsider)
        };
        let cluster = cluster(vec![
            server("node-0", Role::Leader),
            server("node-1", Role::Follower),
            gone,
            fenced,
            outsider,
        ]);
        let wanted = "\
cluster  annals c0ffee
leader   node-0 at 127.0.0.1:8400, term 4
voters   3, of which 2 are a majority

NODE     ADDRESS         ROLE      TERM  APPLIED  LAG  REACHABLE  LAST CONTACT  VERSION
node-0   127.0.0.1:8400  leader    4     1234     0    yes        -             0.1.0
node-1   127.0.0.1:8400  follower  4     1234     0    yes        1m 1s ago     0.1.0
node-2   127.0.0.1:8400  follower  -     -        34   no         1m 1s ago     0.1.0
node-10  127.0.0.1:8400  learner   4     1234     0    yes        1m 1s ago     0.1.0
node-11  127.0.0.1:8400  outsider  -     -        -    yes        -             0.1.0

node-10 does not serve: it was removed

node-11 is not taken in: no TLS
";
        assert_eq!(written(|out| plain_status(out, &cluster)), wanted);
    }

    #[test]
    fn a_node_without_a_cluster_says_for_what_it_waits() {
        let waiting = GetClusterResponse {
            waiting: "waiting for node-1, not seen yet".to_owned(),
            ..cluster(Vec::new())
        };
        let wanted = "\
cluster  annals, of which this node is not one yet
waiting  waiting for node-1, not seen yet
";
        assert_eq!(written(|out| plain_status(out, &waiting)), wanted);
    }

    #[test]
    fn a_removed_node_says_first_that_what_it_shows_is_old() {
        let removed = GetClusterResponse {
            removed_at: Some(12),
            ..cluster(vec![server("node-0", Role::Leader)])
        };
        let text = written(|out| plain_status(out, &removed));
        assert!(
            text.starts_with(
                "removed  this node was removed from the cluster, at entry 12 of the log: who belongs is shown as of then"
            ),
            "{text}"
        );
        for json in [
            written(|out| write_status_json(out, &removed)),
            written(|out| write_servers_json(out, &removed)),
        ] {
            assert!(json.contains(r#""removed_at":12,"#), "{json}");
        }
    }

    #[test]
    fn programs_get_every_fact_by_its_name() {
        let cluster = cluster(vec![server("node-0", Role::Leader)]);
        let wanted = concat!(
            r#"{"cluster":"annals","cluster_id":"c0ffee","term":4,"leader":"node-0","leader_address":null,"changing":false,"#,
            r#""nodes":[{"node":"node-0","id":"7","address":"127.0.0.1:8400","role":"leader","voter":true,"term":4,"#,
            r#""applied":1234,"matched":1234,"lag":0,"reachable":true,"answered":true,"last_contact_ms":null,"#,
            r#""version":"0.1.0"}]}"#,
            "\n"
        );
        assert_eq!(written(|out| write_status_json(out, &cluster)), wanted);
    }
}
