//! What was made, and what to paste next, for people and for programs.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    path::Path,
};

use serde::Serialize;

use crate::{certs::Name, config::Config};

use super::{
    super::{
        argument::shell_quoted,
        output::{Format, write_json, write_table},
    },
    plan::Plan,
    policy,
};

/// All that was made, and how it is used.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    directory: String,
    cluster: String,
    nodes: Vec<Node>,
    policy: String,
    /// Where the keys of gossip are, if nodes gossip.
    gossip_keys: Option<String>,
    authority: Pair,
    clients: Vec<Client>,
    /// What starts the nodes, each in a terminal of its own.
    start: Vec<String>,
    /// What to try as the client that produces and consumes.
    r#try: Vec<String>,
    /// What the environment may say instead of the arguments.
    environment: BTreeMap<&'static str, String>,
    /// The same commands, with that environment.
    try_with_environment: Vec<String>,
    /// What gives all that a name, for the client that produces and consumes.
    context: String,
    /// What to try as the client that may do everything.
    try_as_admin: Vec<String>,
    /// What makes new certificates before these expire.
    renew: String,
}

#[derive(Debug, Serialize)]
struct Node {
    name: String,
    config: String,
    rpc: SocketAddr,
    gossip: Option<SocketAddr>,
    admin: SocketAddr,
    data_dir: String,
    #[serde(flatten)]
    pair: Pair,
}

#[derive(Debug, Serialize)]
struct Client {
    name: String,
    identity: String,
    may: &'static str,
    #[serde(flatten)]
    pair: Pair,
}

/// A certificate and its key.
#[derive(Debug, Serialize)]
struct Pair {
    certificate: String,
    key: String,
}

impl Report {
    /// Of what the plan has made; `program` is how this one was called, so that the lines can be pasted where they stand.
    pub(super) fn new(plan: &Plan, program: &str) -> Self {
        let program = shell_quoted(program);
        let quoted = |path: &Path| shell_quoted(&path.to_string_lossy()).into_owned();
        let addresses: Vec<_> = plan
            .nodes
            .iter()
            .map(|node| node.listen.rpc.to_string())
            .collect();
        let (first, last) = (&addresses[0], &addresses[addresses.len() - 1]);
        let all = addresses.join(",");
        let app = plan.security(&plan.app);
        let mut environment = BTreeMap::from([("ANNALS_ADDR", all.clone())]);
        environment.extend(app.variables());
        let (app, admin) = (app.arguments(), plan.security(&plan.admin).arguments());
        let all = shell_quoted(&all);
        Self {
            directory: shown(plan.directory()),
            cluster: plan.cluster.to_string(),
            nodes: plan.nodes.iter().map(|node| node_of(plan, node)).collect(),
            policy: shown(&plan.policy()),
            gossip_keys: plan.gossip_keys().as_deref().map(shown),
            authority: Pair {
                certificate: shown(&plan.authority()),
                key: shown(&plan.authority_key()),
            },
            clients: vec![
                client_of(plan, &plan.admin, "do everything"),
                client_of(plan, &plan.app, "produce, consume and describe"),
            ],
            start: plan
                .nodes
                .iter()
                .map(|node| format!("{program} agent --config {}", quoted(&plan.config(node))))
                .collect(),
            r#try: vec![
                format!("echo hello | {program} produce --addr {first}{app}"),
                format!("{program} consume --addr {last}{app}"),
            ],
            environment,
            try_with_environment: vec![
                format!("echo hello | {program} produce"),
                format!("{program} consume"),
            ],
            context: format!("{program} context add {} --addr {all}{app}", plan.cluster),
            try_as_admin: vec![format!("{program} cluster status --addr {all}{admin}")],
            renew: format!(
                "{program} certs renew --all --expires-within 30d --dir {}",
                quoted(&plan.certs())
            ),
        }
    }

    /// Prints it.
    pub(super) fn write(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        if format == Format::Json {
            return write_json(out, self);
        }
        let (these, start) = match self.nodes.len() {
            1 => ("1 node".to_owned(), "Start the node:"),
            count => (
                format!("{count} nodes"),
                "Start the nodes, each in a terminal of its own, in any order:",
            ),
        };
        writeln!(
            out,
            "made {} for {these} of the cluster {}",
            self.directory, self.cluster
        )?;
        writeln!(out)?;
        write_table(out, ["FILE", "WHAT IT IS"], &self.rows())?;
        writeln!(out)?;
        writeln!(
            out,
            "Beside each certificate is its private key, as NAME.key, for you alone."
        )?;
        write_lines(out, start, &self.start)?;
        let [admin, app] = [&self.clients[0].name, &self.clients[1].name];
        write_lines(
            out,
            &format!("Then, in another terminal and this directory, as {app}:"),
            &self.r#try,
        )?;
        let variables = self.environment.iter();
        let variables: String = variables
            .map(|(name, value)| format!(" {name}={}", shell_quoted(value)))
            .collect();
        let mut with_environment = vec![format!("export{variables}")];
        with_environment.extend_from_slice(&self.try_with_environment);
        write_lines(out, "The same, said once:", &with_environment)?;
        let by_name = [vec![self.context.clone()], self.try_with_environment.clone()].concat();
        let title = "Or, for good: the line that follows makes a context (`annals context --help`):";
        write_lines(out, title, &by_name)?;
        write_lines(out, &format!("As {admin}:"), &self.try_as_admin)?;
        let renew = "The certificates are valid for a year; from a timer, this renews them in time:";
        write_lines(out, renew, std::slice::from_ref(&self.renew))
    }

    fn rows(&self) -> Vec<[String; 2]> {
        let mut rows = Vec::new();
        for node in &self.nodes {
            let gossip = node.gossip.map(|gossip| format!(", gossips at {gossip}"));
            rows.push([
                node.config.clone(),
                format!(
                    "{}: takes clients at {}{}, probes at {}",
                    node.name,
                    node.rpc,
                    gossip.unwrap_or_default(),
                    node.admin
                ),
            ]);
        }
        rows.push([self.policy.clone(), "who may do what".to_owned()]);
        if let Some(keys) = &self.gossip_keys {
            rows.push([
                keys.clone(),
                "what the nodes' gossip is encrypted with".to_owned(),
            ]);
        }
        let authority = &self.authority;
        rows.push([
            authority.certificate.clone(),
            "whom nodes and clients believe".to_owned(),
        ]);
        rows.push([
            authority.key.clone(),
            "can make every certificate: keep it where no node runs".to_owned(),
        ]);
        for node in &self.nodes {
            let certificate = node.pair.certificate.clone();
            rows.push([certificate, format!("the certificate of {}", node.name)]);
        }
        for client in &self.clients {
            let certificate = client.pair.certificate.clone();
            let what = format!("that of the client {}, which may {}", client.name, client.may);
            rows.push([certificate, what]);
        }
        rows
    }
}

/// Lines to paste, below what they are for.
fn write_lines(out: &mut impl Write, what: &str, lines: &[String]) -> io::Result<()> {
    writeln!(out, "\n{what}\n")?;
    lines.iter().try_for_each(|line| writeln!(out, "  {line}"))
}

fn node_of(plan: &Plan, node: &Config) -> Node {
    let name = node.node.name.to_string();
    Node {
        config: shown(&plan.config(node)),
        rpc: node.listen.rpc,
        gossip: node.gossip_listen(),
        admin: node.listen.admin,
        data_dir: shown(&node.node.data_dir),
        pair: pair_of(plan, &name),
        name,
    }
}

fn client_of(plan: &Plan, name: &Name, may: &'static str) -> Client {
    Client {
        name: name.to_string(),
        identity: policy::identity(&plan.cluster, name).to_string(),
        may,
        pair: pair_of(plan, name.as_str()),
    }
}

fn pair_of(plan: &Plan, name: &str) -> Pair {
    Pair {
        certificate: shown(&plan.certificate(name)),
        key: shown(&plan.key(name)),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
