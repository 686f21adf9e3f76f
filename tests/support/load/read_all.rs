//! Final states: all that a node has.

use annals::proto::annals::v1::{
    ConsumeRequest, DescribeLogRequest, Start, log_service_client::LogServiceClient, start::Position,
};
use tonic::{Code, Status, transport::Channel};

use super::{
    Nodes,
    caller::Refused,
    consume::{at, level_of, records_of},
    pace,
};
use crate::support::{
    log_checker::{Contents, Level, Node, Notes, Recorder},
    node::{TestNode, in_time},
};

/// Reads all that a node has, notes it, and says how many records that is.
pub(crate) async fn read_all(node: &TestNode, recorder: &Recorder) -> u64 {
    let notes = recorder.client("full read");
    read_until_whole(
        &node.client(),
        &Node::new(super::ONLY_NODE, 0),
        Level::Linearizable,
        &notes,
    )
    .await
}

/// The same for one of several nodes. `level` other than `Local`: it has to have all that is acknowledged anywhere.
pub(crate) async fn read_all_of(nodes: &Nodes, name: &str, level: Level, recorder: &Recorder) -> u64 {
    let members = nodes.members();
    let member = members.iter().find(|member| &*member.node.name == name);
    let member = member.unwrap_or_else(|| panic!("there is no {name} among {members:?}"));
    let notes = recorder.client(format!("full read of {name}"));
    read_until_whole(&member.client(0), &member.node, level, &notes).await
}

/// The same for all nodes that run, one after the other; answers how many records the last one has.
pub(crate) async fn read_all_running(nodes: &Nodes, recorder: &Recorder) -> u64 {
    let mut count = 0;
    for name in nodes.running() {
        count = read_all_of(nodes, &name, Level::Linearizable, recorder).await;
    }
    count
}

async fn read_until_whole(
    client: &LogServiceClient<Channel>,
    node: &Node,
    level: Level,
    notes: &Notes,
) -> u64 {
    let mut pace = pace();
    let contents = async {
        loop {
            pace.tick().await;
            match try_read_all(client.clone(), node, level, notes).await {
                Ok(contents) => return contents,
                Err(status) => {
                    // Retention was faster, or there is no leader now; the next time may be better.
                    let reason = Refused::from(&status).reason;
                    let may_end = reason == "OFFSET_OUT_OF_RANGE"
                        || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
                    assert!(may_end, "{node:?}: {status:?}");
                }
            }
        }
    };
    let contents = in_time(&format!("all records of {node:?}"), contents).await;
    let count = contents.records.len() as u64;
    notes.contents(contents);
    count
}

async fn try_read_all(
    mut client: LogServiceClient<Channel>,
    node: &Node,
    level: Level,
    notes: &Notes,
) -> Result<Contents, Status> {
    let began = notes.now();
    // Once this is answered the node itself has all that the level asks for.
    let end = ConsumeRequest {
        start: Some(Start {
            position: Some(Position::Latest(true)),
        }),
        read_level: level_of(level),
        ..ConsumeRequest::default()
    };
    client.consume(end).await?;
    let described = client
        .describe_log(DescribeLogRequest::default())
        .await?
        .into_inner();
    let mut contents = Contents {
        node: node.clone(),
        level,
        began,
        ended: began,
        earliest: described.earliest,
        high_watermark: described.high_watermark,
        records: [].into(),
    };
    if described.earliest == described.high_watermark {
        return Ok(contents);
    }
    let request = ConsumeRequest {
        start: at(described.earliest),
        end_offset: Some(described.high_watermark),
        ..ConsumeRequest::default()
    };
    let mut responses = client.consume_stream(request).await?.into_inner();
    let mut records = Vec::new();
    while let Some(response) = responses.message().await? {
        records.extend(records_of(response.batches).0);
    }
    contents.records = records.into();
    Ok(contents)
}
