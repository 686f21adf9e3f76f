//! The users of the client: producers, consumers and readers who handle no error, since there is to be none.

use std::{
    collections::BTreeMap,
    future::IntoFuture,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use annals::client::{Client, ClientBuilder, Error, Interruption, Offset, ReadLevel, Stored};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    pulse::{Kind, Pulse},
    support::{
        log_checker::{Answer, AttemptId, Content, Level, Node, Notes, Origin, Read, Recorder, Seen},
        node::in_time,
    },
};

const LOCK: &str = "no call panics while it has the lock";

/// How often a producer sends and a reader reads: pauses are told from it, and a history of minutes has room in memory.
const PACE: Duration = Duration::from_millis(20);

/// Records of one tick.
const RECORDS: u64 = 5;

/// Of a record: enough to be told from all others.
const RECORD_BYTES: usize = 64;

/// What a consumer notes at once.
const NOTED_TOGETHER: usize = 256;

/// So far behind what was acknowledged last a reader begins.
const READ_BACK: u64 = 20;

/// What a page holds for certain: one that has less has all there is.
const PAGE_BYTES: usize = 128 << 10;

/// Clients at work.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    producers: JoinSet<()>,
    others: JoinSet<()>,
    pub(crate) pulses: Vec<Arc<Pulse>>,
}

struct Shared {
    recorder: Recorder,
    stop: CancellationToken,
    /// Everything below is acknowledged.
    acknowledged_to: AtomicU64,
    /// Where consumers end, when that is known.
    end: watch::Sender<Option<u64>>,
    /// What interrupted consumers, which went on by themselves.
    interruptions: Mutex<BTreeMap<String, u64>>,
    /// What came to users, which nothing may.
    errors: Mutex<Vec<String>>,
}

/// One user: how it writes down what it does.
struct User {
    client: Client,
    notes: Notes,
    pulse: Arc<Pulse>,
    shared: Arc<Shared>,
}

/// An append that is under way, and what it will be told.
type Pending = (AttemptId, BoxFuture<'static, Result<Range<Offset>, Error>>);

impl Clients {
    /// Sets users to work, each with a client of its own, which is told of one address.
    pub(crate) fn begin(address: SocketAddr, look_every: Option<Duration>, recorder: &Recorder) -> Self {
        let client = || {
            let builder = Client::builder().address(address);
            let builder = look_every.into_iter().fold(builder, ClientBuilder::look_every);
            builder.build().unwrap()
        };
        let mut clients = Self {
            shared: Arc::new(Shared {
                recorder: recorder.clone(),
                stop: CancellationToken::new(),
                acknowledged_to: AtomicU64::new(0),
                end: watch::Sender::new(None),
                interruptions: Mutex::default(),
                errors: Mutex::default(),
            }),
            producers: JoinSet::new(),
            others: JoinSet::new(),
            pulses: Vec::new(),
        };
        for number in 1..=2 {
            let user = clients.user(client(), format!("batches-{number}"), Kind::Producer);
            clients.producers.spawn(user.work(batches));
        }
        let user = clients.user(client(), "records-3".to_owned(), Kind::Producer);
        clients.producers.spawn(user.work(records));
        let user = clients.user(client(), "appends-4".to_owned(), Kind::Producer);
        clients.producers.spawn(user.work(appends));
        for (number, level) in [ReadLevel::Local, ReadLevel::Local, ReadLevel::Linearizable]
            .into_iter()
            .enumerate()
        {
            let user = clients.user(client(), format!("consumer-{number}"), Kind::Consumer);
            clients
                .others
                .spawn(user.work(async move |user| follow(user, level).await));
        }
        for number in 1..=2 {
            let user = clients.user(client(), format!("reader-{number}"), Kind::Reader);
            clients.others.spawn(user.work(reads));
        }
        clients
    }

    fn user(&mut self, client: Client, name: String, kind: Kind) -> User {
        let pulse = Arc::new(Pulse::new(name.clone(), kind));
        self.pulses.push(Arc::clone(&pulse));
        User {
            client,
            notes: self.shared.recorder.client(name),
            pulse,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Panics when an error has reached a user.
    pub(crate) fn assert_untroubled(&self) {
        // A copy: a panic with the lock held would have others panic too, and hide this one.
        let errors = self.shared.errors.lock().expect(LOCK).clone();
        assert!(errors.is_empty(), "errors that users must handle: {errors:#?}");
    }

    /// What interrupted consumers so far, and how often.
    pub(crate) fn interruptions(&self) -> BTreeMap<String, u64> {
        self.shared.interruptions.lock().expect(LOCK).clone()
    }

    /// Lets producers end, and consumers read to the end of what they stored; how many records that is.
    pub(crate) async fn finish(&mut self) -> u64 {
        self.shared.stop.cancel();
        in_time("the end of the producers", ended(&mut self.producers)).await;
        self.assert_untroubled();
        let end = self.shared.acknowledged_to.load(Ordering::SeqCst);
        self.shared.end.send_replace(Some(end));
        in_time("the end of the consumers", ended(&mut self.others)).await;
        self.assert_untroubled();
        end
    }
}

async fn ended(tasks: &mut JoinSet<()>) {
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
}

impl User {
    /// Does its work, and takes note of the error that ends it early.
    fn work<F>(self, work: impl FnOnce(Arc<Self>) -> F) -> impl Future<Output = ()> + Send + 'static
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let user = Arc::new(self);
        let work = work(Arc::clone(&user));
        async move {
            if let Err(error) = work.await {
                let text = format!("{} at {}: {error} ({error:?})", user.pulse.name, user.notes.now());
                user.shared.errors.lock().expect(LOCK).push(text);
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.is_cancelled()
    }

    /// Records like no others, as bytes.
    fn records_of_tick(&self, tick: u64) -> Vec<Vec<u8>> {
        let numbers = tick * RECORDS..(tick + 1) * RECORDS;
        let record = |number: u64| {
            // The number first: people are shown the first 16 bytes.
            let mut record = format!("{number} {} ", self.pulse.name).into_bytes();
            record.resize(RECORD_BYTES, b'.');
            record
        };
        numbers.map(record).collect()
    }

    /// Takes note of an append that begins now.
    fn attempt(&self, records: &[Vec<u8>], stream: Option<u64>) -> AttemptId {
        self.notes
            .attempt(&Node::new("cluster", 0), records, None, stream)
    }

    fn acknowledged(&self, attempt: AttemptId, offsets: Range<Offset>) {
        let (first, next) = (offsets.start.get(), offsets.end.get());
        self.notes.answered(attempt, Answer::acknowledged(first..next));
        self.shared.acknowledged_to.fetch_max(next, Ordering::SeqCst);
        self.pulse.beat(self.notes.now());
    }

    /// Hears of what becomes of appends, in the order in which they were made.
    async fn settle(self: Arc<Self>, mut pending: mpsc::UnboundedReceiver<Pending>) -> Result<(), Error> {
        while let Some((attempt, answer)) = pending.recv().await {
            self.acknowledged(attempt, answer.await?);
        }
        Ok(())
    }
}

fn pace() -> Interval {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// Has batches stored, many under way.
async fn batches(user: Arc<User>) -> Result<(), Error> {
    let producer = user.client.producer().build();
    let (pending, answers) = mpsc::unbounded_channel::<Pending>();
    let settled = tokio::spawn(Arc::clone(&user).settle(answers));
    let (mut pace, mut tick) = (pace(), 0);
    while !user.is_stopped() {
        pace.tick().await;
        let records = user.records_of_tick(tick);
        let attempt = user.attempt(&records, Some(producer.id()));
        let ticket = producer.send_batch(records).await?;
        // It is gone only after an error, which is told below.
        drop(pending.send((attempt, ticket.boxed())));
        tick += 1;
    }
    drop(pending);
    producer.close().await?;
    settled.await.unwrap()
}

/// Has records stored one by one, which the client puts together.
async fn records(user: Arc<User>) -> Result<(), Error> {
    let producer = user.client.producer().build();
    let (pending, answers) = mpsc::unbounded_channel::<Pending>();
    let settled = tokio::spawn(Arc::clone(&user).settle(answers));
    let (mut pace, mut tick) = (pace(), 0);
    while !user.is_stopped() {
        pace.tick().await;
        for record in user.records_of_tick(tick) {
            let attempt = user.attempt(std::slice::from_ref(&record), Some(producer.id()));
            let ticket = producer.send(record).await?;
            let answer = ticket.map(|offset| offset.map(|offset| offset..Offset(offset.get() + 1)));
            // As above.
            drop(pending.send((attempt, answer.boxed())));
        }
        tick += 1;
    }
    drop(pending);
    producer.close().await?;
    settled.await.unwrap()
}

/// One append after the other.
async fn appends(user: Arc<User>) -> Result<(), Error> {
    let (mut pace, mut tick) = (pace(), 0);
    while !user.is_stopped() {
        pace.tick().await;
        let records = user.records_of_tick(tick);
        let attempt = user.attempt(&records, None);
        let offsets = user.client.append(records).await?;
        user.acknowledged(attempt, offsets);
        tick += 1;
    }
    Ok(())
}

/// Reads everything, and waits for more, up to the end that is told at last.
async fn follow(user: Arc<User>, level: ReadLevel) -> Result<(), Error> {
    let told = Arc::clone(&user.shared);
    let consumer = user.client.consumer().follow().level(level);
    let consumer = consumer.on_interruption(move |interruption| {
        if let Interruption::Began(error) = interruption {
            let mut interruptions = told.interruptions.lock().expect(LOCK);
            *interruptions.entry(error.to_string()).or_default() += 1;
        }
    });
    let mut chunks = consumer.build().ready_chunks(NOTED_TOGETHER);
    let mut end = user.shared.end.subscribe();
    let mut next = 0;
    loop {
        let chunk = tokio::select! {
            // It never ends by itself.
            chunk = chunks.next() => chunk.unwrap(),
            _ = end.wait_for(|end| *end == Some(next)) => return Ok(()),
        };
        let records = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
        let read = Read {
            node: Node::new(&user.pulse.name, 0),
            // How fresh it had to be when it began is long ago.
            level: Level::Local,
            began: user.notes.now(),
            ended: user.notes.now(),
            from: next,
            records: records.iter().map(seen).collect(),
            limited: true,
            high_watermark: u64::MAX,
        };
        next += records.len() as u64;
        user.notes.read(read);
        user.pulse.beat(user.notes.now());
    }
}

/// Reads the end of the log, again and again, and has to see all that was acknowledged before.
async fn reads(user: Arc<User>) -> Result<(), Error> {
    let mut pace = pace();
    while !user.is_stopped() {
        pace.tick().await;
        let acknowledged = user.shared.acknowledged_to.load(Ordering::SeqCst);
        let from = acknowledged.saturating_sub(READ_BACK);
        let began = user.notes.now();
        let page = user.client.read_from(from).into_future().await?;
        let bytes: usize = page.records.iter().map(|stored| stored.value().len()).sum();
        user.notes.read(Read {
            node: Node::new(&page.node_id.to_string(), 0),
            level: Level::Linearizable,
            began,
            ended: began,
            from,
            records: page.records.iter().map(seen).collect(),
            limited: bytes >= PAGE_BYTES,
            high_watermark: page.high_watermark.get(),
        });
        user.pulse.beat(user.notes.now());
    }
    Ok(())
}

/// A record as it came.
pub(crate) fn seen(stored: &Stored) -> Seen {
    Seen {
        offset: stored.offset.get(),
        content: Content::of(stored.value()),
        origin: Origin {
            term: stored.term,
            log_index: 0,
            timestamp_ms: stored.appended_ms,
        },
    }
}
