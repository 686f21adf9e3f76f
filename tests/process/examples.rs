//! Each example that `--help` shows works: it is taken from the help and run, in a world where what it names is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::{Line, Node, Process, after, annals, text};

/// An example, and the verb whose help shows it.
struct Example {
    verb: String,
    line: String,
}

/// All of them, by asking each verb for its help.
fn examples() -> Vec<Example> {
    let mut all = Vec::new();
    gather("", &mut all);
    all
}

fn gather(verb: &str, all: &mut Vec<Example>) {
    let help = annals().args(verb.split_whitespace()).arg("--help").run().text();
    let below = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    let names = below.lines().take_while(|line| !line.is_empty());
    let names = names.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    for name in names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
    {
        gather(format!("{verb} {name}").trim(), all);
    }
    let shown = help.split_once("\nExamples:\n").map_or("", |(_, rest)| rest);
    let lines = shown.lines().map_while(|line| line.strip_prefix("  "));
    all.extend(lines.map(|line| Example {
        verb: verb.to_owned(),
        line: line.to_owned(),
    }));
    assert!(
        !below.is_empty() || !shown.is_empty() || verb.is_empty(),
        "`annals {verb} --help` shows no example"
    );
}

/// Runs until it is stopped, once it has said this.
const FOR_EVER: [(&str, &str); 4] = [
    ("annals dev", "\nCtrl-C"),
    ("annals agent", "\"msg\":\"listening\""),
    ("annals consume --from -10 --follow", "0000099 "),
    ("annals consume --cursor billing --follow", "0000099 "),
];

/// Three nodes with records in them, the data of one that was stopped, and room for files.
struct World {
    directory: tempfile::TempDir,
    /// Runs all three.
    _nodes: Process,
    addrs: [String; 3],
    /// The id of the second.
    id: String,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is room for a directory");
        let (nodes, addrs, id) = three_nodes();
        let addr = addrs.join(",");
        until_healthy(&addr);
        let records: String = (0..10).map(|number| format!("record {number}\n")).collect();
        annals()
            .args(["produce", "--addr", &addr])
            .run_with(&records)
            .done();
        let world = Self {
            directory,
            _nodes: nodes,
            addrs,
            id,
        };
        let data = world.path("var");
        let stopped = Node::agent(&data, "127.0.0.1:0");
        annals()
            .args(["produce", "--addr", &stopped.rpc])
            .run_with(&text(1100))
            .done();
        assert_eq!(stopped.process.stop().status.code(), Some(0));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes what the examples of a verb name, in a directory of its own.
    fn prepare(&self, verb: &str) -> PathBuf {
        let at = tempfile::tempdir_in(self.directory.path())
            .expect("there is room")
            .keep();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let copy = |from: &str, to: &str| {
            fs::copy(repository.join(from), at.join(to)).expect("both are there");
        };
        fs::write(at.join("access.log"), text(100)).expect("there is room");
        copy("config/acl/policy.csv", "policy.csv");
        fs::create_dir(at.join("etc")).expect("there is room");
        copy("config/acl/policy.csv", "etc/policy.csv");
        let config = format!(
            "[node]\ndata_dir = {:?}\n[listen]\nrpc = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[telemetry]\nlog_format = \"json\"\n",
            at.join("data").display().to_string()
        );
        let acl = if verb == "acl check" {
            "[acl]\npolicy = \"policy.csv\"\n"
        } else {
            ""
        };
        fs::write(at.join("etc/annals.toml"), config + acl).expect("there is room");
        let run = |line: &str| drop(self.shell(line, &at).run().done());
        if verb.starts_with("certs") && verb != "certs ca" {
            run("annals certs ca --cluster orders");
        }
        if ["certs list", "certs renew"].contains(&verb) {
            run("annals certs node node-0 && annals certs client billing");
        }
        if verb == "context add" {
            run("annals certs ca --cluster orders --dir . && annals certs client me --dir .");
        } else if verb.starts_with("context") {
            run("annals context add here --addr 127.0.0.1:8400");
        }
        if verb.starts_with("cursor ") {
            // Nobody holds it, whatever the example before has done.
            run("annals cursor delete billing 2> /dev/null; annals cursor commit billing 1");
        }
        at
    }

    /// The line, in this world instead of that of its writer.
    fn shell(&self, line: &str, at: &Path) -> Line {
        let mut line = line.to_owned();
        let inside = |name: &str| at.join(name).display().to_string();
        let var = self.path("var").display().to_string();
        let moved = [
            ("127.0.0.1:8400", self.addrs[0].as_str()),
            ("127.0.0.1:8410", self.addrs[1].as_str()),
            ("127.0.0.1:8420", self.addrs[2].as_str()),
            ("/var/lib/annals", var.as_str()),
            ("/etc/annals", &inside("etc")),
            ("/srv/annals", &inside("srv")),
            ("/tmp/annals", &inside("tmp")),
            // There are no others; these are members already, which is no mistake.
            ("cluster add node-3", "cluster add node-1"),
            ("cluster add node-4", "cluster add node-0"),
            ("8753488146623291269", &self.id),
            // It would wait for more for ever.
            ("tail -F access.log", "cat access.log"),
            ("--port 9400", "--port 0"),
            // As little of it as shows that it works.
            ("--seconds 10", "--seconds 1"),
            ("--records 10000000", "--records 5"),
            (
                "--batch 100 --producers 4",
                "--batch 100 --producers 4 --seconds 1",
            ),
            ("--below 1000000", "--below 1"),
            ("commit billing 1200", "commit billing 3"),
        ];
        for (from, to) in moved {
            line = line.replace(from, to);
        }
        let dev = line.contains("annals_for_ever dev") && !line.contains("--port");
        let line = if dev { format!("{line} --port 0") } else { line };
        // What it does with the output is of no interest where it is not there.
        let jq = "command -v jq > /dev/null || jq() { cat; }";
        let program = env!("CARGO_BIN_EXE_annals");
        let script = format!(
            "cd '{at}' && export ANNALS_ADDR={addr} ANNALS_CONFIG_DIR='{at}/contexts'\n{jq}\nannals() {{ '{program}' \"$@\"; }}\n{line}",
            at = at.display(),
            addr = self.addrs[0]
        );
        // A verb that fails in front of a pipe has failed.
        Line::new("bash").args(["-o", "pipefail", "-c", &script])
    }

    fn run(&self, example: &Example) {
        // The example before may have let another node lead.
        if !changes_members(example) {
            until_healthy(&self.addrs.join(","));
        }
        let at = self.prepare(&example.verb);
        let shown = format!("`annals {} --help` shows `{}`", example.verb, example.line);
        let for_ever = FOR_EVER.iter().find(|(line, _)| {
            example.line == *line || (!line.contains(" --") && example.line.starts_with(&format!("{line} ")))
        });
        if let Some((_, said)) = for_ever {
            // `exec`, so that the guard ends the program itself and not only its shell.
            let program = env!("CARGO_BIN_EXE_annals");
            let line = example.line.replacen("annals", "annals_for_ever", 1);
            let script = format!("annals_for_ever() {{ exec '{program}' \"$@\"; }}\n{line}");
            let line = self.shell(&script, &at);
            let process = line.start();
            let has_said = |text: &str| text.contains(said).then_some(());
            if example.verb == "agent" {
                process.err.wait_for(&shown, has_said);
            } else {
                process.out.wait_for(&shown, has_said);
            }
            process.stop();
            return;
        }
        let ended = self.shell(&example.line, &at).run();
        let code = ended.status.code();
        match code {
            // Denied is an answer, too.
            Some(1) if example.verb == "acl check" => {}
            code => assert_eq!(code, Some(0), "{shown}: {}", ended.err),
        }
    }
}

fn until_healthy(addr: &str) {
    let health = [
        "health",
        "--exit-when-healthy",
        "--timeout",
        "60s",
        "--addr",
        addr,
    ];
    annals().args(health).run().done();
}

/// Whether it changes who belongs to the cluster.
fn changes_members(example: &Example) -> bool {
    ["cluster add", "cluster remove", "cluster leave"].contains(&example.verb.as_str())
}

/// In one process, with where each takes clients.
fn three_nodes() -> (Process, [String; 3], String) {
    let nodes = annals().args(["dev", "--nodes", "3", "--port", "0"]).start();
    let is_whole = |text: &str| text.contains("\nCtrl-C").then(|| text.to_owned());
    let banner = nodes.out.wait_for("the banner is printed", is_whole);
    let rpc = after(&banner, "produce --addr ");
    let status = annals()
        .args(["cluster", "servers", "--addr", &rpc, "-o", "json"])
        .run()
        .text();
    let servers: serde_json::Value = serde_json::from_str(&status).expect("it is JSON");
    let addr = |number: usize| {
        let address = servers["nodes"][number]["address"].as_str();
        address.expect("it says where each is").to_owned()
    };
    let id = servers["nodes"][1]["id"].as_str().expect("each has one");
    (nodes, [addr(0), addr(1), addr(2)], id.to_owned())
}

#[test]
fn every_example_of_every_help_works() {
    let examples = examples();
    assert!(
        examples.len() > 60,
        "where are the examples? only {}",
        examples.len()
    );
    let world = World::new();
    // Those that change who belongs to the cluster come last; one node leaves it, and another is removed.
    let (changes, others): (Vec<_>, Vec<_>) = examples.iter().partition(|example| changes_members(example));
    let (leaves, changes): (Vec<_>, Vec<_>) = changes
        .into_iter()
        .partition(|example| example.verb == "cluster leave");
    for example in others.into_iter().chain(changes) {
        world.run(example);
    }
    for (line, _) in FOR_EVER {
        let begins = |example: &Example| example.line.starts_with(line);
        assert!(examples.iter().any(begins), "no help shows `{line}` any more");
    }
    let world = World::new();
    leaves.into_iter().for_each(|example| world.run(example));
}
