//! Limits that are changed between two runs, and what a process holds for its clients.

use std::{fs, net::TcpStream, time::Duration};

use annals::proto::annals::v1::{
    ConsumeRequest, ProduceRequest, Record, RecordSet, log_service_client::LogServiceClient,
};
use tokio::time::{interval, timeout};
use tonic::transport::Channel;

use crate::support::{DEADLINE, Node, annals, configuration, line_with, resident_bytes};

#[test]
fn what_was_stored_under_a_larger_limit_is_read_back_under_a_smaller_one() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let config = configuration(&data, "127.0.0.1:0");
    let small = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{small}[log]\nbatch_bytes_max = \"8MiB\"\n")).unwrap();
    let node = Node::start(&config);
    let input = format!("first\n{}\nlast\n", "b".repeat(7_000_000));
    annals()
        .args(["produce", "--addr", &node.rpc])
        .run_with(&input)
        .done();
    node.process.stop();

    fs::write(&config, small).unwrap();
    let node = Node::start(&config);
    let found = annals().args(["consume", "--addr", &node.rpc]).run().text();
    assert!(
        found == input,
        "{} bytes came back of {}",
        found.len(),
        input.len()
    );
}

/// The story: of a file with one line that was too large it was said that the records are, and not which.
#[test]
fn a_line_that_is_too_large_is_named_by_its_number() {
    let temp = tempfile::tempdir().unwrap();
    let config = configuration(&temp.path().join("data"), "127.0.0.1:0");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}[log]\nbatch_bytes_max = \"64KiB\"\n")).unwrap();
    let node = Node::start(&config);
    let long = "l".repeat(70_000);
    let file = temp.path().join("input");
    fs::write(&file, format!("first\nsecond\n{long}\nlast\n")).unwrap();
    let produce = |more: &[&str]| {
        let produce = annals().args(["produce", "--addr", &node.rpc, "--file"]);
        produce.arg(&file).args(more).run()
    };
    // The lines before it are stored, and a request that has it among others names them all.
    let ended = produce(&["--batch", "1"]);
    let said = ended.err;
    assert!(
        said.starts_with("error: line 3: the records have 70008 bytes, and a request may have 65536"),
        "{said}"
    );
    let said = produce(&["--batch", "2"]).err;
    assert!(
        said.starts_with("error: lines 3 to 4, which were sent together (--batch): the records have"),
        "{said}"
    );
    // Of a part that is left out the numbers count too.
    let ended = produce(&["--producer-id", "7", "--skip", "2"]);
    let said = ended.err;
    assert!(said.starts_with("error: lines 3 to 4, "), "{said}");
}

/// The node is a process of its own: among other tests, what those held was counted too.
#[tokio::test]
async fn consumers_that_never_read_hold_a_chunk_or_two_each() {
    const CHUNK_BYTES: usize = 256 << 10;
    let temp = tempfile::tempdir().unwrap();
    let config = configuration(&temp.path().join("data"), "127.0.0.1:0");
    let shipped = fs::read_to_string(&config).unwrap();
    // What is in the cache is shared by all, and costs nothing: it is to hold little of the log.
    fs::write(&config, format!("{shipped}[log]\ntail_cache_bytes = \"1MiB\"\n")).unwrap();
    let node = Node::start(&config);
    node.wait_until_ready();
    let uri = format!("http://{}", node.rpc);
    let mut producer = LogServiceClient::connect(uri.clone()).await.unwrap();
    let record = Record {
        value: vec![b'x'; 1000].into(),
        ..Record::default()
    };
    let request = ProduceRequest {
        records: Some(RecordSet {
            records: vec![record; 100],
        }),
        ..ProduceRequest::default()
    };
    for _ in 0..160 {
        producer.produce(request.clone()).await.unwrap();
    }
    let before = resident_bytes(&node);
    let mut idle = Vec::new();
    for _ in 0..128 {
        // As little as HTTP/2 allows is on the way.
        let channel = Channel::from_shared(uri.clone())
            .unwrap()
            .initial_stream_window_size(65_535)
            .initial_connection_window_size(65_535);
        let mut consumer = LogServiceClient::new(channel.connect().await.unwrap());
        let request = ConsumeRequest::default();
        idle.push(consumer.consume_stream(request).await.unwrap());
    }
    let stops_growing = async {
        let mut beat = interval(Duration::from_millis(100));
        let mut last = 0;
        loop {
            beat.tick().await;
            let now = resident_bytes(&node);
            if now <= last {
                break;
            }
            last = now;
        }
    };
    timeout(DEADLINE, stops_growing).await.unwrap();
    // The log has 16 MB: without a bound these consumers would hold 2 GB.
    let held = resident_bytes(&node).saturating_sub(before) / idle.len();
    println!("{held} bytes for each consumer");
    assert!(held < 3 * CHUNK_BYTES, "{held} bytes for each consumer");
    node.process.stop();
}

/// Lines of a node's log about connections to `address` that could not be accepted.
fn troubles(text: &str, address: &str) -> Vec<String> {
    let at = format!("\"address\":\"{address}\"");
    let is_one = |line: &&str| line.contains("cannot accept a connection") && line.contains(&at);
    text.lines().filter(is_one).map(str::to_owned).collect()
}

/// It was a line every 50 ms, for as long as file descriptors were short, and none said what helps.
#[test]
fn connections_that_cannot_be_accepted_are_told_ever_more_rarely_and_with_the_remedy() {
    let temp = tempfile::tempdir().unwrap();
    let node = Node::start_with_open_files(&configuration(&temp.path().join("data"), "127.0.0.1:0"), 64);
    node.wait_until_ready();
    let err = &node.process.err;
    let warned = err.wait_for("a warning", |text| line_with(text, "too few file descriptors"));
    let needed = format!("\"descriptors_needed\":{}", 1024 + 512 + 320);
    assert!(
        warned.contains("\"descriptors\":64") && warned.contains(&needed),
        "{warned}"
    );

    // Silent ones at the listener for probes, which takes 64, and one of a client for which no descriptor is left.
    let silent: Vec<_> = (0..64)
        .map(|_| TcpStream::connect(&node.admin).unwrap())
        .collect();
    err.wait_for("no descriptor is left", |text| {
        line_with(text, "cannot accept a connection")
    });
    let client = TcpStream::connect(&node.rpc).unwrap();
    let lines = err.wait_for("the client to be tried again and again", |text| {
        let lines = troubles(text, &node.rpc);
        lines.last()?.contains("\"failures\":16").then_some(lines)
    });
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(lines[0].contains("LimitNOFILE"), "{lines:#?}");

    drop((silent, client));
    err.wait_for("it to be over", |text| {
        let over = text
            .lines()
            .filter(|line| line.contains("connections are accepted again"));
        over.into_iter()
            .find(|line| line.contains(&node.rpc))
            .map(str::to_owned)
    });
    annals()
        .args(["produce", "--addr", &node.rpc])
        .run_with("one\n")
        .done();
    node.process.stop();
}

/// The story: it ended with 1, as though something had failed.
#[test]
fn a_change_of_who_is_no_node_is_not_found() {
    let temp = tempfile::tempdir().unwrap();
    let node = Node::start(&configuration(&temp.path().join("data"), "127.0.0.1:0"));
    node.wait_until_ready();
    for verb in ["remove", "add", "transfer-leader"] {
        let ended = annals()
            .args(["cluster", verb, "nobody", "--addr", &node.rpc])
            .run();
        let said = ended.refused(4);
        assert!(
            said.starts_with("error: there is no node \"nobody\"; there is node-0"),
            "{verb}: {said}"
        );
        assert!(
            said.contains("\nhint: `annals cluster servers`"),
            "{verb}: {said}"
        );
    }
}
