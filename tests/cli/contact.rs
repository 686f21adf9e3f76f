//! What takes connections and is no node.

use std::net::TcpListener;

use crate::support::Program;

/// The story: it was said that it does not speak as a node does, as though another program were there; of a node that hung, too.
#[test]
fn a_listener_that_never_answers_is_given_up_within_the_timeout() {
    // The system takes the connections; nobody ever reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap();
    for verb in ["consume", "consume --follow", "produce", "log describe"] {
        let ended = Program::new(&format!("{verb} --addr {addr} --timeout 200ms")).run(b"a");
        assert_eq!(ended.code, 3, "{verb}: {}", ended.err);
        let said = ended.err;
        assert!(
            said.contains(&format!(
                "no answer from {addr} for 200ms: it took the connection, and says nothing"
            )),
            "{verb}: {said}"
        );
        assert!(said.contains("is that its port for clients?"), "{verb}: {said}");
    }
}

/// The story: of a node that hung it was said that it does not speak as a node does, as though another program were there.
#[test]
fn of_a_listener_that_never_answers_health_says_that_it_took_the_connection() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap();
    let ended = Program::new(&format!("health --addr {addr} --timeout 200ms")).run(b"");
    let wanted = format!("no answer from {addr} for 200ms: it took the connection, and says nothing");
    assert!(ended.err.contains(&wanted), "{}", ended.err);
    assert_eq!(ended.code, 3);
}
