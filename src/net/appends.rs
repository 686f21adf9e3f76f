//! The server of appends: streams of them, on connections that carry nothing else.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use prost::Message;
use slog::debug;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tonic::{Status, transport::server::Connected};

use super::{
    acquaintance::Acquaintance,
    connection::{Connection, Ends, GREETING_WITHIN},
    context::Context,
    peers::{Gate, PeerServing, Said},
    services::peer::{answered, check_log, unusable, welcome},
};
use crate::{
    actors::peer::Incarnation,
    consensus::{
        appends::{Answering, AppendAnswers, AppendServer, Wire, WireError, greeting},
        codec::{self, CodecError},
        messages::AppendRequest,
    },
    error::causes,
    proto::peer,
    types::NodeId,
};

/// Serves appends on the connections that come. Those end when this is dropped.
pub(super) async fn serve(
    serving: PeerServing,
    context: Arc<Context>,
    gate: Gate,
    mut incoming: mpsc::Receiver<io::Result<Connection>>,
) {
    let mut open = JoinSet::new();
    while let Some(connection) = incoming.recv().await {
        // Those that have ended. One that panicked is told of by whoever hears of panics.
        while open.try_join_next().is_some() {}
        let Ok(connection) = connection else { continue };
        let log = context.parts.log.clone();
        let served = serve_one(connection, serving.clone(), Arc::clone(&context), gate.clone());
        open.spawn(async move {
            if let Err(error) = served.await {
                debug!(log, "a connection of appends ended"; "why" => causes(&error));
            }
        });
    }
}

async fn serve_one(
    connection: Connection,
    serving: PeerServing,
    context: Arc<Context>,
    gate: Gate,
) -> Result<(), WireError> {
    let ends = connection.connect_info();
    let mut wire = Wire::new(connection, greeting::GREETING_BYTES_MAX);
    let heard = timeout(GREETING_WITHIN, greeting::hear(&mut wire)).await;
    let hello = heard.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))?;
    let said = said(&hello);
    match gate.admit(Some(&said), Some(&ends), Acquaintance::Stranger) {
        Ok(caller) => {
            serving.replicators.nudge(caller.0);
            greeting::welcome(&mut wire, welcome(&serving.identity)).await?;
        }
        Err(status) => return greeting::refuse(&mut wire, &status).await,
    }
    let streams = Streams {
        serving,
        context,
        gate,
        said,
        ends,
    };
    Answering::new(wire, streams).await
}

fn said(hello: &peer::AppendsHello) -> Said {
    let cluster = hello.cluster_id.iter().take(32);
    Said {
        cluster: cluster.map(|byte| format!("{byte:02x}")).collect(),
        from: NodeId(hello.from_node),
        incarnation: Incarnation(hello.from_incarnation),
        to: NodeId(hello.to_node),
    }
}

/// The streams of one connection.
#[derive(Debug)]
struct Streams {
    serving: PeerServing,
    context: Arc<Context>,
    gate: Gate,
    said: Said,
    ends: Ends,
}

impl AppendServer for Streams {
    fn read(&self, request: Bytes) -> Result<AppendRequest, Status> {
        let request = peer::AppendRequest::decode(request).map_err(|source| {
            unusable(CodecError::Undecodable {
                message: "append",
                source,
            })
        })?;
        check_log(&request.log)?;
        codec::decode_append_request(request).map_err(unusable)
    }

    fn begin(&mut self, requests: BoxStream<'static, AppendRequest>) -> Result<AppendAnswers, Status> {
        // A leader that is new to this node is no member that it has read of.
        self.gate
            .admit(Some(&self.said), Some(&self.ends), Acquaintance::Known)?;
        let handler = self.serving.handlers.get();
        let handler = answered(handler)?;
        let read_path = self.context.parts.read_path.clone();
        let answers = handler.stream_append(requests).map(move |result| {
            let mut response = codec::append_result(answered(result)?);
            response.commits_awaited = read_path.is_waited_on();
            Ok(response)
        });
        Ok(answers.boxed())
    }
}
