//! Every method and every route that is served, called over real connections by everybody who should be let in, and by everybody who should not.

use std::sync::Arc;

use annals::{
    certs::Terms,
    config::PolicyFiles,
    net::authorization::Authorization,
    node::NodePolicy,
    proto::annals::v1::{
        CommitCursorRequest, ListCursorsRequest, TakeCursorRequest,
        cursor_service_client::CursorServiceClient,
    },
    types::TimestampMs,
};
use rustls::AlertDescription;
use tonic::{
    Code,
    transport::{Channel, ClientTlsConfig},
};

use crate::{
    appending::{APPENDER, Appender},
    raw::{Outcome, call, outcome_of},
    roles::{CURSOR_ROWS, ROLES, ROUTE_ROWS, ROWS, Role, SAMPLE, served},
    routes::{self, Comes},
    speaking::{Heard, PEER, Speaker, by_another_tool, signed_at},
    support::{
        certs::{Cluster, DAY, Pair, ago, client, node},
        node::{Place, TestNode, in_time},
        tls::{CLUSTER, Credentials, believing, calling_as, connect},
    },
};

/// The name in a role's identity.
fn pair_of(credentials: &Credentials, role: Role) -> Pair {
    let name = role.identity().rsplit('/').next().unwrap();
    credentials.sign(&match role {
        Role::Node => node(name),
        Role::Producer | Role::Consumer | Role::Operator | Role::Nobody => client(name),
    })
}

/// A node with TLS and the sample policy; besides its own authority it believes another cluster's, and one of another tool.
struct Stage {
    node: TestNode,
    credentials: Arc<Credentials>,
    /// All that the node believes.
    believed: String,
    payments: Cluster,
    common_name: Pair,
    _policy: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let authority = Cluster::made_at(CLUSTER, ago(DAY * 10), DAY * 3650);
        let credentials = Arc::new(Credentials::by(authority));
        let payments = Cluster::new("payments");
        let (tool, common_name) = by_another_tool("orders-api", &[]);
        let believed = [&credentials.authority.certificate, &payments.certificate, &tool]
            .map(String::as_str)
            .concat();
        let own = credentials.sign(&node("node-0"));
        credentials.put(&credentials.files("node-0"), &own, &believed);
        let folder = tempfile::tempdir().unwrap();
        let files = PolicyFiles {
            policy: folder.path().join("policy.csv"),
            model: None,
        };
        std::fs::write(&files.policy, SAMPLE).unwrap();
        let authorization = Authorization {
            acl: files.open().unwrap(),
            shadow: false,
        };
        let policy = NodePolicy { authorization, files };
        let place = Place::real().secured(&credentials);
        Self {
            node: TestNode::start_with(&place, |options| options.policy = Some(policy)).await,
            credentials,
            believed,
            payments,
            common_name,
            _policy: folder,
        }
    }

    fn connect(&self, tls: Option<&ClientTlsConfig>) -> Channel {
        connect(&self.node.addresses.rpc.to_string(), tls)
    }

    fn channel(&self, comes: &Comes) -> Channel {
        match comes {
            Comes::Plain => self.connect(None),
            Comes::Encrypted(None) => self.connect(Some(&believing(&self.believed))),
            Comes::Encrypted(Some(pair)) => self.connect(Some(&calling_as(pair, &self.believed))),
        }
    }

    async fn ask(&self, comes: &Comes, route: &str) -> Outcome {
        routes::ask(self.node.addresses.rpc, comes, &self.believed, route).await
    }

    /// Those who get no connection, whatever they call.
    fn strangers(&self) -> Vec<(&'static str, Comes)> {
        let authority = &self.credentials.authority;
        let tomorrow = Terms {
            now: TimestampMs(annals::clock::wall().0 + 24 * 3_600_000),
            valid_for: DAY,
        };
        let producer = client("orders-api");
        let common_name = Pair {
            certificate: self.common_name.certificate.clone(),
            key: self.common_name.key.clone(),
        };
        let with = |pair| Comes::Encrypted(Some(pair));
        vec![
            ("plaintext", Comes::Plain),
            ("no certificate", Comes::Encrypted(None)),
            (
                "a certificate of an authority of the same name",
                with(Cluster::new(CLUSTER).sign(&producer, DAY)),
            ),
            ("an expired certificate", with(authority.sign(&producer, DAY))),
            (
                "a certificate that is not valid yet",
                with(signed_at(authority, &producer, tomorrow)),
            ),
            ("a common name alone", with(common_name)),
        ]
    }
}

fn is_health(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.Health/")
}

/// The methods that nodes call each other by.
fn peers_methods() -> Vec<String> {
    let proto = include_str!("../../proto/annals/v1/peer.proto");
    let names = proto
        .lines()
        .filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next());
    let paths: Vec<String> = names
        .map(|name| format!("/annals.v1.PeerService/{name}"))
        .collect();
    assert!(paths.len() > 10, "{paths:?}");
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_let_in_who_should_not_be_and_everybody_who_should_is() {
    let stage = Stage::new().await;
    let (mut wrong, mut calls) = (Vec::new(), 0);
    let mut note = |who: &str, path: &str, outcome: Outcome, expected: Outcome| {
        calls += 1;
        if outcome != expected {
            wrong.push(format!("{who} {path}: {outcome:?} instead of {expected:?}"));
        }
    };

    for (who, comes) in stage.strangers() {
        let channel = stage.channel(&comes);
        for (route, _) in ROUTE_ROWS {
            note(who, route, stage.ask(&comes, route).await, Outcome::NotConnected);
        }
        for path in served().iter().chain(&peers_methods()) {
            note(who, path, call(&channel, path).await, Outcome::NotConnected);
        }
    }

    let payments = stage.payments.sign(&client("orders-api"), DAY);
    let payments_node = stage.payments.sign(&node("node-0"), DAY);
    for (who, pair) in [
        ("another cluster's client", payments),
        ("another cluster's node", payments_node),
    ] {
        let comes = Comes::Encrypted(Some(pair));
        let channel = stage.channel(&comes);
        for (route, _) in ROUTE_ROWS {
            note(who, route, stage.ask(&comes, route).await, Outcome::Denied);
        }
        for path in served() {
            let expected = if is_health(&path) {
                Outcome::LetIn
            } else {
                Outcome::Denied
            };
            note(who, &path, call(&channel, &path).await, expected);
        }
    }

    for role in ROLES {
        let comes = Comes::Encrypted(Some(pair_of(&stage.credentials, role)));
        let channel = stage.channel(&comes);
        let who = format!("{role:?}");
        let expected = |allowed: &[Role]| match allowed.contains(&role) {
            true => Outcome::LetIn,
            false => Outcome::Denied,
        };
        for (path, allowed) in ROWS {
            note(&who, path, call(&channel, path).await, expected(allowed));
        }
        for (route, allowed) in ROUTE_ROWS {
            note(&who, route, stage.ask(&comes, route).await, expected(allowed));
        }
        // Methods of the peers' side, called on the clients' side, a node's own certificate included.
        for path in peers_methods() {
            note(&who, &path, call(&channel, &path).await, Outcome::Denied);
        }
    }
    assert_eq!(wrong, [""; 0]);
    let everything = served().len() + peers_methods().len();
    assert_eq!(
        calls,
        (6 + ROLES.len()) * (everything + ROUTE_ROWS.len()) + 2 * (served().len() + ROUTE_ROWS.len())
    );
    stage.node.shut_down().await;
}

/// The bug: whoever could consume could take the cursor of everybody else, and make so many that nobody got one any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_is_taken_and_committed_to_by_those_alone_who_may_have_that_one() {
    let stage = Stage::new().await;
    let mut wrong = Vec::new();
    for role in ROLES {
        let comes = Comes::Encrypted(Some(pair_of(&stage.credentials, role)));
        let mut client = CursorServiceClient::new(stage.channel(&comes));
        for (name, allowed) in CURSOR_ROWS {
            let (log, name) = (String::new(), name.to_owned());
            let take = TakeCursorRequest {
                log,
                name: name.clone(),
            };
            let taken = in_time("an answer", client.take(take)).await.map(drop);
            let commit = CommitCursorRequest {
                name: name.clone(),
                ..CommitCursorRequest::default()
            };
            // Of one that was taken this is fenced, which is no denial.
            let committed = in_time("an answer", client.commit(commit)).await.map(drop);
            let expected = match allowed.contains(&role) {
                true => Outcome::LetIn,
                false => Outcome::Denied,
            };
            for (what, answer) in [("take", taken), ("commit", committed)] {
                let outcome = answer.map_or_else(|status| outcome_of(&status), |()| Outcome::LetIn);
                if outcome != expected {
                    wrong.push(format!("{role:?} {what} {name}: {outcome:?}"));
                }
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    let comes = Comes::Encrypted(Some(pair_of(&stage.credentials, Role::Consumer)));
    let mut client = CursorServiceClient::new(stage.channel(&comes));
    let take = TakeCursorRequest {
        name: "orders".to_owned(),
        ..TakeCursorRequest::default()
    };
    let denied = in_time("an answer", client.take(take)).await.unwrap_err();
    let missing = "does not allow annals://annals/client/billing to consume on cursor/orders";
    assert!(denied.message().contains(missing), "{denied}");
    let told = stage.node.lines.beginning("audit");
    let line =
        "object=cursor/orders action=consume verdict=denied rule=- method=/annals.v1.CursorService/Take";
    assert!(told.iter().any(|told| told.contains(line)), "{told:#?}");
    let listed = in_time("a list", client.list(ListCursorsRequest::default())).await;
    let cursors = listed.unwrap().into_inner().cursors;
    let names: Vec<_> = cursors.iter().map(|cursor| cursor.name.as_str()).collect();
    assert_eq!(names, ["billing"], "who is denied makes none");
    stage.node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_side_of_peers_no_client_gets_as_far_as_a_call() {
    let stage = Stage::new().await;
    for first in [PEER, APPENDER] {
        for role in [Role::Producer, Role::Consumer, Role::Operator, Role::Nobody] {
            let own = pair_of(&stage.credentials, role);
            let heard = Speaker::new(Some(own), &stage.believed)
                .speak(stage.node.addresses.rpc, first)
                .await;
            assert_eq!(
                heard,
                Heard::Alert(AlertDescription::CertificateUnknown),
                "{role:?}"
            );
        }
        let own = stage.payments.sign(&node("node-1"), DAY);
        let heard = Speaker::new(Some(own), &stage.believed)
            .speak(stage.node.addresses.rpc, first)
            .await;
        assert_eq!(
            heard,
            Heard::Alert(AlertDescription::CertificateUnknown),
            "another cluster's node"
        );
        for (own, who) in [
            (None, "no certificate"),
            (Some(stage.common_name.clone()), "a common name alone"),
        ] {
            let heard = Speaker::new(own, &stage.believed)
                .speak(stage.node.addresses.rpc, first)
                .await;
            assert!(matches!(heard, Heard::Alert(_)), "{who}: {heard:?}");
        }
    }
    let own = pair_of(&stage.credentials, Role::Node);
    let heard = Speaker::new(Some(own), &stage.believed)
        .speak(stage.node.addresses.rpc, PEER)
        .await;
    assert!(matches!(heard, Heard::Settings), "{heard:?}");
    stage.node.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_are_let_in_from_nodes_that_say_who_they_are_and_whom_they_mean() {
    let stage = Stage::new().await;
    let speaker = Speaker::new(Some(pair_of(&stage.credentials, Role::Node)), &stage.believed);
    let address = stage.node.addresses.rpc;
    let connect = async || Appender::connect(address, speaker.config()).await.unwrap();
    assert!(!connect().await.is_heard_without_a_greeting().await);
    let nobodys = annals::proto::peer::AppendsHello::default();
    let refused = connect().await.asks_to_append(nobodys).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("of cluster "), "{refused}");
    stage.node.shut_down().await;
}
