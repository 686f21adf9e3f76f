//! Processes that end with the test, and what they print.

#[path = "../../support/addresses.rs"]
pub mod addresses;
pub mod marks;
mod output;
mod process;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use process::{Line, Process, annals};

/// How long something may take that takes milliseconds when all is well.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A node that listens.
pub struct Node {
    pub process: Process,
    /// Where it takes clients.
    pub rpc: String,
    /// Where it answers probes.
    pub admin: String,
}

impl Node {
    /// `annals agent` on this data directory, which is its cluster and leads it; `rpc` as in 127.0.0.1:0.
    pub fn agent(data_dir: &Path, rpc: &str) -> Self {
        let node = Self::start(&configuration(data_dir, rpc));
        let deadline = annals::clock::now() + DEADLINE;
        while !node.readyz().starts_with("HTTP/1.1 200 ") {
            let log = || node.process.err.text();
            assert!(
                annals::clock::now() < deadline,
                "it does not serve; its log:\n{}",
                log()
            );
        }
        node
    }

    /// `annals agent` with this configuration, as soon as it listens.
    pub fn start(config: &Path) -> Self {
        Self::listening(annals().arg("agent").arg("--config").arg(config))
    }

    /// The same, of a process that may open no more than so many files.
    pub fn start_with_open_files(config: &Path, open_files: u32) -> Self {
        let limited = format!("ulimit -n {open_files} && exec \"$0\" agent --config \"$1\"");
        let annals = env!("CARGO_BIN_EXE_annals");
        Self::listening(Line::new("sh").arg("-c").arg(limited).arg(annals).arg(config))
    }

    /// What this line starts, as soon as it listens.
    pub fn listening(line: Line) -> Self {
        let process = line.start();
        let line = process
            .err
            .wait_for("it listens", |text| line_with(text, "\"msg\":\"listening\""));
        let line: serde_json::Value = serde_json::from_str(&line).expect("a line of its log is JSON");
        let address = |name: &str| line[name].as_str().expect("it says its addresses").to_owned();
        let (rpc, admin) = (address("rpc"), address("admin"));
        Self { process, rpc, admin }
    }

    /// `annals dev --port 0`, with these arguments behind it, and its banner.
    pub fn dev(args: &[&str]) -> (Self, String) {
        let process = annals().arg("dev").args(["--port", "0"]).args(args).start();
        let is_whole = |text: &str| text.contains("\nCtrl-C").then(|| text.to_owned());
        let banner = process.out.wait_for("the banner is printed", is_whole);
        let rpc = after(&banner, "  address  ");
        let asks_whether_ready = banner.lines().find(|line| line.contains("/readyz"));
        let admin = after(asks_whether_ready.unwrap_or_default(), "'http://")
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        (Self { process, rpc, admin }, banner)
    }

    /// Waits until the node is ready: it listens a little before, and knows no leader yet.
    pub fn wait_until_ready(&self) {
        let deadline = annals::clock::now() + DEADLINE;
        loop {
            let answer = self.readyz();
            if answer.starts_with("HTTP/1.1 200 ") {
                return;
            }
            assert!(annals::clock::now() < deadline, "it is never ready: {answer}");
        }
    }

    /// What `/readyz?verbose` answers.
    pub fn readyz(&self) -> String {
        get(&self.admin, "/readyz?verbose")
    }
}

/// Bytes of memory that a node's process has in use.
pub fn resident_bytes(node: &Node) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", node.process.id()));
    let statm = statm.expect("the process is there");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("its second number is that of resident pages") * 4096
}

/// Writes a configuration beside this data directory, and says where.
pub fn configuration(data_dir: &Path, rpc: &str) -> PathBuf {
    let path = data_dir.with_extension("toml");
    let text = format!(
        "[node]\ndata_dir = {:?}\n[listen]\nrpc = \"{rpc}\"\nadmin = \"127.0.0.1:0\"\n[telemetry]\nlog_format = \"json\"\n",
        data_dir.display().to_string()
    );
    std::fs::write(&path, text).expect("there is room for a configuration");
    path
}

/// The answer to a GET over HTTP, with its status line.
pub fn get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(address).expect("the admin listener takes connections");
    socket
        .set_read_timeout(Some(DEADLINE))
        .expect("it is longer than nothing");
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("it is sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it is answered");
    answer
}

/// The whole line with this in it, once it is there.
pub fn line_with(text: &str, part: &str) -> Option<String> {
    let whole = &text[..=text.rfind('\n')?];
    whole.lines().find(|line| line.contains(part)).map(str::to_owned)
}

/// The rest of the line behind `label`.
pub fn after(text: &str, label: &str) -> String {
    let (_, rest) = text.split_once(label).expect("the label is there");
    rest.lines().next().unwrap_or_default().to_owned()
}

/// The lines to paste that stand below a heading, each indented.
pub fn lines_to_paste<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let found = text.split_once(&format!("{heading}\n\n"));
    let (_, rest) = found.unwrap_or_else(|| panic!("it does not say {heading:?}: {text}"));
    rest.lines().map_while(|line| line.strip_prefix("  ")).collect()
}

/// Text of `lines` lines, each another one, some empty.
pub fn text(lines: usize) -> String {
    (0..lines)
        .map(|i| match i % 7 {
            0 => "\n".to_owned(),
            rest => format!("{i:07} {}\n", "annals ".repeat(rest * 3)),
        })
        .collect()
}
