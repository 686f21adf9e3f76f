//! Every method that is served, asked for by each role of the sample policy.

use std::collections::{BTreeMap, BTreeSet};

use annals::certs::Caller;
use prost::Message;
use prost_types::FileDescriptorSet;

use crate::gate::{Gate, caller};

/// The roles of the sample policy, and two who have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Producer,
    Consumer,
    Operator,
    Nobody,
    /// A node, on the side of clients.
    Node,
}

use Role::{Consumer, Nobody, Node, Operator, Producer};

pub const ROLES: [Role; 5] = [Producer, Consumer, Operator, Nobody, Node];

impl Role {
    /// Who has it by the sample policy.
    pub fn identity(self) -> &'static str {
        match self {
            Producer => "annals://annals/client/orders-api",
            Consumer => "annals://annals/client/billing",
            Operator => "annals://annals/client/operator",
            Nobody => "annals://annals/client/other",
            Node => "annals://annals/node/node-0",
        }
    }
}

/// Who may call what, said here anew: a method that is new in a proto has no row, and fails.
pub const ROWS: [(&str, &[Role]); 27] = [
    ("/log.v1.Log/Produce", &[Producer]),
    ("/log.v1.Log/ProduceStream", &[Producer]),
    ("/log.v1.Log/Consume", &[Consumer]),
    ("/log.v1.Log/ConsumeStream", &[Consumer]),
    ("/log.v1.Log/GetServers", &[Producer, Consumer, Operator]),
    ("/annals.v1.LogService/Produce", &[Producer]),
    ("/annals.v1.LogService/ProduceStream", &[Producer]),
    ("/annals.v1.LogService/Consume", &[Consumer]),
    ("/annals.v1.LogService/ConsumeStream", &[Consumer]),
    (
        "/annals.v1.LogService/DescribeLog",
        &[Producer, Consumer, Operator],
    ),
    ("/annals.v1.CursorService/Take", &[Consumer]),
    ("/annals.v1.CursorService/Commit", &[Consumer]),
    ("/annals.v1.CursorService/Get", &[Producer, Consumer, Operator]),
    ("/annals.v1.CursorService/List", &[Producer, Consumer, Operator]),
    ("/annals.v1.CursorService/Delete", &[Operator]),
    (
        "/annals.v1.ClusterService/GetCluster",
        &[Producer, Consumer, Operator],
    ),
    (
        "/annals.v1.ClusterService/WatchCluster",
        &[Producer, Consumer, Operator],
    ),
    (
        "/annals.v1.ClusterService/GetSupervisionTree",
        &[Producer, Consumer, Operator],
    ),
    ("/annals.v1.ClusterService/AddServer", &[Operator]),
    ("/annals.v1.ClusterService/RemoveServer", &[Operator]),
    ("/annals.v1.ClusterService/TransferLeader", &[Operator]),
    ("/annals.v1.ClusterService/Leave", &[Operator]),
    ("/annals.v1.ClusterService/Trim", &[Operator]),
    ("/grpc.health.v1.Health/Check", &ROLES),
    ("/grpc.health.v1.Health/Watch", &ROLES),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        &[Operator],
    ),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        &[Operator],
    ),
];

/// Who may ask for what by HTTP.
pub const ROUTE_ROWS: [(&str, &[Role]); 7] = [
    ("POST /", &[Producer]),
    ("GET /", &[Consumer]),
    ("POST /v1/records", &[Producer]),
    ("GET /v1/records", &[Consumer]),
    ("GET /v1/tail", &[Consumer]),
    ("GET /v1/cluster", &[Producer, Consumer, Operator]),
    ("GET /openapi.json", &[Operator]),
];

/// Who may take which cursor and commit to it, where it is in the message that it is named.
pub const CURSOR_ROWS: [(&str, &[Role]); 4] = [
    ("billing", &[Consumer]),
    ("billing-2", &[]),
    ("bill", &[]),
    ("orders", &[]),
];

pub const SAMPLE: &str = include_str!("../../config/acl/policy.csv");

/// The path of every method in the descriptors that are served.
pub fn served() -> BTreeSet<String> {
    let sets = [
        annals::proto::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let files = sets
        .iter()
        .flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file);
    let mut paths = BTreeSet::new();
    for file in files {
        for service in &file.service {
            let methods = service.method.iter();
            paths.extend(
                methods.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())),
            );
        }
    }
    paths
}

#[test]
fn every_method_that_is_served_has_a_row() {
    let rows: BTreeSet<String> = ROWS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(rows, served());
}

#[test]
fn every_route_has_a_row() {
    let rows: BTreeSet<&str> = ROUTE_ROWS.iter().map(|(name, _)| *name).collect();
    let routes = annals::net::http::routes::ROUTES.iter();
    assert_eq!(rows, routes.map(|route| route.method.path).collect());
}

#[tokio::test]
async fn each_role_may_call_what_its_row_says_and_nothing_else() {
    let gate = Gate::new(SAMPLE, false);
    let callers: BTreeMap<Role, Caller> = ROLES.map(|role| (role, caller(role.identity()))).into();
    let mut wrong = Vec::new();
    for (path, allowed) in ROWS {
        for (role, caller) in &callers {
            if gate.allows(path, Some(caller)).await != allowed.contains(role) {
                wrong.push(format!("{role:?} {path}"));
            }
        }
        // Who has no certificate gets nothing but health.
        if gate.allows(path, None).await != path.starts_with("/grpc.health.") {
            wrong.push(format!("anonymous {path}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[tokio::test]
async fn a_method_that_is_not_there_is_denied_to_everybody() {
    let gate = Gate::new("p, *, *, *", false);
    let operator = caller(Role::Operator.identity());
    for path in [
        "/annals.v1.PeerService/Append",
        "/annals.v1.LogService/Delete",
        "/log.v1.Log/produce",
        "/grpc.health.v1.Health/List",
        "/",
    ] {
        let status = gate.call(path, Some(&operator)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::PermissionDenied, "{path}");
    }
    assert!(gate.allows("/log.v1.Log/Produce", None).await);
}

#[tokio::test]
async fn in_shadow_mode_everything_is_allowed_and_what_would_be_denied_written_down() {
    let gate = Gate::new(SAMPLE, true);
    let consumer = caller(Role::Consumer.identity());
    assert!(gate.allows("/log.v1.Log/Consume", Some(&consumer)).await);
    assert_eq!(gate.lines.all(), [""; 0]);
    assert!(gate.allows("/log.v1.Log/Produce", Some(&consumer)).await);
    assert!(gate.allows("/annals.v1.LogService/Delete", Some(&consumer)).await);
    let lines = gate.lines.all();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.contains("verdict=would be denied")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn where_nobody_is_asked_everything_goes_through() {
    let gate = Gate::open();
    for (path, _) in ROWS {
        assert!(gate.allows(path, None).await, "{path}");
    }
    assert!(gate.allows("/annals.v1.LogService/Delete", None).await);
    assert_eq!(gate.lines.all(), [""; 0]);
}
