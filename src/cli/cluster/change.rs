//! What came of a change of the cluster, for people and for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    net::cluster_json::role,
    proto::annals::v1::{
        AddServerResponse, LeaveResponse, RemoveServerResponse, ResponseHeader, Role, Server,
        TransferLeaderResponse,
    },
};

use super::super::output::write_json;

/// What a node is that belongs to the cluster no more.
const REMOVED: &str = "removed";
/// What to do with such a node.
const WIPE: &str = "stop it, and wipe its data directory before it is started again";

/// A change that was made, or that was not needed.
#[derive(Debug)]
pub(super) struct Change {
    verb: &'static str,
    changed: bool,
    node: Server,
    was: &'static str,
    is: &'static str,
    header: ResponseHeader,
    /// Who led before, where that is what was changed.
    led_before: Option<Server>,
    text: String,
}

impl Change {
    /// Of `annals cluster add`.
    pub(super) fn added(response: AddServerResponse, learner: bool) -> Self {
        let node = response.server.unwrap_or_default();
        let before = response.before.unwrap_or_default();
        let does = match (response.unchanged, node.voter) {
            (false, true) => "votes",
            (false, false) => "receives the log",
            (true, true) if learner => "is a voter already; nothing was changed",
            (true, true) => "votes already; nothing was changed",
            (true, false) => "receives the log already; nothing was changed",
        };
        Self {
            verb: "add",
            changed: !response.unchanged,
            was: role(&before),
            is: role(&node),
            header: response.header.unwrap_or_default(),
            led_before: None,
            text: format!("{} {does}", named(&node)),
            node,
        }
    }

    /// Of `annals cluster remove`.
    pub(super) fn removed(response: RemoveServerResponse) -> Self {
        let node = response.server.unwrap_or_default();
        Self {
            verb: "remove",
            changed: true,
            was: role(&node),
            is: REMOVED,
            header: response.header.unwrap_or_default(),
            led_before: None,
            text: format!("{} is removed; {WIPE}", named(&node)),
            node,
        }
    }

    /// Of `annals cluster transfer-leader`.
    pub(super) fn transferred(response: TransferLeaderResponse) -> Self {
        let node = response.leader.unwrap_or_default();
        let (does, was) = match response.unchanged {
            true => ("leads already; nothing was changed", Role::Leader),
            false => ("leads", Role::Follower),
        };
        let of_role = |role: Role| Server {
            role: role.into(),
            ..Server::default()
        };
        Self {
            verb: "transfer-leader",
            changed: !response.unchanged,
            was: role(&of_role(was)),
            is: role(&of_role(Role::Leader)),
            header: ResponseHeader {
                leader_id: node.node_id,
                ..response.header.unwrap_or_default()
            },
            led_before: response.before,
            text: format!("{} {does}", named(&node)),
            node,
        }
    }

    /// Of `annals cluster leave`.
    pub(super) fn left(response: LeaveResponse) -> Self {
        let node = response.server.unwrap_or_default();
        let (does, was) = match response.unchanged {
            true => (
                "was removed from its cluster already; nothing was changed",
                REMOVED,
            ),
            false => ("has left", role(&node)),
        };
        Self {
            verb: "leave",
            changed: !response.unchanged,
            was,
            is: REMOVED,
            header: response.header.unwrap_or_default(),
            led_before: None,
            text: format!("{} {does}; {WIPE}", named(&node)),
            node,
        }
    }

    /// In a line, for people.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.text)
    }

    /// The whole, for programs.
    pub(super) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let known = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let id = |id: u64| (id != 0).then(|| id.to_string());
        let led_before = self.led_before.as_ref();
        write_json(
            out,
            &JsonChange {
                change: self.verb,
                changed: self.changed,
                node: &self.node.name,
                id: self.node.node_id.to_string(),
                address: known(&self.node.address),
                was: self.was,
                is: self.is,
                cluster_id: known(&self.header.cluster_id),
                term: self.header.term,
                leader_id: id(self.header.leader_id),
                led_before: led_before.and_then(|before| known(&before.name)),
                led_before_id: led_before.and_then(|before| id(before.node_id)),
            },
        )
    }
}

/// All keys are always there; what is not known is null.
#[derive(Serialize)]
struct JsonChange<'a> {
    change: &'static str,
    changed: bool,
    node: &'a str,
    /// As text: it is larger than what a JSON number keeps in most programs.
    id: String,
    address: Option<String>,
    was: &'static str,
    is: &'static str,
    cluster_id: Option<String>,
    term: u64,
    leader_id: Option<String>,
    led_before: Option<String>,
    led_before_id: Option<String>,
}

fn named(node: &Server) -> String {
    format!("{} ({})", node.name, node.node_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, node_id: u64, role: Role) -> Option<Server> {
        Some(Server {
            node_id,
            name: name.to_owned(),
            address: "127.0.0.1:8400".to_owned(),
            role: role.into(),
            voter: matches!(role, Role::Leader | Role::Follower),
            ..Server::default()
        })
    }

    fn header() -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: "c0ffee".to_owned(),
            node_id: 1,
            leader_id: 1,
            term: 4,
            high_watermark: 9,
        })
    }

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).expect("memory can be written");
        String::from_utf8(out).expect("it is text")
    }

    fn text(change: &Change) -> String {
        written(|out| change.write(out))
    }

    fn added(before: Role, now: Role, unchanged: bool, learner: bool) -> Change {
        let response = AddServerResponse {
            header: header(),
            server: server("node-1", 2, now),
            before: server("node-1", 2, before),
            unchanged,
        };
        Change::added(response, learner)
    }

    #[test]
    fn who_is_added_hears_what_it_is_now_and_whether_that_is_new() {
        use Role::{Follower, Learner, Outsider};
        let table = [
            (Outsider, Follower, false, false, "votes"),
            (Learner, Follower, false, false, "votes"),
            (Outsider, Learner, false, true, "receives the log"),
            (
                Follower,
                Follower,
                true,
                false,
                "votes already; nothing was changed",
            ),
            (
                Follower,
                Follower,
                true,
                true,
                "is a voter already; nothing was changed",
            ),
            (
                Learner,
                Learner,
                true,
                true,
                "receives the log already; nothing was changed",
            ),
        ];
        for (before, now, unchanged, learner, wanted) in table {
            let change = added(before, now, unchanged, learner);
            assert_eq!(text(&change), format!("node-1 (2) {wanted}\n"));
            assert_eq!(change.changed, !unchanged);
        }
    }

    #[test]
    fn programs_get_the_same_keys_of_every_change() {
        let transfer = |unchanged| {
            Change::transferred(TransferLeaderResponse {
                header: header(),
                leader: server("node-1", 2, Role::Follower),
                before: server("node-0", 1, Role::Leader),
                unchanged,
            })
        };
        let leave = |role, unchanged| {
            Change::left(LeaveResponse {
                header: header(),
                server: server("node-1", 2, role),
                unchanged,
            })
        };
        let remove = Change::removed(RemoveServerResponse {
            header: header(),
            server: server("node-1", 2, Role::Learner),
        });
        let add = added(Role::Outsider, Role::Follower, false, false);
        let nobody = r#""led_before":null,"led_before_id":null"#;
        let node_0 = r#""led_before":"node-0","led_before_id":"1""#;
        let table = [
            (add, "add", true, "outsider", "follower", "1", nobody),
            (remove, "remove", true, "learner", "removed", "1", nobody),
            (
                transfer(false),
                "transfer-leader",
                true,
                "follower",
                "leader",
                "2",
                node_0,
            ),
            (
                transfer(true),
                "transfer-leader",
                false,
                "leader",
                "leader",
                "2",
                node_0,
            ),
            (
                leave(Role::Follower, false),
                "leave",
                true,
                "follower",
                "removed",
                "1",
                nobody,
            ),
            (
                leave(Role::Outsider, true),
                "leave",
                false,
                "removed",
                "removed",
                "1",
                nobody,
            ),
        ];
        for (change, verb, changed, was, is, leader, led_before) in table {
            let wanted = format!(
                "{{\"change\":\"{verb}\",\"changed\":{changed},\"node\":\"node-1\",\"id\":\"2\",\
                 \"address\":\"127.0.0.1:8400\",\"was\":\"{was}\",\"is\":\"{is}\",\"cluster_id\":\"c0ffee\",\
                 \"term\":4,\"leader_id\":\"{leader}\",{led_before}}}\n"
            );
            assert_eq!(written(|out| change.write_json(out)), wanted);
        }
    }
}
