//! What bodies hand on, and what they hold meanwhile.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::task::noop_waker_ref;
use http_body::{Body as _, Frame};
use proptest::prelude::*;
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::{
    CLIENT_STREAMS, Calls, ReceiveBudget, SMALL_BYTES_MAX,
    body::Received,
    prefix::{Prefixes, Walked},
};
use crate::net::Options;

const LARGE: usize = 1 << 20;

/// A body whose frames the test sends.
struct Sent(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.0
            .poll_recv(cx)
            .map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

fn budget(receive_bytes: usize, within: Duration) -> ReceiveBudget {
    ReceiveBudget::new(&Options {
        receive_bytes,
        request_timeout: within,
        message_bytes_max: LARGE,
        ..Options::default()
    })
}

fn patient(receive_bytes: usize) -> ReceiveBudget {
    budget(receive_bytes, Duration::from_secs(60))
}

fn free(budget: &ReceiveBudget) -> usize {
    budget.permits.available_permits()
}

fn received(calls: Calls, budget: &ReceiveBudget) -> (mpsc::UnboundedSender<Bytes>, Received<Sent>) {
    let (sender, frames) = mpsc::unbounded_channel();
    (sender, Received::new(Sent(frames), calls, budget.clone()))
}

/// A message with its prefix.
fn message(bytes: usize) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(bytes).unwrap());
    message.put_bytes(7, bytes);
    message.freeze()
}

/// All of a message but its last byte.
fn cut_short(bytes: usize) -> Bytes {
    message(bytes).slice(..bytes + 4)
}

/// The length of the next frame, if it may be handed on now.
fn now(body: &mut Received<Sent>) -> Option<Result<usize, Status>> {
    let mut cx = Context::from_waker(noop_waker_ref());
    match Pin::new(body).poll_frame(&mut cx) {
        Poll::Ready(Some(frame)) => Some(frame.map(|frame| frame.into_data().unwrap().len())),
        Poll::Ready(None) => panic!("the body ended"),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn large_messages_that_are_underway_never_have_more_than_the_budget() {
    let budget = patient(2 * LARGE);
    let mut bodies = Vec::new();
    for _ in 0..10 {
        let (sender, body) = received(Calls::Streaming, &budget);
        sender.send(cut_short(LARGE)).unwrap();
        bodies.push((sender, body));
    }
    let mut taken = Vec::new();
    for (number, (_, body)) in bodies.iter_mut().enumerate() {
        if let Some(frame) = now(body) {
            assert_eq!(frame.unwrap(), LARGE + 4);
            taken.push(number);
        }
    }
    assert_eq!(taken, [0, 1]);
    assert_eq!(free(&budget), 0);
    bodies.remove(0);
    assert_eq!(now(&mut bodies[1].1).unwrap().unwrap(), LARGE + 4);
    bodies.clear();
    assert_eq!(free(&budget), 2 * LARGE);
}

#[tokio::test]
async fn small_messages_pass_while_large_ones_wait() {
    let budget = patient(LARGE);
    let (large, mut first) = received(Calls::Unary, &budget);
    large.send(cut_short(LARGE)).unwrap();
    now(&mut first).unwrap().unwrap();
    let (small, mut second) = received(Calls::Streaming, &budget);
    small.send(message(SMALL_BYTES_MAX)).unwrap();
    assert_eq!(now(&mut second).unwrap().unwrap(), SMALL_BYTES_MAX + 5);
    small.send(message(SMALL_BYTES_MAX + 1)).unwrap();
    assert!(now(&mut second).is_none());
}

#[tokio::test]
async fn a_stream_gives_back_the_room_of_a_message_when_it_asks_for_the_next() {
    let budget = patient(LARGE);
    let (sender, mut body) = received(Calls::Streaming, &budget);
    // One frame ends a message and begins another, of which each needs the whole budget.
    let mut both = BytesMut::from(&message(LARGE)[..]);
    both.extend_from_slice(&message(LARGE));
    let mut both = both.freeze();
    sender.send(both.split_to(LARGE)).unwrap();
    sender.send(both).unwrap();
    assert_eq!(now(&mut body).unwrap().unwrap(), LARGE);
    assert_eq!(
        now(&mut body).unwrap().unwrap(),
        5,
        "the frame is cut between them"
    );
    assert_eq!(free(&budget), 0, "the first may still be waiting to be taken");
    assert_eq!(now(&mut body).unwrap().unwrap(), LARGE + 5);
    assert_eq!(free(&budget), 0);
    assert!(now(&mut body).is_none());
    assert_eq!(free(&budget), LARGE);
}

#[tokio::test]
async fn a_unary_call_keeps_its_room_until_its_body_is_dropped_and_sends_no_second_message() {
    let budget = patient(2 * LARGE);
    let (sender, mut body) = received(Calls::Unary, &budget);
    sender.send(message(LARGE)).unwrap();
    now(&mut body).unwrap().unwrap();
    assert!(now(&mut body).is_none(), "the end of the body has not come");
    assert_eq!(free(&budget), LARGE);
    sender.send(message(LARGE)).unwrap();
    assert_eq!(now(&mut body).unwrap().unwrap_err().code(), Code::InvalidArgument);
    drop(body);
    assert_eq!(free(&budget), 2 * LARGE);
}

#[tokio::test]
async fn a_message_that_stays_incomplete_ends_its_call() {
    let budget = budget(LARGE, Duration::from_millis(30));
    for (calls, bytes) in [
        (Calls::Unary, LARGE),
        (Calls::Unary, 10),
        (Calls::Streaming, LARGE),
        (Calls::Streaming, 10),
    ] {
        let (sender, mut body) = received(calls, &budget);
        sender.send(cut_short(bytes)).unwrap();
        assert_eq!(now(&mut body).unwrap().unwrap(), bytes + 4);
        let end = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let status = end.await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{calls:?} {bytes}");
    }
    assert_eq!(free(&budget), LARGE);
}

#[tokio::test]
async fn who_finds_no_room_is_told_to_come_back_a_unary_call_at_once() {
    let budget = patient(LARGE);
    let (first, mut holding) = received(Calls::Streaming, &budget);
    first.send(cut_short(LARGE)).unwrap();
    now(&mut holding).unwrap().unwrap();
    let (second, mut unary) = received(Calls::Unary, &budget);
    second.send(message(LARGE)).unwrap();
    assert_eq!(
        now(&mut unary).unwrap().unwrap_err().code(),
        Code::ResourceExhausted
    );
    let (third, mut waiting) = received(Calls::Streaming, &budget);
    third.send(message(LARGE)).unwrap();
    assert!(now(&mut waiting).is_none());
    let end = poll_fn(|cx| Pin::new(&mut waiting).poll_frame(cx)).await;
    assert_eq!(end.unwrap().unwrap_err().code(), Code::ResourceExhausted);
    drop((holding, waiting));
    assert_eq!(free(&budget), LARGE, "no place in the line was left behind");
}

#[tokio::test]
async fn a_stream_that_is_idle_between_messages_or_is_not_asked_is_never_late() {
    let budget = budget(LARGE, Duration::from_millis(30));
    let (sender, mut body) = received(Calls::Streaming, &budget);
    let pass = || tokio::time::timeout(Duration::from_millis(90), std::future::pending::<()>());
    sender.send(message(10)).unwrap();
    now(&mut body).unwrap().unwrap();
    assert!(now(&mut body).is_none());
    drop(pass().await);
    assert!(now(&mut body).is_none(), "no message is underway");
    sender.send(cut_short(10)).unwrap();
    now(&mut body).unwrap().unwrap();
    drop(pass().await);
    assert!(now(&mut body).is_none(), "it was the server that did not ask");
    sender.send(Bytes::from_static(&[7])).unwrap();
    assert_eq!(now(&mut body).unwrap().unwrap(), 1);
}

#[test]
fn a_message_that_the_transport_refuses_for_its_size_takes_no_room() {
    assert_eq!(patient(LARGE).permits_of(LARGE + 1), None);
    assert_eq!(patient(1).permits_of(LARGE), Some(u32::try_from(LARGE).unwrap()));
}

#[test]
fn every_method_that_takes_a_stream_is_known_as_one() {
    let mut streams: Vec<String> = CLIENT_STREAMS.map(str::to_owned).into();
    streams.retain(|path| !path.contains("reflection"));
    let set = prost_types::FileDescriptorSet::decode(crate::proto::DESCRIPTORS).unwrap();
    let mut declared = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let streaming = service.method.iter().filter(|method| method.client_streaming());
            declared.extend(
                streaming.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name())),
            );
        }
    }
    declared.sort();
    streams.sort();
    assert_eq!(streams, declared);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn every_message_is_found_however_the_bytes_are_cut(
        lengths in prop::collection::vec(0_usize..40, 1..12),
        cuts in prop::collection::vec(1_usize..30, 1..60),
        small_bytes_max in 0_usize..40,
    ) {
        let mut body = BytesMut::new();
        let mut ends = vec![0];
        for length in &lengths {
            body.extend_from_slice(&message(*length));
            ends.push(body.len());
        }
        let mut body = body.freeze();
        let total = body.len();
        let mut prefixes = Prefixes::default();
        let mut large = Vec::new();
        let mut cuts = cuts.into_iter().cycle();
        while !body.is_empty() {
            let mut data = body.split_to(cuts.next().unwrap_or(1).min(body.len()));
            while let Walked::Large { at, bytes } = prefixes.walk(&data, small_bytes_max) {
                prop_assert!(prefixes.is_in_large());
                large.push(bytes);
                drop(data.split_to(at));
            }
            let passed = total - body.len();
            prop_assert_eq!(prefixes.is_whole(), ends.contains(&passed));
            let begun = ends.iter().filter(|end| **end < passed).count().min(lengths.len());
            prop_assert_eq!(prefixes.begun(), begun as u64);
        }
        let expected: Vec<usize> = lengths.into_iter().filter(|length| *length > small_bytes_max).collect();
        prop_assert_eq!(large, expected);
        prop_assert!(!prefixes.is_in_large());
    }
}
