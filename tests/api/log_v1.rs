//! `log.v1.Log`, as clients of the book use it.

use annals::proto::log::v1::{ConsumeRequest, GetServersRequest, ProduceRequest, Record};
use futures::{StreamExt, stream};
use tonic::Code;

use crate::support::{code_and_reason, next, node, options, small_request, staged_node_with, told, within};

#[tokio::test]
async fn a_record_comes_back_with_its_offset_term_and_type() {
    let node = node().await;
    let mut client = node.small().await;
    client.produce(small_request("first")).await.unwrap();
    // What only the server may set is ignored when a client sets it.
    let record = Record {
        value: "second".into(),
        offset: 77,
        term: 88,
        r#type: 5,
    };
    let produced = client
        .produce(ProduceRequest {
            record: Some(record.clone()),
        })
        .await
        .unwrap();
    assert_eq!(produced.into_inner().offset, 1);

    let consumed = client
        .consume(ConsumeRequest { offset: 1 })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        consumed.record,
        Some(Record {
            offset: 1,
            term: node.term,
            ..record
        })
    );
}

#[tokio::test]
async fn an_empty_record_is_a_record_but_a_missing_one_is_not() {
    let node = node().await;
    let mut client = node.small().await;
    let empty = ProduceRequest {
        record: Some(Record::default()),
    };
    assert_eq!(client.produce(empty).await.unwrap().into_inner().offset, 0);
    let missing = client.produce(ProduceRequest { record: None }).await.unwrap_err();
    assert_eq!(
        code_and_reason(&missing),
        (Code::InvalidArgument, "INVALID_REQUEST".to_owned())
    );
    let consumed = client
        .consume(ConsumeRequest { offset: 0 })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        consumed.record,
        Some(Record {
            term: node.term,
            ..Record::default()
        })
    );
}

#[tokio::test]
async fn consuming_past_the_end_is_out_of_range_at_once_and_says_the_bounds() {
    let node = node().await;
    let mut client = node.small().await;
    client.produce(small_request("only")).await.unwrap();
    for offset in [1, 2, u64::MAX] {
        let status = within(client.consume(ConsumeRequest { offset }))
            .await
            .unwrap_err();
        let (code, reason, metadata) = told(&status);
        assert_eq!((code, reason.as_str()), (Code::OutOfRange, "OFFSET_OUT_OF_RANGE"));
        assert_eq!(metadata["earliest"], "0");
        assert_eq!(metadata["high_watermark"], "1");
        assert_eq!(metadata["offset"], offset.to_string());
    }
}

#[tokio::test]
async fn a_stream_of_records_is_answered_by_their_offsets_in_order() {
    let node = node().await;
    let mut client = node.small().await;
    let requests = stream::iter((0..20_000).map(|number| small_request(&format!("record {number}"))));
    let mut answers = client.produce_stream(requests).await.unwrap().into_inner();
    for offset in 0..20_000 {
        assert_eq!(next(&mut answers).await.unwrap().offset, offset);
    }
    assert!(within(answers.next()).await.is_none());

    let mut consumed = client
        .consume_stream(ConsumeRequest { offset: 0 })
        .await
        .unwrap()
        .into_inner();
    for offset in 0..20_000 {
        let record = next(&mut consumed).await.unwrap().record.unwrap();
        assert_eq!(
            (record.offset, record.value),
            (offset, format!("record {offset}").into())
        );
    }
}

#[tokio::test]
async fn many_records_of_a_stream_share_an_entry() {
    let node = node().await;
    let mut client = node.small().await;
    let requests = stream::iter((0..10_000).map(|number| small_request(&format!("{number}"))));
    let answers = client.produce_stream(requests).await.unwrap().into_inner();
    assert_eq!(within(answers.count()).await, 10_000);
    let mut consumer = node.full().await;
    let response = consumer
        .consume(annals::proto::annals::v1::ConsumeRequest::default())
        .await
        .unwrap();
    let batches = response.into_inner().batches;
    assert!(
        batches.len() < 1000,
        "{} entries for 10 000 records",
        batches.len()
    );
}

#[tokio::test]
async fn a_stream_ends_at_a_request_that_is_refused_after_answering_those_before_it() {
    let node = node().await;
    let mut client = node.small().await;
    let requests = [
        small_request("a"),
        small_request("b"),
        ProduceRequest { record: None },
        small_request("c"),
    ];
    let mut answers = client
        .produce_stream(stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(next(&mut answers).await.unwrap().offset, 0);
    assert_eq!(next(&mut answers).await.unwrap().offset, 1);
    assert_eq!(
        next(&mut answers).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    // Nothing behind it was taken.
    assert_eq!(
        client
            .produce(small_request("d"))
            .await
            .unwrap()
            .into_inner()
            .offset,
        2
    );
}

#[tokio::test]
async fn a_consumer_at_the_tail_gets_each_record_as_it_comes() {
    let node = node().await;
    let mut client = node.small().await;
    let mut records = client
        .consume_stream(ConsumeRequest { offset: 0 })
        .await
        .unwrap()
        .into_inner();
    for number in 0..50 {
        client
            .produce(small_request(&format!("record {number}")))
            .await
            .unwrap();
        let record = next(&mut records).await.unwrap().record.unwrap();
        assert_eq!(
            (record.offset, record.value),
            (number, format!("record {number}").into())
        );
    }
}

#[tokio::test]
async fn a_consumer_ahead_of_the_log_waits_until_its_offset_is_there() {
    let node = node().await;
    let mut client = node.small().await;
    let mut records = client
        .consume_stream(ConsumeRequest { offset: 2 })
        .await
        .unwrap()
        .into_inner();
    for value in ["a", "b", "c"] {
        client.produce(small_request(value)).await.unwrap();
    }
    let record = next(&mut records).await.unwrap().record.unwrap();
    assert_eq!((record.offset, record.value), (2, "c".into()));
}

#[tokio::test]
async fn the_servers_are_this_node_which_leads() {
    let node = node().await;
    let mut client = node.small().await;
    let servers = client
        .get_servers(GetServersRequest {})
        .await
        .unwrap()
        .into_inner()
        .servers;
    assert_eq!(servers.len(), 1);
    assert_eq!(servers[0].id, "node-0");
    assert_eq!(servers[0].rpc_addr, node.rpc.to_string());
    assert!(servers[0].is_leader);
}

#[tokio::test]
async fn a_node_that_listens_everywhere_is_where_its_client_reached_it() {
    let mut everywhere = options();
    everywhere.rpc_address.set_ip("0.0.0.0".parse().unwrap());
    let node = staged_node_with(everywhere).await;
    assert!(node.rpc.ip().is_unspecified());
    let servers = node.small().await.get_servers(GetServersRequest {}).await;
    let servers = servers.unwrap().into_inner().servers;
    assert_eq!(servers[0].rpc_addr, format!("127.0.0.1:{}", node.rpc.port()));
}
