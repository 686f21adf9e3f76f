//! Nobody is there: a client says so, soon, and says of each why.

use std::time::Duration;

use annals::{
    client::{Client, Error, ErrorKind},
    clock,
};
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use crate::support::node::{Place, TestNode, until};

/// How long the calls here may take: two seconds of it the machine may stand still. They are made at once where there are more of them.
const WITHIN: Duration = Duration::from_secs(4);

/// An error that comes in time, of a call that reached nobody.
fn assert_names_all(error: &Error, addresses: &[String], began: std::time::Instant) {
    let took = clock::now() - began;
    assert!(took < 3 * WITHIN, "{took:?}: {error}");
    let text = error.to_string();
    let ErrorKind::NoNode { tried, .. } = error.kind() else {
        panic!("{error:?}")
    };
    assert_eq!(tried.len(), addresses.len(), "{text}");
    for address in addresses {
        let reason = if address.ends_with(":1") || address.ends_with(":2") {
            "connection refused"
        } else {
            "it took the connection, and says nothing"
        };
        assert!(text.contains(&format!("{address}: {reason}")), "{text}");
    }
    assert!(error.is_retryable(), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_no_node_is_reached_the_error_names_each_and_why_within_the_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [
        "127.0.0.1:1".to_owned(),
        silent.local_addr().unwrap().to_string(),
        "127.0.0.1:2".to_owned(),
    ];
    let client = Client::builder()
        .addresses(&addresses)
        .within(WITHIN)
        .build()
        .unwrap();

    let began = clock::now();
    let assert_names_all = |error: &Error| assert_names_all(error, &addresses, began);
    let once = async {
        let append = client.append(["never"]).expected_offset(0);
        let (connected, read, appended, conditional) = tokio::join!(
            client.connect(),
            client.read(..),
            client.append(["never"]),
            append.into_future()
        );
        let appended = appended.unwrap_err();
        assert!(appended.has_no_side_effects(), "it was never sent");
        let errors = [
            connected.unwrap_err(),
            read.unwrap_err(),
            conditional.unwrap_err(),
        ];
        errors.iter().chain([&appended]).for_each(assert_names_all);
    };
    let produced = async {
        let producer = client.producer().build();
        let ticket = producer.send("never").await.unwrap();
        assert_names_all(&ticket.await.unwrap_err());
        // It stays so, without a wait, and says that it is not about this record.
        let again = producer.send("never").await.unwrap_err();
        let ErrorKind::ProducerFailed { cause } = again.kind() else {
            panic!("{again:?}")
        };
        assert_names_all(cause);
        assert!(again.has_no_side_effects() && !again.is_retryable(), "{again:?}");
        assert_names_all(&producer.close().await.unwrap_err());
    };
    let consumed = async {
        let mut consumer = client.consumer().follow().build();
        assert_names_all(&consumer.next().await.unwrap().unwrap_err());
        assert!(consumer.next().await.is_none(), "nothing comes behind an error");
    };
    tokio::join!(once, produced, consumed);
}

/// What each kind of write is told, where it is to end soon.
async fn write_errors(client: &Client) -> [Error; 4] {
    let producer = client.producer().build();
    let ticket = producer.send("a").await.unwrap();
    let (append, conditional, trim, ticket) = tokio::join!(
        client.append(["a"]),
        client.append(["a"]).expected_offset(0),
        client.trim(1_u64),
        ticket
    );
    [
        append.unwrap_err(),
        conditional.unwrap_err(),
        trim.unwrap_err(),
        ticket.unwrap_err(),
    ]
}

/// It was "no answer from 127.0.0.1:1", and that the records might be stored, where the connection had been refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_was_never_sent_it_is_known_that_it_was_not_done() {
    let soon = |address: String| {
        let client = Client::builder().address(address).only_these_addresses();
        client.within(WITHIN / 2).build().unwrap()
    };
    let assert_not_done = |error: Error, address: &str| {
        let refused = format!("{address}: connection refused");
        assert!(matches!(error.kind(), ErrorKind::NoNode { .. }), "{error:?}");
        assert!(error.to_string().ends_with(&refused), "{error}");
        assert!(error.has_no_side_effects() && error.is_retryable(), "{error:?}");
    };
    for error in write_errors(&soon("127.0.0.1:1".to_owned())).await {
        assert_not_done(error, "127.0.0.1:1");
    }

    // Over a connection that was there before, which finds out only now that its node is gone.
    let node = TestNode::start(&Place::real()).await;
    let address = node.addresses.rpc.to_string();
    let client = soon(address.clone());
    client.connect().await.unwrap();
    node.shut_down().await;
    until("the connection to be lost", async || {
        client.describe().await.is_err()
    })
    .await;
    for error in write_errors(&client).await {
        assert_not_done(error, &address);
    }

    // Who takes the connection and says nothing may have done it all; but a producer asks for the log first.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let [append, conditional, trim, ticket] = write_errors(&soon(address)).await;
    assert!(!conditional.has_no_side_effects(), "{conditional:?}");
    assert!(!trim.has_no_side_effects(), "{trim:?}");
    assert!(
        append.has_no_side_effects() && ticket.has_no_side_effects(),
        "{ticket:?}"
    );
}

/// A read that could have been answered was given up after two thirds of its time, when the next pause would not have fitted in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_reaches_nobody_is_not_given_up_before_its_time() {
    let client = Client::builder()
        .address("127.0.0.1:1")
        .within(WITHIN)
        .build()
        .unwrap();
    let producer = client.producer().build();
    // All at once, each with its own time.
    let calls: [BoxFuture<'_, Error>; 4] = [
        async { client.describe().await.unwrap_err() }.boxed(),
        async { client.append(["a"]).await.unwrap_err() }.boxed(),
        async { client.append(["a"]).expected_offset(0).await.unwrap_err() }.boxed(),
        async { producer.send("a").await.unwrap().await.unwrap_err() }.boxed(),
    ];
    let began = clock::now();
    let times = calls.map(|call| call.map(|error| (clock::now() - began, error)));
    for (took, error) in join_all(times).await {
        assert!(took > WITHIN * 4 / 5 && took < 3 * WITHIN, "{took:?}: {error}");
    }
}

/// It was "cannot connect: no connection in time", or nothing but a first try.
#[tokio::test]
async fn a_deadline_of_no_time_is_refused_where_it_is_given_or_by_the_first_call() {
    let builder = || Client::builder().address("127.0.0.1:1");
    let client = builder().build().unwrap();
    let mut consumer = client.consumer().within(Duration::ZERO).build();
    let producer = client.producer().within(Duration::ZERO).build();
    let failed = producer.send("a").await.unwrap_err();
    let ErrorKind::ProducerFailed { cause } = failed.kind() else {
        panic!("{failed:?}")
    };
    let errors = [
        builder().within(Duration::ZERO).build().unwrap_err(),
        builder().connect_within(Duration::ZERO).build().unwrap_err(),
        client.read(..).within(Duration::ZERO).await.unwrap_err(),
        client.append(["a"]).within(Duration::ZERO).await.unwrap_err(),
        consumer.next().await.unwrap().unwrap_err(),
        cause.clone(),
    ];
    for error in errors {
        assert!(matches!(error.kind(), ErrorKind::NoTime { .. }), "{error:?}");
        assert!(error.to_string().contains("within is 0"), "{error}");
        assert!(error.has_no_side_effects() && !error.is_retryable(), "{error:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_when_the_client_is_made() {
    let error = Client::builder().address("host:port").build().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("\"host:port\" is no address: write host:port"),
        "{error}"
    );
    assert!(Client::builder().build().unwrap_err().has_no_side_effects());
}

#[tokio::test]
async fn a_url_and_port_0_are_no_addresses() {
    for (address, remedy) in [("http://127.0.0.1:8400", "leave out"), ("127.0.0.1:0", "port 0")] {
        let error = Client::builder().address(address).build().unwrap_err();
        assert!(error.to_string().contains(remedy), "{error}");
        assert!(error.has_no_side_effects() && !error.is_retryable(), "{error:?}");
    }
}

/// Somewhere else than at a node: whoever comes there and has said something is answered so, and let go.
async fn other_program(answer: &'static [u8]) -> (String, JoinHandle<()>) {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        loop {
            let (mut socket, _) = other.accept().await.unwrap();
            let mut said = [0; 1024];
            // What becomes of it is the other side's business.
            drop(socket.read(&mut said).await);
            drop(socket.write_all(answer).await);
            drop(socket.shutdown().await);
            // What is not read when it closes would take back what was said.
            drop(tokio::io::copy(&mut socket, &mut tokio::io::sink()).await);
        }
    });
    (address, server)
}

const NO_HTTP2: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

/// The story: at the port of gossip, or at the admin listener, nothing was told but a broken pipe.
#[tokio::test]
async fn who_is_let_go_before_a_node_spoke_is_told_where_and_what_is_likely() {
    let (address, server) = other_program(b"").await;
    let error = Client::builder().address(&*address).connect().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&address), "{text}");
    assert!(text.contains("is that its port for clients?"), "{text}");
    assert!(error.has_no_side_effects(), "{text}");
    server.abort();
}

/// One error of each kind of call, and how long all of them took together.
async fn each_error(client: &Client) -> (Duration, [Error; 5]) {
    let began = clock::now();
    let producer = client.producer().build();
    let ticket = producer.send("a").await.unwrap();
    let mut consumer = client.consumer().follow().build();
    let errors = [
        client.describe().await.unwrap_err(),
        client.append(["a"]).await.unwrap_err(),
        client.append(["a"]).expected_offset(0).await.unwrap_err(),
        ticket.await.unwrap_err(),
        consumer.next().await.unwrap().unwrap_err(),
    ];
    (clock::now() - began, errors)
}

/// The story: at a port where something else answers, which was told in the end, each call was tried until its deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_only_other_programs_are_no_call_waits_for_a_node_to_come() {
    for (answer, said) in [
        (NO_HTTP2, "HTTP/1.1 400 Bad Request"),
        (b"SSH-2.0-other\r\n", "SSH-2.0-other"),
    ] {
        let (address, server) = other_program(answer).await;
        let (another, its_server) = other_program(NO_HTTP2).await;
        for addresses in [vec![address.clone()], vec![another, address.clone()]] {
            let client = Client::builder().addresses(&addresses).build().unwrap();
            let (took, errors) = each_error(&client).await;
            // The deadline of each is 30 s.
            assert!(took < Duration::from_secs(10), "{took:?}");
            for error in errors {
                let text = error.to_string();
                assert!(matches!(error.kind(), ErrorKind::Stranger { .. }), "{error:?}");
                assert!(
                    text.contains("is no port for clients of a node: it says"),
                    "{text}"
                );
                assert!(
                    addresses.len() > 1 || text.contains(said) && text.contains(&address),
                    "{text}"
                );
                assert!(text.contains("listen.rpc"), "{text}");
                assert!(error.has_no_side_effects() && !error.is_retryable(), "{error:?}");
            }
        }
        server.abort();
        its_server.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_another_program_a_node_is_found_and_one_that_is_away_is_waited_for() {
    let (other, server) = other_program(NO_HTTP2).await;
    let node = TestNode::start(&Place::real()).await;
    let rpc = node.addresses.rpc.to_string();
    for addresses in [[&other, &rpc], [&rpc, &other]] {
        for only in [false, true] {
            let builder = Client::builder().addresses(addresses);
            let builder = if only {
                builder.only_these_addresses()
            } else {
                builder
            };
            let client = builder.build().unwrap();
            client.append(["a"]).await.unwrap();
            client.describe().await.unwrap();
            let producer = client.producer().build();
            producer.send("a").await.unwrap().await.unwrap();
        }
    }
    node.shut_down().await;

    // Somebody restarts, perhaps.
    let client = Client::builder().addresses([&other, "127.0.0.1:1"]);
    let client = client.within(WITHIN).build().unwrap();
    let began = clock::now();
    let error = client.append(["a"]).await.unwrap_err();
    assert!(clock::now() - began > WITHIN * 4 / 5, "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&format!("{other}: no node: it says \"HTTP/1.1 400 Bad Request\"")),
        "{text}"
    );
    assert!(
        text.contains("127.0.0.1:1: connection refused") && error.is_retryable(),
        "{text}"
    );
    server.abort();
}

/// A balancer that has no node at the moment.
#[tokio::test]
async fn who_says_that_a_node_is_away_is_asked_again() {
    let (balancer, server) = other_program(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
    let client = Client::builder()
        .address(&*balancer)
        .within(WITHIN)
        .build()
        .unwrap();
    let began = clock::now();
    let error = client.describe().await.unwrap_err();
    assert!(clock::now() - began > WITHIN * 4 / 5, "{error}");
    assert!(error.is_retryable(), "{error:?}");
    server.abort();
}
