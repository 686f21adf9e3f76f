//! `annals top`: a page where nobody looks, a view on a terminal, and the terminal as it was at the end.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::Stdio,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use crate::support::{DEADLINE, Line, Node, annals};

fn top(node: &Node, args: &[&str]) -> Line {
    annals()
        .args(["top", "--interval", "100ms", "--addr", &node.rpc])
        .args(args)
}

fn ready_node() -> Node {
    let (node, _) = Node::dev(&[]);
    node.wait_until_ready();
    node
}

#[test]
fn a_page_is_printed_where_nobody_looks_and_lines_for_programs() {
    let node = ready_node();
    let page = top(&node, &[]).run().text();
    let lines: Vec<_> = page.lines().collect();
    assert_eq!(lines[1], "leader     node-0, term 1");
    assert!(
        lines[4].starts_with("NODE    ROLE    TERM  HIGH WATERMARK  RECORDS/S"),
        "{page}"
    );
    assert!(
        lines[5].starts_with("node-0  leader  1     0               0  "),
        "{page}"
    );
    assert!(!page.contains('\x1b'), "nobody looks: {page}");
    let line = top(&node, &["--once", "-o", "json"]).run().text();
    let sample: serde_json::Value = serde_json::from_str(&line).expect("it is one object");
    assert_eq!(
        (&sample["leader"], &sample["nodes"][0]["lag"]),
        (&"node-0".into(), &0.into())
    );
    // Without --once there is a line each interval, until it is stopped.
    let lines = top(&node, &["-o", "json"]).start();
    lines
        .out
        .wait_for("three lines", |text| (text.lines().count() >= 3).then_some(()));
}

#[test]
fn who_is_not_there_is_told_as_by_other_verbs() {
    let ended = annals().args(["top", "--addr", "127.0.0.1:1"]).run();
    assert!(
        ended
            .refused(3)
            .starts_with("error: cannot connect to 127.0.0.1:1"),
        "{}",
        ended.err
    );
}

/// A terminal, as a person has one.
struct Terminal {
    person: File,
    program: OwnedFd,
}

impl Terminal {
    fn new() -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("the system has terminals");
        grantpt(&person).expect("it is ours");
        unlockpt(&person).expect("it is ours");
        let name = ptsname(&person, Vec::new()).expect("it has a name");
        let path = std::path::PathBuf::from(name.into_string().expect("it is text"));
        let open = File::options().read(true).write(true).open(path);
        let program = OwnedFd::from(open.expect("it can be opened"));
        let size = Winsize {
            ws_row: 12,
            ws_col: 60,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&program, size).expect("it is a terminal");
        Self {
            person: File::from(person),
            program,
        }
    }

    fn end(&self) -> Stdio {
        Stdio::from(self.program.try_clone().expect("there are descriptors"))
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.program).expect("it is a terminal").local_modes;
        !modes.contains(LocalModes::ICANON)
    }

    /// What is drawn, up to this.
    fn read_to(&mut self, wanted: &str) -> String {
        let (mut drawn, mut piece) = (Vec::new(), [0; 1024]);
        while !String::from_utf8_lossy(&drawn).contains(wanted) {
            let mut wait = [PollFd::new(&self.person, PollFlags::IN)];
            let within = Timespec::try_from(DEADLINE).expect("it is short");
            let ready = poll(&mut wait, Some(&within)).expect("it can be waited for");
            assert_eq!(
                ready,
                1,
                "{wanted:?} is not drawn: {:?}",
                String::from_utf8_lossy(&drawn)
            );
            let read = self.person.read(&mut piece).expect("the program draws");
            drawn.extend_from_slice(&piece[..read]);
        }
        String::from_utf8_lossy(&drawn).into_owned()
    }
}

#[test]
fn the_terminal_is_as_it_was_whatever_ends_the_view() {
    let node = ready_node();
    for end in ["q", "\x03", "TERM", "HUP"] {
        let mut terminal = Terminal::new();
        let view = top(&node, &[])
            .stdin(terminal.end())
            .stdout(terminal.end())
            .start();
        let drawn = terminal.read_to("q quits");
        assert!(terminal.is_raw(), "it is taken");
        assert!(
            drawn.contains("\x1b[?1049h") && drawn.contains("node-0"),
            "{drawn:?}"
        );
        match end {
            "TERM" | "HUP" => view.signal(end),
            key => terminal.person.write_all(key.as_bytes()).expect("it takes keys"),
        }
        terminal.read_to("\x1b[?25h\x1b[?1049l");
        let ended = view.wait();
        assert_eq!(
            (ended.status.code(), ended.err.as_str()),
            (Some(0), ""),
            "{end:?}"
        );
        assert!(!terminal.is_raw(), "{end:?}: it is given back");
    }
}

#[test]
fn the_view_fits_the_terminal_and_sorts_as_is_wanted() {
    let node = ready_node();
    let mut terminal = Terminal::new();
    let view = top(&node, &[])
        .stdin(terminal.end())
        .stdout(terminal.end())
        .start();
    let drawn = terminal.read_to("q quits");
    assert!(
        !drawn.contains("DISK"),
        "60 columns have no room for the last one: {drawn:?}"
    );
    let size = Winsize {
        ws_row: 12,
        ws_col: 160,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal.person, size).expect("it is a terminal");
    view.signal("WINCH");
    terminal.read_to("DISK");
    terminal.person.write_all(b"rq").expect("it takes keys");
    terminal.read_to("\x1b[?1049l");
    assert_eq!(view.wait().status.code(), Some(0));
}
