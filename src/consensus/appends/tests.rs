use std::{
    future::poll_fn,
    io::IoSlice,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use openraft::EntryPayload;
use proptest::{collection, prelude::*};
use prost::Message;
use tokio::{io::DuplexStream, task::JoinHandle, time::timeout};
use tonic::Status;

use super::{
    greeting::over,
    outbox::Outbox,
    parcel::{Parcel, ParcelError},
    pulse::Pulse,
    *,
};
use crate::{
    consensus::{
        codec::{self, tests::append_requests},
        links::{Contact, MESSAGE_BYTES_MAX, STREAM_WINDOW_BYTES},
        messages::AppendRequest,
        types::{Proposal, ProposalContent, RaftEntry, RaftVote, raft_log_id},
    },
    proto::peer::{self, append_response::Result as Answer},
    storage::entry::Batch,
    types::{LogIndex, Term, TimestampMs},
};

/// Everything that tests wait for happens within this, or they fail.
const PATIENCE: Duration = Duration::from_secs(20);

fn all_of(outbox: &mut Outbox, step: usize) -> Vec<u8> {
    let mut written = Vec::new();
    while outbox.bytes() > 0 {
        let mut room = [IoSlice::new(&[]); 3];
        let pieces = outbox.pieces(&mut room);
        let some: Vec<u8> = room[..pieces].iter().flat_map(|piece| piece.to_vec()).collect();
        let taken = step.min(some.len());
        written.extend_from_slice(&some[..taken]);
        outbox.written(taken);
    }
    written
}

fn with_records(mut request: AppendRequest, sizes: &[usize]) -> AppendRequest {
    for (entry, size) in request.entries.iter_mut().zip(sizes) {
        if let EntryPayload::Normal(Proposal {
            content: ProposalContent::Records(batch),
            ..
        }) = &mut entry.payload
        {
            batch.records = Bytes::from(vec![3; *size]);
        }
    }
    request
}

fn parcels() -> Vec<Parcel> {
    let response = peer::AppendResponse {
        result: Some(Answer::Accepted(peer::Accepted { up_to: None })),
        commits_awaited: true,
        storage_full: false,
    };
    vec![
        Parcel::Hello(peer::AppendsHello {
            cluster_id: vec![1; 16].into(),
            from_node: 1,
            from_incarnation: 2,
            to_node: 3,
        }),
        Parcel::Welcome(peer::GreetResponse {
            node_id: 3,
            ..peer::GreetResponse::default()
        }),
        Parcel::Begin { stream: 7 },
        Parcel::Taken { stream: 7 },
        Parcel::Append {
            stream: u32::MAX,
            request: Bytes::from_static(b"any bytes"),
        },
        Parcel::Answer {
            stream: 7,
            requests: 3,
            response,
        },
        Parcel::End { stream: 7 },
        Parcel::Unwanted { stream: 7 },
        over(7, Some(&Status::unavailable("not now"))),
        over(7, None),
        Parcel::Ping,
        Parcel::Pong,
    ]
}

fn put(parcel: &Parcel) -> BytesMut {
    let mut bytes = BytesMut::new();
    parcel.put(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn a_request_is_the_same_however_it_lies_in_memory_and_is_written(
        request in append_requests(),
        sizes in collection::vec(prop_oneof![0..200_usize, 4000..6000_usize], 0..8),
        step in 1..9000_usize,
    ) {
        let request = with_records(request, &sizes);
        let mut outbox = Outbox::default();
        outbox.tail().extend_from_slice(&put(&Parcel::Ping));
        let bytes = outbox.put_append(5, "other", request.clone());
        outbox.tail().extend_from_slice(&put(&Parcel::Pong));
        let expected = codec::append_request("other", request);
        prop_assert_eq!(bytes, expected.encoded_len());
        let mut written = BytesMut::from(&all_of(&mut outbox, step)[..]);
        let mut next = || Parcel::split(&mut written, MESSAGE_BYTES_MAX).unwrap();
        prop_assert_eq!(next(), Some(Parcel::Ping));
        let Some(Parcel::Append { stream: 5, request }) = next() else {
            return Err(TestCaseError::fail("no request"));
        };
        prop_assert_eq!(peer::AppendRequest::decode(request).unwrap(), expected);
        prop_assert_eq!(next(), Some(Parcel::Pong));
        prop_assert_eq!(next(), None);
    }

    #[test]
    fn any_bytes_are_parcels_or_refused(
        parts in collection::vec((0..14_u8, any::<u32>(), collection::vec(0..40_u8, 0..7)), 1..6),
        rest in collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = BytesMut::new();
        for (kind, stream, body) in parts {
            bytes.put_u32_le(5 + body.len() as u32);
            bytes.put_u8(kind);
            bytes.put_u32_le(stream);
            bytes.put_slice(&body);
        }
        bytes.put_slice(&rest);
        while let Ok(Some(parcel)) = Parcel::split(&mut bytes, 64) {
            let mut again = put(&parcel);
            prop_assert_eq!(Parcel::split(&mut again, 64).unwrap(), Some(parcel));
            prop_assert!(again.is_empty());
        }
    }
}

#[test]
fn every_parcel_comes_back_whole_and_not_before_its_last_byte() {
    for parcel in parcels() {
        let whole = put(&parcel);
        for cut in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..cut]);
            assert_eq!(Parcel::split(&mut part, 1 << 20), Ok(None), "{parcel:?} at {cut}");
            assert_eq!(part.len(), cut);
        }
        let mut twice = BytesMut::from(&[&whole[..], &whole[..]].concat()[..]);
        for left in [whole.len(), 0] {
            assert_eq!(Parcel::split(&mut twice, 1 << 20), Ok(Some(parcel.clone())));
            assert_eq!(twice.len(), left);
        }
    }
}

#[test]
fn a_parcel_that_is_too_long_or_no_parcel_is_refused_before_it_is_there() {
    let split = |bytes: &[u8]| Parcel::split(&mut BytesMut::from(bytes), 100);
    let length = |bytes| {
        Err(ParcelError::Length {
            bytes,
            bytes_max: 100,
        })
    };
    assert_eq!(split(&[4, 0, 0, 0]), length(4), "shorter than its own head");
    assert_eq!(split(&[101, 0, 0, 0]), length(101));
    assert_eq!(split(&[255; 4]), length(u64::from(u32::MAX)));
    assert_eq!(
        split(&[5, 0, 0, 0, 99, 0, 0, 0, 0]),
        Err(ParcelError::UnknownKind { kind: 99 })
    );
    assert_eq!(split(&[100, 0, 0, 0]), Ok(None));
}

#[test]
fn what_is_read_is_not_copied() {
    let mut bytes = put(&Parcel::Append {
        stream: 1,
        request: Bytes::from(vec![7; 1000]),
    });
    let body = bytes[9..].as_ptr();
    let Ok(Some(Parcel::Append { request, .. })) = Parcel::split(&mut bytes, 2000) else {
        panic!("no request");
    };
    assert_eq!(request.chunk().as_ptr(), body);
}

/// Answers each request with what it asks for, and keeps those of streams that are deaf.
#[derive(Clone, Default)]
struct Fake {
    /// Streams that are begun from now on are not answered; their requests.
    deaf: Option<Arc<Mutex<Vec<BoxStream<'static, AppendRequest>>>>>,
}

impl AppendServer for Fake {
    fn read(&self, request: Bytes) -> Result<AppendRequest, Status> {
        let request =
            peer::AppendRequest::decode(request).map_err(|_| Status::invalid_argument("no request"))?;
        codec::decode_append_request(request).map_err(|error| Status::invalid_argument(error.to_string()))
    }

    fn begin(&mut self, requests: BoxStream<'static, AppendRequest>) -> Result<AppendAnswers, Status> {
        if let Some(deaf) = &self.deaf {
            deaf.lock().unwrap().push(requests);
            return Ok(stream::pending().boxed());
        }
        let answers = requests.map(|request| {
            Ok(codec::append_result(Ok(request
                .entries
                .last()
                .map(|last| last.log_id))))
        });
        Ok(answers.boxed())
    }
}

fn request(log_index: u64, bytes: usize) -> AppendRequest {
    let batch = Batch {
        producer: None,
        expected_offset: None,
        record_count: 1,
        records: Bytes::from(vec![1; bytes]),
    };
    let content = ProposalContent::Records(batch);
    let payload = EntryPayload::Normal(Proposal {
        timestamp: TimestampMs(1),
        content,
    });
    AppendRequest {
        vote: RaftVote::new_committed(1, 1),
        prev_log_id: raft_log_id(LogIndex(log_index - 1), Term(1)),
        leader_commit: None,
        entries: vec![RaftEntry {
            log_id: raft_log_id(LogIndex(log_index), Term(1)).unwrap(),
            payload,
        }],
    }
}

type Ended = JoinHandle<Result<(), WireError>>;

/// A wire whose other end is the test's, and that end.
fn wires() -> (Wire<DuplexStream>, Wire<DuplexStream>) {
    let (one, other) = tokio::io::duplex(100_000);
    let wire = |io| {
        let mut wire = Wire::new(io, greeting::GREETING_BYTES_MAX);
        wire.trust();
        wire
    };
    (wire(one), wire(other))
}

fn asking(wire: Wire<DuplexStream>) -> (AppendChannel, Ended) {
    let (channel, asking) = Asking::new(wire, Arc::new(Contact::new()));
    (channel, tokio::spawn(asking))
}

fn answering(wire: Wire<DuplexStream>, fake: &Fake) -> Ended {
    tokio::spawn(Answering::new(wire, fake.clone()))
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap()
}

async fn say(wire: &mut Wire<DuplexStream>, said: &[Parcel]) {
    said.iter().for_each(|parcel| wire.say(parcel));
    within(poll_fn(|cx| wire.poll_write(cx))).await.unwrap();
}

async fn hear(wire: &mut Wire<DuplexStream>) -> Parcel {
    loop {
        match within(poll_fn(|cx| wire.poll_parcel(cx))).await.unwrap().unwrap() {
            Parcel::Ping | Parcel::Pong => {}
            parcel => return parcel,
        }
    }
}

async fn error_of(ended: Ended) -> String {
    within(ended).await.unwrap().unwrap_err().to_string()
}

fn append(stream: u32, of: AppendRequest) -> Parcel {
    let request = codec::append_request("", of).encode_to_vec().into();
    Parcel::Append { stream, request }
}

fn last_of(told: Option<Told>) -> u64 {
    let Some(Answer::Accepted(accepted)) = told.unwrap().unwrap().result else {
        panic!("not accepted");
    };
    accepted.up_to.unwrap().log_index
}

async fn last_answer(answers: impl Stream<Item = Told>) -> u64 {
    let mut answers = std::pin::pin!(answers);
    let mut last = 0;
    while let Some(told) = within(answers.next()).await {
        last = last_of(Some(told));
    }
    last
}

#[tokio::test]
async fn a_stream_that_stands_still_takes_its_window_and_no_more_and_the_next_one_goes_on() {
    let (one, other) = wires();
    let (channel, _asking) = asking(one);
    let deaf = Fake {
        deaf: Some(Arc::default()),
    };
    let mut server = Answering::new(other, deaf.clone());
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let endless = stream::iter(1..).map(move |index| {
        *count.lock().unwrap() += 1;
        request(index, 1 << 20)
    });
    let begun = channel.begin("".into(), endless.boxed());
    let drive = async {
        let mut begun = std::pin::pin!(begun);
        let answers = within(poll_fn(|cx| {
            assert!(std::pin::Pin::new(&mut server).poll(cx).is_pending());
            begun.as_mut().poll(cx)
        }))
        .await
        .unwrap();
        let full = u64::from(STREAM_WINDOW_BYTES >> 20);
        within(poll_fn(|cx| {
            assert!(std::pin::Pin::new(&mut server).poll(cx).is_pending());
            match *asked.lock().unwrap() >= full {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        }))
        .await;
        answers
    };
    let _stands_still = drive.await;
    let _served = tokio::spawn(server);
    // Others are let in behind it; each comes behind all that was sent before.
    for _ in 0..8 {
        let another = channel.begin("".into(), stream::pending().boxed());
        assert!(within(another).await.is_ok());
    }
    assert!(*asked.lock().unwrap() <= 9, "{asked:?}");
}

#[tokio::test]
async fn more_than_may_be_unanswered_at_a_time_passes_where_it_is_answered() {
    let (one, other) = wires();
    let (channel, _asking) = asking(one);
    let _answering = answering(other, &Fake::default());
    for (count, bytes) in [(20_000, 10), (60, 1 << 20)] {
        let requests = stream::iter(1..=count).map(move |index| request(index, bytes));
        let answers = within(channel.begin("".into(), requests.boxed())).await.unwrap();
        assert_eq!(last_answer(answers).await, count);
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up_and_one_that_gives_signs_of_life_is_not() {
    for answers in [true, false] {
        let (one, mut other) = wires();
        let (channel, mut asking) = Asking::new(one, Arc::new(Contact::new()));
        asking.pulse = Pulse::every(Duration::from_millis(5));
        let ended = tokio::spawn(asking);
        if answers {
            for _ in 0..10 {
                within(poll_fn(|cx| other.poll_parcel(cx))).await.unwrap();
                say(&mut other, &[Parcel::Pong]).await;
            }
            assert!(channel.is_open());
            drop(other);
            within(ended).await.unwrap().unwrap();
        } else {
            assert!(error_of(ended).await.contains("no sign of life"));
            let again = channel.begin("".into(), stream::empty().boxed()).await;
            assert!(again.is_err() && !channel.is_open());
        }
    }
    let (one, _other) = wires();
    let mut silent = Answering::new(one, Fake::default());
    silent.pulse = Pulse::every(Duration::from_millis(5));
    assert!(error_of(tokio::spawn(silent)).await.contains("no sign of life"));
}

#[tokio::test]
async fn a_stream_that_was_not_let_in_says_why_and_the_connection_goes_on() {
    let (one, mut other) = wires();
    let (channel, _asking) = asking(one);
    let begun = channel.begin("".into(), stream::pending().boxed());
    let refusal = async {
        assert_eq!(hear(&mut other).await, Parcel::Begin { stream: 1 });
        say(&mut other, &[over(1, Some(&Status::unavailable("not ready")))]).await;
    };
    let (begun, ()) = within(async { futures::join!(begun, refusal) }).await;
    let status = begun.err().unwrap();
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::Unavailable, "not ready")
    );
    assert!(channel.is_open());
}

#[tokio::test]
async fn what_makes_no_sense_ends_the_connection() {
    let ping_from_the_wrong_side = Parcel::Ping;
    let to_asking = [ping_from_the_wrong_side, Parcel::Begin { stream: 1 }];
    for parcel in to_asking {
        let (one, mut other) = wires();
        let (_channel, ended) = asking(one);
        say(&mut other, &[parcel]).await;
        assert!(error_of(ended).await.contains("only a node that asks may say"));
    }
    let begun = Parcel::Begin { stream: 1 };
    let to_answering = [
        (vec![Parcel::Taken { stream: 1 }], "only a node that answers"),
        (vec![begun.clone(), begun.clone()], "has begun before"),
        (vec![Parcel::Begin { stream: 0 }], "has begun before"),
        (vec![begun.clone(), append(2, request(1, 1))], "has not begun"),
    ];
    for (said, why) in to_answering {
        let (one, mut other) = wires();
        let ended = answering(one, &Fake::default());
        say(&mut other, &said).await;
        let error = error_of(ended).await;
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn an_answer_to_what_was_not_asked_ends_the_connection() {
    for requests in [0, 2] {
        let (one, mut other) = wires();
        let (channel, ended) = asking(one);
        let begun = channel.begin(
            "".into(),
            stream::iter([request(1, 1)]).chain(stream::pending()).boxed(),
        );
        let answer = Parcel::Answer {
            stream: 1,
            requests,
            response: codec::append_result(Ok(None)),
        };
        let said = async {
            assert_eq!(hear(&mut other).await, Parcel::Begin { stream: 1 });
            assert!(matches!(hear(&mut other).await, Parcel::Append { stream: 1, .. }));
            say(&mut other, &[Parcel::Taken { stream: 1 }, answer]).await;
        };
        let (answers, ()) = within(async { futures::join!(begun, said) }).await;
        assert!(error_of(ended).await.contains("was not asked"));
        let told = within(std::pin::pin!(answers.unwrap()).next()).await;
        assert!(told.unwrap().is_err(), "the stream broke");
    }
}

#[tokio::test]
async fn who_sends_more_than_may_be_unanswered_loses_the_connection() {
    let (one, mut other) = wires();
    let deaf = Fake {
        deaf: Some(Arc::default()),
    };
    let ended = answering(one, &deaf);
    say(&mut other, &[Parcel::Begin { stream: 1 }]).await;
    let large = append(1, request(1, 8 << 20));
    let flood = async {
        // Until the other side has had enough.
        loop {
            other.say(&large);
            if poll_fn(|cx| other.poll_write(cx)).await.is_err() {
                return;
            }
        }
    };
    within(flood).await;
    assert!(
        error_of(ended)
            .await
            .contains("more requests than may be unanswered")
    );
}

#[tokio::test]
async fn what_comes_for_a_stream_that_is_over_is_no_mistake() {
    let (one, mut other) = wires();
    let _ended = answering(one, &Fake::default());
    let first = [Parcel::Begin { stream: 1 }, Parcel::Unwanted { stream: 1 }];
    say(&mut other, &first).await;
    let late = [
        append(1, request(1, 1)),
        Parcel::End { stream: 1 },
        Parcel::Begin { stream: 2 },
    ];
    say(&mut other, &late).await;
    say(&mut other, &[append(2, request(1, 1)), Parcel::End { stream: 2 }]).await;
    assert_eq!(hear(&mut other).await, Parcel::Taken { stream: 1 });
    assert_eq!(hear(&mut other).await, Parcel::Taken { stream: 2 });
    assert!(matches!(
        hear(&mut other).await,
        Parcel::Answer {
            stream: 2,
            requests: 1,
            ..
        }
    ));
    assert_eq!(hear(&mut other).await, over(2, None));
}

#[tokio::test]
async fn a_greeting_is_short_whatever_it_says_of_itself() {
    let (one, other) = tokio::io::duplex(1000);
    let mut one = Wire::new(one, greeting::GREETING_BYTES_MAX);
    let mut other = Wire::new(other, greeting::GREETING_BYTES_MAX);
    let cluster_id = vec![0; greeting::GREETING_BYTES_MAX].into();
    let hello = peer::AppendsHello {
        cluster_id,
        ..Default::default()
    };
    let said = tokio::spawn(async move { greeting::say(&mut one, hello).await.is_err() });
    let error = within(greeting::hear(&mut other)).await.unwrap_err();
    assert!(error.to_string().contains("bytes"), "{error}");
    drop(other);
    assert!(within(said).await.unwrap());
}
