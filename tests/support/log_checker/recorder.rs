//! Where clients note what they see.

use std::sync::{Arc, Mutex, MutexGuard};

use super::{
    super::standstills::Standstills, Answer, Attempt, Clock, Content, Contents, History, Moment, Node, Read,
    Stamp, Watermark,
};

/// Gives each client a notebook, and binds them all into one history. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    clock: Arc<Clock>,
    books: Arc<Mutex<Vec<Arc<Mutex<History>>>>>,
    standstills: Arc<Standstills>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            clock: Arc::new(Clock::new()),
            books: Arc::default(),
            standstills: Arc::new(Standstills::watch()),
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// A notebook for a client of this name.
    pub(crate) fn client(&self, name: impl Into<String>) -> Notes {
        let book = Arc::new(Mutex::default());
        let mut books = self.books.lock().expect("no call panics while it has the lock");
        books.push(book.clone());
        Notes {
            clock: self.clock.clone(),
            client: name.into().into(),
            number: books.len(),
            book,
        }
    }

    /// What there is so far, in order of time.
    pub(crate) fn history(&self) -> History {
        let mut history = History::default();
        let books = self.books.lock().expect("no call panics while it has the lock");
        for book in books.iter() {
            let book = lock(book);
            history.attempts.extend_from_slice(&book.attempts);
            history.reads.extend_from_slice(&book.reads);
            history.contents.extend_from_slice(&book.contents);
            history.watermarks.extend_from_slice(&book.watermarks);
        }
        drop(books);
        history.attempts.sort_unstable_by_key(|attempt| attempt.began);
        history.reads.sort_unstable_by_key(|read| read.ended);
        let noted = self.standstills.noted().into_iter();
        history.standstills = noted
            .map(|still| self.clock.at(still.start)..self.clock.at(still.end))
            .collect();
        history
    }
}

/// One client's notebook: its lock is contended by nobody but clones and [`Recorder::history`], and what is in it is
/// not lost with a client that panics.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    clock: Arc<Clock>,
    client: Arc<str>,
    number: usize,
    book: Arc<Mutex<History>>,
}

/// Names an attempt in the notes it was made in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptId {
    notes: usize,
    index: usize,
}

impl Notes {
    /// Now.
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The client is about to send these records to `node`.
    pub(crate) fn attempt<R: AsRef<[u8]>>(
        &self,
        node: &Node,
        records: &[R],
        stamp: Option<Stamp>,
        stream: Option<u64>,
    ) -> AttemptId {
        let attempt = Attempt {
            client: self.client.clone(),
            node: node.clone(),
            records: records
                .iter()
                .map(|record| Content::of(record.as_ref()))
                .collect(),
            stamp,
            stream,
            began: self.now(),
            answer: None,
        };
        let mut book = lock(&self.book);
        book.attempts.push(attempt);
        AttemptId {
            notes: self.number,
            index: book.attempts.len() - 1,
        }
    }

    /// The answer has just come.
    pub(crate) fn answered(&self, attempt: AttemptId, answer: Answer) {
        assert_eq!(attempt.notes, self.number, "an attempt of another client");
        let ended = self.now();
        let earlier = lock(&self.book).attempts[attempt.index]
            .answer
            .replace((ended, answer));
        assert_eq!(earlier, None, "a try is answered once (ACT-1)");
    }

    /// A read has just ended; `read.ended` is set here.
    pub(crate) fn read(&self, read: Read) {
        let ended = self.now();
        lock(&self.book).reads.push(Read { ended, ..read });
    }

    /// `node` has just told its high watermark to a client who asked at `began`.
    pub(crate) fn watermark(&self, node: Node, began: Moment, value: u64) {
        let ended = self.now();
        lock(&self.book).watermarks.push(Watermark {
            node,
            began,
            ended,
            value,
        });
    }

    /// Somebody has just read all that a node has; `contents.ended` is set here.
    pub(crate) fn contents(&self, contents: Contents) {
        let ended = self.now();
        lock(&self.book).contents.push(Contents { ended, ..contents });
    }
}

fn lock(book: &Mutex<History>) -> MutexGuard<'_, History> {
    book.lock().expect("no call panics while it has the lock")
}
