//! `annals produce`: what is stored, and what it says about it.

use std::{io::Write, process::Command};

use annals::proto::raw::annals::v1::Failure;
use tonic::Code;

use crate::support::{Program, Server, odd_lines, wait_until};

fn refusal(code: Code, reason: &str, retry_after_ms: u64) -> Option<Failure> {
    Some(Failure {
        code: code as i32,
        reason: reason.to_owned(),
        message: "not now".to_owned(),
        retry_after_ms,
        ..Default::default()
    })
}

#[test]
fn each_line_is_stored_as_the_bytes_it_is() {
    let server = Server::start();
    let lines = odd_lines(5_000);
    let ended = Program::new(&format!("produce --addr {} --batch 77", server.addr()))
        .run(&lines)
        .done();
    assert_eq!(ended.text(), "5001 records at offsets 0..5001\n");
    assert!(server.values() == lines, "other bytes were stored");
}

#[test]
fn a_file_is_stored_behind_what_is_there() {
    let server = Server::start();
    server.append(&["before"], 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a\nb\n").unwrap();
    let args = format!(
        "produce --addr {} -o json --file {}",
        server.addr(),
        file.path().display()
    );
    let ended = Program::new(&args).run(b"").done();
    let wanted = r#"{"records":2,"first_offset":1,"next_offset":3,"contiguous":true}"#;
    assert_eq!(ended.text().trim_end(), wanted);
    assert_eq!(server.values(), b"before\na\nb");
}

#[test]
fn no_input_is_no_record() {
    let server = Server::start();
    let ended = Program::new(&format!("produce --addr {}", server.addr()))
        .run(b"")
        .done();
    assert_eq!(ended.text(), "no records\n");
    assert_eq!(server.high_watermark(), 0);
}

#[test]
fn a_line_does_not_wait_for_the_next_one() {
    let server = Server::start();
    let mut child = Program::new(&format!("produce --addr {}", server.addr())).start();
    let mut stdin = child.stdin.take().unwrap();
    for (line, count) in ["one\n", "two\n", "three\n"].into_iter().zip(1..) {
        stdin.write_all(line.as_bytes()).unwrap();
        wait_until("the line is stored", || server.high_watermark() == count);
    }
    stdin.write_all(b"the end").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "4 records at offsets 0..4\n"
    );
    assert_eq!(server.values(), b"one\ntwo\nthree\nthe end");
}

#[test]
fn what_is_refused_for_a_moment_is_sent_again() {
    let server = Server::start();
    server.refuse([
        refusal(Code::ResourceExhausted, "OVERLOADED", 1),
        None,
        refusal(Code::Unavailable, "NO_LEADER", 1),
        refusal(Code::Unknown, "OUTCOME_UNKNOWN", 0),
    ]);
    let lines = odd_lines(100);
    let ended = Program::new(&format!("produce --addr {} --batch 10", server.addr()))
        .run(&lines)
        .done();
    assert_eq!(ended.text(), "101 records at offsets 0..101\n");
    assert!(server.values() == lines, "other bytes were stored");
}

#[test]
fn a_refusal_says_what_is_safe_and_how_to_go_on() {
    let server = Server::start();
    let no = || refusal(Code::Aborted, "FENCED", 0);
    server.refuse([
        None,
        None,
        no(),
        no(),
        no(),
        no(),
        no(),
        no(),
        no(),
        no(),
        no(),
        no(),
        no(),
        no(),
        no(),
        no(),
    ]);
    let lines = odd_lines(99);
    let directory = tempfile::tempdir().unwrap();
    // A name that a shell would take apart.
    let file = directory.path().join("it's the input");
    std::fs::write(&file, &lines).unwrap();
    let args = format!("produce --addr {} --batch 10 --file", server.addr());
    let ended = Program::new(&args).arg(&file).run(b"");
    assert_eq!((ended.code, ended.text()), (6, ""));
    let error = "error: not now; acknowledged: 20 records at offsets 0..20; the rest is not\n";
    assert!(ended.err.starts_with(error), "{}", ended.err);

    // The hint is a command line that, pasted as it stands, stores the rest where the beginning is.
    let (_, hint) = ended.err.split_once("hint: `").expect("it says how to go on");
    let (command, _) = hint.split_once('`').expect("the command ends");
    server.take_all();
    let ended = Program::pasted(command).run(b"").done();
    assert_eq!(ended.text(), "80 records at offsets 20..100\n");
    assert!(server.values() == lines, "other bytes were stored");
}

#[test]
fn a_node_that_does_not_answer_is_given_up() {
    // Connections wait in its backlog; nobody takes them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap();
    let ended = Program::new(&format!("produce --addr {addr} --timeout 200ms")).run(b"a\n");
    assert_eq!((ended.code, ended.text()), (3, ""));
    assert!(
        ended.err.starts_with(&format!("error: no answer from {addr}")),
        "{}",
        ended.err
    );
}

#[test]
fn an_interrupt_says_what_is_safe() {
    let server = Server::start();
    let mut child = Program::new(&format!("produce --addr {}", server.addr())).start();
    let mut stdin = child.stdin.take().unwrap();
    // No more than 16 requests are in flight, so the first ones are acknowledged when the last one is stored.
    for stored in 1..=20 {
        stdin.write_all(b"a\n").unwrap();
        wait_until("the line is stored", || server.high_watermark() == stored);
    }
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.starts_with("error: interrupted; acknowledged: "), "{text}");
    assert!(text.contains(" at offsets 0.."), "{text}");
    drop(stdin);
}

#[test]
fn skipping_more_lines_than_there_are_is_an_error() {
    let server = Server::start();
    let args = format!("produce --addr {} --producer-id 7 --skip 3", server.addr());
    let ended = Program::new(&args).run(b"a\nb");
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .err
            .starts_with("error: the input has only 2 lines, 3 were to be skipped\n"),
        "{}",
        ended.err
    );
}

#[test]
fn a_producer_that_the_node_forgot_goes_on_as_a_new_one() {
    let server = Server::start();
    server.refuse([None, refusal(Code::FailedPrecondition, "UNKNOWN_PRODUCER", 0)]);
    let ended = Program::new(&format!("produce --addr {} --batch 1", server.addr()))
        .run(b"a\nb\nc\n")
        .done();
    assert_eq!(ended.text(), "3 records at offsets 0..3\n");
    assert_eq!(server.values(), b"a\nb\nc");
}
