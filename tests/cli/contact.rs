//! What takes connections and is no node.

use std::net::TcpListener;

use crate::support::Program;

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
            said.contains(&format!("no answer from {addr} for 200ms")),
            "{verb}: {said}"
        );
        assert!(said.contains("is that its port for clients?"), "{verb}: {said}");
    }
}
