//! `annals cursor`, and `annals consume --cursor`: where it starts, what it commits, and when it stops.

use std::io::{BufRead, BufReader};

use annals::{
    storage::cursors::CursorCommand,
    types::{LogIndex, Offset},
};

use crate::support::{Ended, Program, Server, wait_until};

/// Lines that are one record each.
const TEN: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

fn ten_records() -> Server {
    let server = Server::start();
    server.append(&TEN, 1_000);
    server
}

fn run(server: &Server, args: &str) -> Ended {
    Program::new(&format!("{args} --addr {}", server.addr())).run(b"")
}

fn lines(from: usize, to: usize) -> String {
    TEN[from..to].iter().map(|line| format!("{line}\n")).collect()
}

fn take(name: &str) -> CursorCommand {
    CursorCommand::Take {
        name: name.parse().expect("it is a name"),
    }
}

#[test]
fn one_consumer_goes_on_where_the_last_one_with_its_name_stopped() {
    let server = ten_records();
    for (args, from, to) in [
        ("--from 2 --count 3", 2, 5),
        ("--from 0 --count 1", 5, 6),
        ("--from earliest", 6, 10),
        ("", 10, 10),
    ] {
        let ended = run(&server, &format!("consume --cursor billing {args}")).done();
        assert_eq!(ended.text(), lines(from, to), "{args}");
        assert_eq!(server.cursor("billing"), Some(to as u64), "{args}");
    }
    let ended = run(&server, "consume --cursor audit --count 1").done();
    assert_eq!((ended.text(), server.cursor("audit")), ("0\n", Some(1)));
}

#[test]
fn what_a_consumer_that_follows_has_written_is_committed_while_it_goes_on() {
    let server = ten_records();
    let args = format!("consume --cursor billing --follow --addr {}", server.addr());
    let mut child = Program::new(&args).start();
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    for wanted in TEN {
        let mut line = String::new();
        out.read_line(&mut line).expect("it prints");
        assert_eq!(line.trim_end(), wanted);
    }
    wait_until("what was written is committed", || {
        server.cursor("billing") == Some(10)
    });
    server.append(&["ten"], 2_000);
    wait_until("what came is committed too", || {
        server.cursor("billing") == Some(11)
    });
    child.kill().expect("it runs");
    child.wait().expect("it can be waited for");
    let ended = run(&server, "consume --cursor billing").done();
    assert_eq!(ended.text(), "", "nothing is written twice that was committed");
}

#[test]
fn a_consumer_whose_cursor_somebody_else_took_stops_and_says_so() {
    let server = ten_records();
    let args = format!("consume --cursor billing --follow --addr {}", server.addr());
    let child = Program::new(&args).start();
    wait_until("it has committed", || server.cursor("billing") == Some(10));
    let newer = server.change_cursor(&take("billing"));
    server.append(&["ten"], 2_000);
    let ended = Ended::from(child.wait_with_output().expect("it can be waited for"));
    assert_eq!(ended.code, 5, "{}", ended.err);
    assert!(
        ended.err.contains("another consumer has taken cursor billing") && ended.err.contains("hint: "),
        "{}",
        ended.err
    );
    assert_eq!(server.cursor("billing"), newer.offset, "it commits no more");
}

#[test]
fn a_cursor_is_shown_listed_moved_and_deleted() {
    let server = ten_records();
    run(&server, "cursor commit audit 4").done();
    let shown = run(&server, "cursor get audit").done();
    let table =
        "cursor  offset  behind  epoch  changed\naudit   4       6       -      2023-11-14T22:13:20Z\n";
    assert_eq!(shown.text(), table);
    server.change_cursor(&take("billing"));
    let listed = run(&server, "cursor list -o json").done();
    let wanted = "{\"cursors\":[\
        {\"name\":\"audit\",\"epoch\":0,\"offset\":4,\"behind\":6,\"changed_ms\":1700000000000},\
        {\"name\":\"billing\",\"epoch\":1000002,\"offset\":null,\"behind\":null,\"changed_ms\":1700000000000}]}\n";
    assert_eq!(listed.text(), wanted);
    let held = run(&server, "cursor commit billing 3");
    assert_eq!(held.code, 5, "{}", held.err);
    assert!(held.err.contains("belongs to whoever took it"), "{}", held.err);
    run(&server, "cursor commit billing 3 --take").done();
    assert_eq!(server.cursor("billing"), Some(3));
    let ahead = run(&server, "cursor commit audit 11");
    assert_eq!(ahead.code, 4, "{}", ahead.err);
    run(&server, "cursor delete audit").done();
    for verb in ["get", "delete"] {
        let gone = run(&server, &format!("cursor {verb} audit"));
        assert_eq!(gone.code, 4, "{}", gone.err);
        assert!(gone.err.contains("there is no cursor audit"), "{}", gone.err);
    }
    let wrong = run(&server, "cursor get a/b");
    assert_eq!(wrong.code, 2, "{}", wrong.err);
    assert!(wrong.err.contains("1 to 128 characters"), "{}", wrong.err);
}

#[test]
fn the_holder_that_goes_back_reads_again() {
    let server = ten_records();
    run(&server, "consume --cursor billing").done();
    let epoch = server.change_cursor(&take("billing")).epoch;
    server.change_cursor(&CursorCommand::Commit {
        name: "billing".parse().expect("it is a name"),
        epoch: LogIndex(epoch),
        offset: Offset(7),
    });
    let ended = run(&server, "consume --cursor billing").done();
    assert_eq!(ended.text(), lines(7, 10));
}
