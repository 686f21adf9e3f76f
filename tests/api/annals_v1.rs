//! `annals.v1.LogService`: the unary calls.

use annals::proto::annals::v1::{
    self, ConsumeRequest, DescribeLogRequest, ProduceRequest, ReadLevel, start::Position,
};
use tonic::{Code, Request};

use crate::support::{
    answered_at_the_deadline, code_and_reason, from, node, records, request, staged_node, stamped, told,
    within,
};

fn values(values: &[&str], first: u64) -> Vec<(u64, String)> {
    (first..)
        .zip(values.iter().map(|value| (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn records_come_back_as_they_were_sent() {
    let node = node().await;
    let mut client = node.full().await;
    let header = |name: &str, value: &'static [u8]| v1::Header {
        name: name.to_owned(),
        value: value.into(),
    };
    let record = v1::Record {
        value: vec![0, 255, 1].into(),
        r#type: 3,
        key: "key".into(),
        headers: vec![header("a", b"1"), header("a", b"2")],
        timestamp_ms: Some(0),
    };
    let sent = v1::RecordSet {
        records: vec![record.clone(), v1::Record::default(), record],
    };
    let request = ProduceRequest {
        records: Some(sent.clone()),
        ..ProduceRequest::default()
    };
    let produced = client.produce(request).await.unwrap().into_inner();
    assert_eq!(
        (produced.first_offset, produced.next_offset, produced.requests),
        (0, 3, 1)
    );
    assert!(!produced.repeated && produced.failure.is_none());

    let consumed = client
        .consume(ConsumeRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(consumed.next_offset, 3);
    assert_eq!(consumed.batches.len(), 1);
    let batch = &consumed.batches[0];
    assert_eq!(
        (batch.base_offset, batch.record_count, batch.term),
        (0, 3, node.term)
    );
    assert_eq!(batch.records, Some(sent));
}

#[tokio::test]
async fn every_response_says_who_answers_and_what_it_knows() {
    let node = node().await;
    let mut client = node.full().await;
    let expected = |high_watermark| {
        Some(v1::ResponseHeader {
            cluster_id: node.cluster_id.clone(),
            node_id: node.node_id,
            leader_id: node.node_id,
            term: node.term,
            high_watermark,
        })
    };
    let produced = client.produce(request(&["a", "b"])).await.unwrap().into_inner();
    assert_eq!(produced.header, expected(2));
    let consumed = client
        .consume(ConsumeRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(consumed.header, expected(2));
    let described = client
        .describe_log(DescribeLogRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(described.header, expected(2));
    let mut streamed = client
        .consume_stream(ConsumeRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        within(streamed.message()).await.unwrap().unwrap().header,
        expected(2)
    );
    let requests = futures::stream::iter([request(&["c"])]);
    let mut acks = client.produce_stream(requests).await.unwrap().into_inner();
    assert_eq!(within(acks.message()).await.unwrap().unwrap().header, expected(3));
}

#[tokio::test]
async fn a_failed_condition_is_an_error_that_names_the_next_offset() {
    let node = node().await;
    let mut client = node.full().await;
    let at = |expected_offset, values: &[&str]| ProduceRequest {
        expected_offset: Some(expected_offset),
        ..request(values)
    };
    client.produce(at(0, &["a", "b"])).await.unwrap();
    let status = client.produce(at(1, &["c"])).await.unwrap_err();
    let (code, reason, metadata) = told(&status);
    assert_eq!((code, reason.as_str()), (Code::Aborted, "CONDITION_FAILED"));
    assert_eq!(metadata["next_offset"], "2");
    assert_eq!(
        client
            .produce(at(2, &["c"]))
            .await
            .unwrap()
            .into_inner()
            .first_offset,
        2
    );
}

#[tokio::test]
async fn a_repeated_request_is_a_success_with_the_original_offsets() {
    let node = node().await;
    let mut client = node.full().await;
    client.produce(stamped(0, 1, &["a", "b"])).await.unwrap();
    client.produce(request(&["between"])).await.unwrap();
    let again = client
        .produce(stamped(0, 1, &["a", "b"]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (again.first_offset, again.next_offset, again.repeated),
        (0, 2, true)
    );
    assert_eq!(
        again.header.unwrap().high_watermark,
        3,
        "nothing was stored twice"
    );
}

#[tokio::test]
async fn a_producer_out_of_order_unknown_or_fenced_is_refused() {
    let node = node().await;
    let mut client = node.full().await;
    let unknown = client.produce(stamped(5, 1, &["x"])).await.unwrap_err();
    assert_eq!(
        code_and_reason(&unknown),
        (Code::FailedPrecondition, "UNKNOWN_PRODUCER".to_owned())
    );
    client.produce(stamped(0, 1, &["a"])).await.unwrap();
    let gap = client.produce(stamped(2, 1, &["c"])).await.unwrap_err();
    let (code, reason, metadata) = told(&gap);
    assert_eq!((code, reason.as_str()), (Code::Aborted, "OUT_OF_ORDER"));
    assert_eq!(metadata["expected_sequence"], "1");
    client.produce(stamped(0, 2, &["new instance"])).await.unwrap();
    let fenced = client.produce(stamped(1, 1, &["b"])).await.unwrap_err();
    let (code, reason, metadata) = told(&fenced);
    assert_eq!((code, reason.as_str()), (Code::Aborted, "FENCED"));
    assert_eq!(metadata["current_epoch"], "2");
}

#[tokio::test]
async fn requests_that_are_not_well_formed_are_refused() {
    let node = node().await;
    let mut client = node.full().await;
    let without_id = v1::Producer {
        id: 0,
        epoch: 0,
        sequence: 0,
    };
    let none: [&str; 0] = [];
    let cases = [
        (
            ProduceRequest::default(),
            Code::InvalidArgument,
            "INVALID_REQUEST",
        ),
        (request(&none), Code::InvalidArgument, "INVALID_REQUEST"),
        (
            ProduceRequest {
                producer: Some(without_id),
                ..request(&["a"])
            },
            Code::InvalidArgument,
            "INVALID_REQUEST",
        ),
        (
            ProduceRequest {
                log: "other".to_owned(),
                ..request(&["a"])
            },
            Code::NotFound,
            "UNKNOWN_LOG",
        ),
        (
            request(&["x".repeat(2 << 20)]),
            Code::InvalidArgument,
            "RECORD_TOO_LARGE",
        ),
    ];
    for (request, code, reason) in cases {
        let status = client.produce(request).await.unwrap_err();
        assert_eq!(code_and_reason(&status), (code, reason.to_owned()));
    }
    let named = ProduceRequest {
        log: "default".to_owned(),
        ..request(&["a"])
    };
    assert_eq!(client.produce(named).await.unwrap().into_inner().first_offset, 0);
}

#[tokio::test]
async fn a_read_begins_where_it_is_asked_to() {
    let node = staged_node().await;
    let mut client = node.full().await;
    // The test's clock gives the n-th entry the time 1000 + n.
    for values in [["0", "1"], ["2", "3"], ["4", "5"]] {
        client.produce(request(&values)).await.unwrap();
    }
    let cases = [
        (Position::Offset(3), vec!["3", "4", "5"]),
        (Position::Offset(6), vec![]),
        (Position::Earliest(true), vec!["0", "1", "2", "3", "4", "5"]),
        (Position::Latest(true), vec![]),
        (Position::FromEnd(1), vec!["5"]),
        (Position::FromEnd(100), vec!["0", "1", "2", "3", "4", "5"]),
        (Position::TimestampMs(1002), vec!["2", "3", "4", "5"]),
        (Position::TimestampMs(9999), vec![]),
    ];
    for (position, expected) in cases {
        let response = client.consume(from(position)).await.unwrap().into_inner();
        let first = 6 - expected.len() as u64;
        assert_eq!(records(&response), values(&expected, first), "{position:?}");
        assert_eq!(response.next_offset, 6, "{position:?}");
    }
    let ahead = client.consume(from(Position::Offset(7))).await.unwrap_err();
    assert_eq!(told(&ahead).0, Code::OutOfRange);
}

#[tokio::test]
async fn a_read_stops_where_it_is_asked_to() {
    let node = node().await;
    let mut client = node.full().await;
    for values in [["00", "11"], ["22", "33"], ["44", "55"]] {
        client.produce(request(&values)).await.unwrap();
    }
    // Each record takes 6 bytes in its set: tag, length, tag, length, two of value.
    let base = from(Position::Offset(1));
    let cases = [
        (
            ConsumeRequest {
                records_max: 2,
                ..base.clone()
            },
            vec!["11", "22"],
        ),
        (
            ConsumeRequest {
                bytes_max: 18,
                ..base.clone()
            },
            vec!["11", "22", "33"],
        ),
        (
            ConsumeRequest {
                bytes_max: 17,
                ..base.clone()
            },
            vec!["11", "22"],
        ),
        (
            ConsumeRequest {
                bytes_max: 1,
                ..base.clone()
            },
            vec!["11"],
        ),
        (
            ConsumeRequest {
                end_offset: Some(3),
                ..base.clone()
            },
            vec!["11", "22"],
        ),
        (
            ConsumeRequest {
                end_offset: Some(0),
                ..base.clone()
            },
            vec![],
        ),
    ];
    for (request, expected) in cases {
        let response = client.consume(request.clone()).await.unwrap().into_inner();
        assert_eq!(records(&response), values(&expected, 1), "{request:?}");
        let mut streamed = Vec::new();
        let mut stream = client.consume_stream(request.clone()).await.unwrap().into_inner();
        while let Some(response) = within(stream.message()).await.unwrap() {
            streamed.extend(records(&response));
        }
        assert_eq!(streamed, values(&expected, 1), "{request:?}");
    }
}

#[tokio::test]
async fn a_unary_read_does_not_follow_and_knows_its_levels() {
    let node = node().await;
    let mut client = node.full().await;
    let follow = ConsumeRequest {
        follow: true,
        ..ConsumeRequest::default()
    };
    assert_eq!(
        client.consume(follow).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let nonsense = ConsumeRequest {
        read_level: 99,
        ..ConsumeRequest::default()
    };
    assert_eq!(
        client.consume(nonsense).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    client.produce(request(&["a"])).await.unwrap();
    for level in [
        ReadLevel::Unspecified,
        ReadLevel::Linearizable,
        ReadLevel::Lease,
        ReadLevel::Local,
    ] {
        let request = ConsumeRequest {
            read_level: level.into(),
            ..ConsumeRequest::default()
        };
        let response = client.consume(request).await.unwrap().into_inner();
        assert_eq!(records(&response), values(&["a"], 0), "{level:?}");
    }
}

#[tokio::test]
async fn a_read_waits_until_its_minimum_offset_is_there() {
    let node = node().await;
    let mut client = node.full().await;
    let request_at = ConsumeRequest {
        min_offset: 2,
        read_level: ReadLevel::Local.into(),
        ..ConsumeRequest::default()
    };
    let mut reader = node.full().await;
    let waiting = tokio::spawn(async move { reader.consume(request_at).await });
    client.produce(request(&["a"])).await.unwrap();
    client.produce(request(&["b"])).await.unwrap();
    let response = within(waiting).await.unwrap().unwrap().into_inner();
    assert_eq!(records(&response), values(&["a", "b"], 0));

    let impatient = async || {
        let mut consume = Request::new(ConsumeRequest {
            min_offset: 3,
            ..ConsumeRequest::default()
        });
        consume.set_timeout(std::time::Duration::from_millis(600));
        client.clone().consume(consume).await
    };
    let status = answered_at_the_deadline(impatient).await;
    assert_eq!(
        code_and_reason(&status),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned())
    );
}

#[tokio::test]
async fn a_log_is_described_with_its_bounds_and_segments() {
    let node = node().await;
    let mut client = node.full().await;
    for _ in 0..12 {
        client.produce(request(&["x".repeat(900 << 10)])).await.unwrap();
    }
    let log = client
        .describe_log(DescribeLogRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (log.log.as_str(), log.earliest, log.high_watermark, log.tail),
        ("default", 0, 12, 12)
    );
    assert!(log.segments.len() >= 2, "{:?}", log.segments);
    assert_eq!(log.segments.iter().filter(|segment| segment.active).count(), 1);
    assert_eq!(
        log.bytes,
        log.segments.iter().map(|segment| segment.bytes).sum::<u64>()
    );
    assert!(log.failsafe.is_empty());
    let other = DescribeLogRequest {
        log: "other".to_owned(),
    };
    assert_eq!(
        client.describe_log(other).await.unwrap_err().code(),
        Code::NotFound
    );
}
