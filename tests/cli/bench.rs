//! `annals bench`: its figures are about what was really sent and read.

use crate::support::{Program, Server};

fn figures(args: &str) -> serde_json::Value {
    let ended = Program::new(args).run(b"").done();
    serde_json::from_str(ended.text()).expect("it prints JSON")
}

#[test]
fn each_load_sends_the_records_it_reports() {
    let server = Server::start();
    let table = [
        ("--api stream --records 1000", 1_000),
        (
            "--api stream --records 995 --batch 10 --in-flight 25 --producers 3",
            1_000,
        ),
        (
            "--api unary --records 300 --batch 3 --in-flight 10 --threads 2",
            300,
        ),
    ];
    let mut sent = 0;
    for (args, records) in table {
        let report = figures(&format!(
            "bench produce --addr {} --size 100 -o json {args}",
            server.addr()
        ));
        sent += records;
        assert_eq!(report["records"], records, "{args}");
        // The value, and two bytes of key and length each for the value and the record.
        assert_eq!(report["bytes"], records * 104, "{args}");
        assert_eq!(server.high_watermark(), sent, "{args}");
        let quantile = |name: &str| report[name].as_f64().expect("it is a number");
        assert!(
            0.0 < quantile("p50_us") && quantile("p50_us") <= quantile("p999_us"),
            "{report}"
        );
        assert!(quantile("client_cpu_seconds") > 0.0);
    }
    for api in ["stream", "unary"] {
        let report = figures(&format!(
            "bench consume --addr {} -o json --api {api}",
            server.addr()
        ));
        assert_eq!(report["records"], sent, "{api}");
    }
}

#[test]
fn a_load_by_time_ends() {
    let server = Server::start();
    let report = figures(&format!(
        "bench produce --addr {} --seconds 1 -o json",
        server.addr()
    ));
    assert_eq!(report["records"], server.high_watermark());
    assert!(report["seconds"].as_f64().expect("it is a number") >= 1.0);
}

#[test]
fn a_node_without_the_api_is_told_from_one_that_fails() {
    let server = Server::start();
    let ended = Program::new(&format!("bench produce --addr {} --api log.v1", server.addr())).run(b"");
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("hint: is this the address of an Annals node"),
        "{}",
        ended.err
    );
}
