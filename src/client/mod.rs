//! The client: append to a log and read from it, from Rust.
//!
//! A [`Client`] is given the address of a node, and finds the others from there. It sends writes to the leader and follows
//! it when another node takes over; it spreads reads over the followers that have what is asked for; it passes over nodes that are down,
//! and takes them back. All of it is one value, cheap to clone and shared by as many tasks as there are.
//!
//! | to | use |
//! |---|---|
//! | append some records and know their offsets | [`Client::append`] |
//! | append many, fast, in order and each once | [`Client::producer`] |
//! | read some records | [`Client::read`] |
//! | read all of them, and wait for more | [`Client::consumer`] |
//! | go on where the last run stopped, one at a time | [`Client::cursor`] |
//! | see the log, the cluster | [`Client::describe`], [`Client::servers`], [`Client::watch`] |
//!
//! # Example
//!
//! ```no_run
//! # async fn example() -> Result<(), annals::client::Error> {
//! use annals::client::Client;
//!
//! let client = Client::builder().address("127.0.0.1:8400").connect().await?;
//!
//! let offsets = client.append(["first", "second"]).await?;
//! let page = client.read(offsets.start..offsets.end).await?;
//! assert_eq!(page.records[1].value(), "second");
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! Every call has a deadline ([`ClientBuilder::within`]) and tries again until then what may pass: a lost connection, an election, a
//! node that is full for a moment. What comes back after that is an [`Error`]: [`Error::is_retryable`] says whether the same call can succeed
//! later, [`Error::has_no_side_effects`] whether this one has done nothing for certain, [`Error::reason`] what a node said.
//!
//! # As a dependency
//!
//! With `default-features = false, features = ["client"]` the crate has this module and what it stands on, and none of the
//! server's dependencies. It needs tokio.

mod address;
mod append;
mod backoff;
mod builder;
mod calls;
mod connection;
mod consumer;
mod credentials;
mod cursor;
mod error;
mod first_words;
mod node;
mod offsets;
mod position;
mod producer;
mod read;
mod record;
mod refusal;
mod router;
mod scout;
mod settings;
mod tries;
mod watch;
mod way;

pub use address::{Address, AddressError, IntoAddress, PORT};
pub use append::Append;
pub use builder::ClientBuilder;
pub use consumer::{Consumer, ConsumerBuilder, Interruption};
pub use cursor::{Cursor, CursorState, HeldCursor};
pub use error::{Error, ErrorKind, LogChange, ProtocolError, Tried};
pub use offsets::Offsets;
pub use position::{Position, ReadLevel};
pub use producer::{BatchTicket, Producer, ProducerBuilder, Ticket};
pub use read::{Page, Read};
pub use record::{Record, Stored};
pub use refusal::{Reason, Refusal};
pub use watch::Watch;

pub use crate::{
    proto::annals::v1::{
        DescribeLogResponse as LogDescription, GetClusterResponse as Cluster, Role, Segment, Server,
    },
    types::{NoCursorName, Offset},
};

// For the program, which is a client with a terminal.
#[cfg(feature = "cli")]
pub(crate) use self::{
    calls::{Answer, Twice},
    connection::{Connection, SAYS_NOTHING},
    way::Place,
};
#[cfg(not(feature = "cli"))]
use self::{
    calls::{Answer, Twice},
    way::Place,
};

use std::{
    future::Future,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time;
use tonic::{Request, Response, Status, transport::Channel};

use crate::proto::annals::v1::{TrimRequest, cluster_service_client::ClusterServiceClient};

use self::{
    append::Conditional,
    error::in_tenths,
    producer::encoded,
    router::{Need, Router},
    tries::Tries,
    way::Way,
};

/// A client of one cluster. Clones are the same client, with the same connections. See the [module](self).
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

/// What all clones share.
#[derive(Debug)]
struct Shared {
    router: Arc<Router>,
    /// Of the appends without a condition; made for the first of them.
    producer: Mutex<Option<Producer>>,
    conditional: Conditional,
}

impl From<Router> for Client {
    fn from(router: Router) -> Self {
        Self(Arc::new(Shared {
            router: Arc::new(router),
            producer: Mutex::default(),
            conditional: Conditional::default(),
        }))
    }
}

impl Shared {
    fn within(&self) -> Duration {
        self.router.settings.within
    }

    /// The producer of the appends; another one when the last has failed.
    fn producer(&self) -> Producer {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        match &*producer {
            Some(producer) if !producer.has_ended() => producer.clone(),
            _ => producer
                .insert(
                    ProducerBuilder::new(Arc::clone(&self.router))
                        .of_several()
                        .build(),
                )
                .clone(),
        }
    }

    /// Errors: those of the producer, which has the client's time; `NoAnswer`, when `within` is less. Cancel: it may be appended.
    async fn append(
        &self,
        records: Bytes,
        count: u64,
        within: Option<Duration>,
    ) -> Result<Range<Offset>, Error> {
        let appended = async {
            // Another append may just have failed, and the next one gets another producer.
            let sent = self.producer().send_encoded(records, count).await;
            sent.map_err(Error::into_cause)?.await
        };
        match within {
            None => appended.await,
            Some(within) => {
                let appended = time::timeout(within, appended).await;
                appended.unwrap_or_else(|_| Err(self.not_acknowledged(within)))
            }
        }
    }

    /// Those before it took all of its time; nothing of it was sent.
    fn not_its_turn(within: Duration) -> Error {
        Error::new(ErrorKind::NoAnswer {
            address: "the leader".to_owned(),
            waited: in_tenths(within),
            reason: "the appends with a condition before this one are not answered".to_owned(),
        })
        .without_effects()
    }

    /// The producer goes on trying, so it may be stored yet.
    fn not_acknowledged(&self, within: Duration) -> Error {
        let (tried, waited) = (self.router.all_down(), in_tenths(within));
        let kind = if tried.len() == self.router.count() {
            ErrorKind::NoNode { waited, tried }
        } else {
            ErrorKind::NoAnswer {
                address: "the leader".to_owned(),
                waited,
                reason: "it does not acknowledge".to_owned(),
            }
        };
        Error::new(kind).in_doubt(true)
    }
}

/// Where a connection was lost before a node spoke, and what is likely then: other ports of a node, and other programs, let it go so.
fn of_first_words(address: &Address, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Lost { reason } => Error::lost(format!(
            "{address} let it go before it answered as a node does ({reason}); is that its port for clients?"
        )),
        _ => error,
    }
}

impl Client {
    /// To be told where the cluster is.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Makes sure that a node is there: tries each address once, and keeps the connection.
    ///
    /// Errors: that of the node; `NoNode` with what was the matter at each, when there are several. Cancel: safe.
    pub async fn connect(&self) -> Result<(), Error> {
        self.contact().await.map(|_| ())
    }

    /// The first of the addresses where that works: all of them within the client's time.
    pub(crate) async fn contact(&self) -> Result<Place, Error> {
        let way = Way::new(Arc::clone(&self.0.router), self.0.within());
        let mut tries = Tries::new(Arc::clone(&self.0.router), Some(self.0.within()));
        let mut node = tries.first(Need::Any);
        // What went by since the tries began takes nothing from it: it is told to those who set it.
        let each = self.0.within() / u32::try_from(self.0.router.count().max(1)).unwrap_or(u32::MAX);
        loop {
            let error = match way.try_enter(&node, each).await {
                Ok(place) => return Ok(place),
                Err(error) => error,
            };
            match tries.next_at_once(Need::Any, &node, &error) {
                Some(next) => node = next,
                None => {
                    let error = tries.unreached(Duration::ZERO, error);
                    return Err(of_first_words(&node.address, error).without_effects());
                }
            }
        }
    }

    /// A connection to the first of its addresses, where nothing is asked yet.
    ///
    /// Errors: those of `Connection::open`. Cancel: safe.
    #[cfg(feature = "cli")]
    pub(crate) async fn first_connection(&self) -> Result<Connection, Error> {
        let router = &self.0.router;
        let nodes = router.nodes();
        let first = nodes.first().ok_or_else(|| Error::new(ErrorKind::NoAddresses))?;
        first
            .connection(router.settings.tls.as_ref(), self.0.within())
            .await
    }

    /// That the node there did not answer.
    #[cfg(feature = "cli")]
    pub(crate) fn no_answer_of(&self, place: &Place, waited: Duration) -> Error {
        Error::new(ErrorKind::NoAnswer {
            address: place.node.address.to_string(),
            waited: in_tenths(waited),
            reason: place.connection.silent_reason().to_owned(),
        })
    }

    /// Appends records together: all or none, at consecutive offsets, which are the answer. Await the result.
    ///
    /// They are durable on a majority of nodes when they are answered, and stored once, however often they had to be sent. Appends that
    /// are under way at the same time share their way; see [`Client::producer`] for many.
    ///
    /// Errors: why they are not acknowledged. Cancel: they may be appended all the same, as when the answer were lost.
    ///
    /// ```no_run
    /// # async fn example(client: annals::client::Client) -> Result<(), annals::client::Error> {
    /// use annals::client::{Reason, Record};
    ///
    /// let offsets = client.append([Record::new("paid").key("order-17")]).await?;
    /// // Only if nobody has appended since:
    /// match client.append(["shipped"]).expected_offset(offsets.end).await {
    ///     Err(error) if error.reason() == Some(Reason::ConditionFailed) => println!("read on first"),
    ///     other => println!("{:?}", other?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn append<R: Into<Record>>(&self, records: impl IntoIterator<Item = R>) -> Append {
        let (records, count) = encoded(records);
        Append {
            client: Arc::clone(&self.0),
            records,
            count,
            expected_offset: None,
            within: None,
        }
    }

    /// A producer: for many records, fast and in order.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(Arc::clone(&self.0.router))
    }

    /// Reads records of a range of offsets, as many as fit into one answer. Await the result.
    ///
    /// Errors: [`Reason::OffsetOutOfRange`] where the range begins before the oldest record or behind the newest, with
    /// [`Refusal::readable`]. Cancel: safe.
    ///
    /// ```no_run
    /// # async fn example(client: annals::client::Client) -> Result<(), annals::client::Error> {
    /// let page = client.read(100..200).await?;
    /// for record in &page.records {
    ///     println!("{}: {:?}", record.offset, record.value());
    /// }
    /// let more = client.read(page.next_offset..).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn read(&self, offsets: impl Into<Offsets>) -> Read {
        let Offsets { from, until } = offsets.into();
        Read {
            until,
            ..self.read_from(from)
        }
    }

    /// Reads records from a place on, as many as fit into one answer. Await the result.
    ///
    /// Errors, Cancel: as [`Client::read`].
    pub fn read_from(&self, position: impl Into<Position>) -> Read {
        Read {
            client: Arc::clone(&self.0),
            from: position.into(),
            until: None,
            count: 0,
            bytes_max: 0,
            level: ReadLevel::Linearizable,
            min_offset: 0,
            within: self.0.within(),
        }
    }

    /// A consumer: all records from a place on, and those that come.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(Arc::clone(&self.0.router))
    }

    /// A cursor: a consumer's place, kept in the log under a name. Nobody is asked yet; a text that is no name is refused by its calls.
    pub fn cursor(&self, name: impl Into<String>) -> Cursor {
        Cursor::new(Arc::clone(&self.0.router), name.into())
    }

    /// Where each cursor of the log stands, by name: at most 1024.
    ///
    /// Errors: see [`Error`]. Cancel: safe.
    pub async fn cursors(&self) -> Result<Vec<CursorState>, Error> {
        cursor::list(&self.0.router).await
    }

    /// The bounds of the log, and its segments, on one of the nodes.
    ///
    /// Errors: see [`Error`]. Cancel: safe.
    pub async fn describe(&self) -> Result<LogDescription, Error> {
        let router = &self.0.router;
        router
            .call(
                Need::Any,
                self.0.within(),
                Twice::Nothing,
                |connection, _| async move { connection.describe_log().await },
            )
            .await
    }

    /// The cluster as it is now: who belongs to it, who leads, how far each node is.
    ///
    /// Errors: see [`Error`]. Cancel: safe.
    pub async fn servers(&self) -> Result<Cluster, Error> {
        let router = &self.0.router;
        let cluster = router
            .call(
                Need::Any,
                self.0.within(),
                Twice::Nothing,
                |connection, _| async move { connection.get_cluster(false).await },
            )
            .await?;
        router.learn(&cluster);
        Ok(cluster)
    }

    /// The cluster as it is, and again whenever that changes. Takes one of its node's places for consumers.
    ///
    /// ```no_run
    /// # async fn example(client: annals::client::Client) -> Result<(), annals::client::Error> {
    /// let mut views = client.watch();
    /// while let Some(cluster) = views.next().await {
    ///     println!("the leader is at {}", cluster?.leader_address);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(&self.0.router)
    }

    /// Drops the records below an offset, on every node. What is dropped does not come back.
    ///
    /// Errors: see [`Error`]. Cancel: they may be dropped all the same.
    pub async fn trim(&self, below: impl Into<Offset>) -> Result<(), Error> {
        let below = below.into().get();
        self.at_leader(Twice::Same, |mut client, within| async move {
            let mut request = Request::new(TrimRequest {
                log: String::new(),
                below,
            });
            request.set_timeout(within);
            client.trim(request).await
        })
        .await
        .map(|_| ())
    }

    /// Has the leader do it. What was not done for certain is tried again, as while a leader is being elected.
    pub(crate) async fn at_leader<T, F>(
        &self,
        twice: Twice,
        call: impl Fn(ClusterServiceClient<Channel>, Duration) -> F,
    ) -> Result<T, Error>
    where
        T: Answer,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let call = &call;
        self.0
            .router
            .call(
                Need::Leader,
                self.0.within(),
                twice,
                |connection, within| async move {
                    let answered = call(ClusterServiceClient::new(connection.channel()), within).await;
                    Ok(answered
                        .map_err(|status| connection.explain(status))?
                        .into_inner())
                },
            )
            .await
    }
}
