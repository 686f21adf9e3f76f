//! Connections that break: nothing is lost, nothing comes twice.

use std::io::{BufRead, BufReader};

use crate::support::{Cut, Program, Proxy, Server, odd_lines, wait_until};

#[test]
fn a_producer_goes_on_over_broken_connections_and_stores_each_line_once() {
    let server = Server::start();
    let cuts = [
        Cut::Up(100_000),
        Cut::Down(400),
        Cut::Up(3_000),
        Cut::Down(150),
        Cut::Up(250_000),
        Cut::Down(1_000),
    ];
    let proxy = Proxy::new(server.addr(), cuts);
    let lines = odd_lines(10_000);
    let ended = Program::new(&format!("produce --addr {} --batch 20", proxy.addr()))
        .run(&lines)
        .done();
    assert_eq!(ended.text(), "10001 records at offsets 0..10001\n");
    assert!(server.values() == lines, "lines are lost, doubled or changed");
    assert_eq!(proxy.cuts_left(), 0);
    assert!(
        server.repeats() > 0,
        "no request was sent twice, so nothing was tested"
    );
}

#[test]
fn a_reader_goes_on_where_the_connection_broke() {
    let server = Server::start();
    let mut lines = odd_lines(10_000);
    Program::new(&format!("produce --addr {} --batch 20", server.addr()))
        .run(&lines)
        .done();
    let proxy = Proxy::new(
        server.addr(),
        [Cut::Down(10_000), Cut::Down(200), Cut::Down(200_000)],
    );
    let consumed = Program::new(&format!("consume --addr {}", proxy.addr()))
        .run(b"")
        .done();
    lines.push(b'\n');
    assert!(consumed.out == lines, "lines are lost, doubled or changed");
    assert_eq!(proxy.cuts_left(), 0);
}

#[test]
fn a_follower_whose_start_was_relative_goes_on_from_there() {
    let server = Server::start();
    server.append(&["a", "b", "c"], 1);
    let proxy = Proxy::new(
        server.addr(),
        [Cut::Down(2_000), Cut::Down(2_000), Cut::Down(2_000)],
    );
    let args = format!("consume --addr {} --from -2 --follow --count 102", proxy.addr());
    let mut child = Program::new(&args).start();
    wait_until("it reads", || server.readers() == 1);
    let out = BufReader::new(child.stdout.take().unwrap());
    let long = |i: usize| format!("{i:0>100}");
    let mut seen = 0;
    for (i, line) in out.lines().enumerate() {
        let wanted = match i {
            0 => "b".to_owned(),
            1 => "c".to_owned(),
            i => long(i - 2),
        };
        assert_eq!(line.unwrap(), wanted);
        seen += 1;
        if (2..102).contains(&seen) {
            server.append(&[&long(seen - 2)], 2);
        }
    }
    assert_eq!((seen, child.wait().unwrap().code()), (102, Some(0)));
    assert_eq!(proxy.cuts_left(), 0);
}

#[test]
fn a_dead_address_is_passed_over() {
    let server = Server::start();
    // Nobody listens on port 1.
    let addrs = format!("127.0.0.1:1,{}", server.addr());
    let produced = Program::new(&format!("produce --addr {addrs}"))
        .run(b"a\nb\n")
        .done();
    assert_eq!(produced.text(), "2 records at offsets 0..2\n");
    let consumed = Program::new(&format!("consume --addr {addrs}")).run(b"").done();
    assert_eq!(consumed.text(), "a\nb\n");
    let nobody = Program::new("consume --addr 127.0.0.1:1,127.0.0.1:2").run(b"");
    assert_eq!(nobody.code, 3);
    assert!(
        nobody.err.contains(
            "no node can be reached: 127.0.0.1:1: connection refused; 127.0.0.1:2: connection refused"
        ),
        "{}",
        nobody.err
    );
}
