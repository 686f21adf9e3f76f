//! Messages that are announced and do not come.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use annals::{net::Options, proto::annals::v1::log_service_client::LogServiceClient};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{TryStreamExt, future::join_all, stream};
use http_body::Frame;
use tonic::{Code, Status, body::Body, transport::Channel};
use tower::Service;

use crate::support::{code_and_reason, options, request, staged_node_with, within};

/// A body that never ends.
struct Endless(Option<Bytes>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.0.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Poll::Pending,
        }
    }
}

/// A message of which the last byte is missing.
fn cut_short(bytes: u32) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(bytes);
    message.put_bytes(0, bytes as usize - 1);
    message.freeze()
}

/// Calls `path` with a body that begins with `message` and never ends; what the call is told.
async fn announce(channel: Channel, path: &str, message: Bytes) -> Code {
    let request = http::Request::post(path).header("content-type", "application/grpc");
    told(channel, request.body(Body::new(Endless(Some(message)))).unwrap())
        .await
        .unwrap()
}

/// What a call is told; `None`: its client gave up before.
async fn told(mut channel: Channel, request: http::Request<Body>) -> Option<Code> {
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let response = channel.call(request).await.ok()?;
    let mut trailers = response.headers().clone();
    let mut body = response.into_body();
    while let Some(frame) =
        std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await
    {
        if let Ok(more) = frame.unwrap().into_trailers() {
            trailers.extend(more);
        }
    }
    Some(Status::from_header_map(&trailers).unwrap().code())
}

#[tokio::test]
async fn messages_that_never_become_whole_end_their_calls_and_give_their_room_back() {
    // The story: a connection whose calls each sent all of a message but its last byte made the node hold all of
    // them, without a bound and for ever.
    let node = staged_node_with(Options {
        receive_bytes: 4 << 20,
        request_timeout: Duration::from_millis(400),
        ..options()
    })
    .await;
    let channel = node.channel().await;
    let message = cut_short(1_000_000);
    let calls: Vec<_> = (0..24)
        .map(|number| {
            let path = ["/annals.v1.LogService/Produce", "/log.v1.Log/Produce"][number % 2];
            tokio::spawn(announce(channel.clone(), path, message.clone()))
        })
        .collect();
    for call in calls {
        let code = within(call).await.unwrap();
        assert!(
            [Code::DeadlineExceeded, Code::ResourceExhausted].contains(&code),
            "{code:?}"
        );
    }
    for path in ["/annals.v1.LogService/ProduceStream", "/log.v1.Log/ProduceStream"] {
        let code = within(announce(channel.clone(), path, message.clone())).await;
        assert_eq!(code, Code::DeadlineExceeded, "{path}");
    }
    // Of the room nothing is lost. Where the machine stands still for as long as one may take, it is sent again.
    let client = node.full().await;
    for _ in 0..8 {
        let whole = request(&["x".repeat(1_000_000)]);
        let stored = async {
            while let Err(late) = client.clone().produce(whole.clone()).await {
                assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
            }
        };
        within(stored).await;
    }
}

#[tokio::test]
async fn large_messages_on_one_connection_do_not_stop_each_other() {
    // The story: what waits for room is not read, and so fills the window of its connection, through which the rest of those
    // messages must come that have the room.
    let node = staged_node_with(Options {
        receive_bytes: 4 << 20,
        ..options()
    })
    .await;
    let channel = node.channel().await;
    let large = request(&["x".repeat(1_000_000)]);
    let unary = (0..32).map(|_| {
        let (mut client, large) = (LogServiceClient::new(channel.clone()), large.clone());
        tokio::spawn(async move { client.produce(large).await.map(drop) })
    });
    let streams = (0..8).map(|_| {
        let (mut client, large) = (LogServiceClient::new(channel.clone()), large.clone());
        tokio::spawn(async move {
            let answers = client.produce_stream(stream::iter(vec![large; 4])).await?;
            answers
                .into_inner()
                .try_for_each(|_| std::future::ready(Ok(())))
                .await
        })
    });
    let calls: Vec<_> = unary.chain(streams).collect();
    let mut done = 0;
    for call in calls {
        // Long before the time that a message may take.
        match within(call).await.unwrap() {
            Ok(()) => done += 1,
            Err(status) => assert_eq!(
                code_and_reason(&status),
                (Code::ResourceExhausted, "OVERLOADED".to_owned())
            ),
        }
    }
    assert!(done > 0, "there was room for some");
}

#[tokio::test]
async fn a_message_that_does_not_come_is_waited_for_no_longer_than_its_client_waits() {
    // The story: a client's time was counted from when its message was whole. One that sent half of it held its room for as long as any
    // request may take, and was answered then.
    let node = staged_node_with(Options {
        request_timeout: Duration::from_secs(600),
        ..options()
    })
    .await;
    let channel = node.channel().await;
    let paths = [
        "/annals.v1.LogService/Produce",
        "/annals.v1.LogService/ConsumeStream",
        "/annals.v1.CursorService/Take",
        "/grpc.health.v1.Health/Check",
    ];
    let sent = [Bytes::new(), cut_short(100), cut_short(100_000)];
    let calls = paths
        .iter()
        .flat_map(|path| sent.iter().map(move |sent| (path, sent)));
    let answers = calls.map(async |(path, sent)| {
        let call = async || {
            let request = http::Request::post(*path)
                .header("content-type", "application/grpc")
                .header("grpc-timeout", "600m");
            let body = Body::new(Endless(Some(sent.clone())));
            told(channel.clone(), request.body(body).unwrap()).await
        };
        // Where the machine stands still for a tenth of a second its client gives up first, and asks again.
        loop {
            if let Some(code) = call().await {
                return (path, code);
            }
        }
    });
    for (path, code) in within(join_all(answers)).await {
        assert_eq!(code, Code::DeadlineExceeded, "{path}");
    }
}
