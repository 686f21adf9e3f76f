//! What a stream waits for: batches that the committer has, and refusals, in the order of their requests.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::{
    answers::{Answered, answer},
    gather::ChainId,
};
use crate::net::{deadline::poll_until, port::CommitAnswer, status::Refusal};

/// A batch that the committer has.
#[derive(Debug)]
pub struct Proposed {
    /// Its answer, when it comes.
    pub answer: CommitAnswer,
    /// When its requests are answered without it.
    pub deadline: Instant,
    /// The record count of each request in it.
    pub requests: Vec<u32>,
    /// The chain it is of.
    pub chain: ChainId,
    /// What it takes.
    pub bytes: usize,
}

/// The answer to the oldest requests.
#[derive(Debug)]
pub struct Settled {
    /// What they are told.
    pub answered: Answered,
    /// The chain of their batch, when the committer had it.
    pub chain: Option<ChainId>,
}

#[derive(Debug)]
enum Pending {
    Proposed(Proposed),
    Refused { refusal: Refusal, requests: usize },
}

/// See the module.
#[derive(Debug)]
pub struct InFlight {
    pending: VecDeque<Pending>,
    batches: usize,
    bytes: usize,
    timer: Pin<Box<Sleep>>,
}

impl InFlight {
    /// Nothing yet. Batches are proposed with a deadline `request_timeout` ahead.
    #[must_use]
    pub fn new(request_timeout: Duration) -> Self {
        Self {
            pending: VecDeque::new(),
            batches: 0,
            bytes: 0,
            timer: Box::pin(sleep(request_timeout)),
        }
    }

    /// Batches and refusals.
    #[must_use]
    pub fn count(&self) -> usize {
        self.pending.len()
    }

    /// Batches that the committer has.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// What they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The committer has one more. Deadlines must not fall.
    pub fn propose(&mut self, proposed: Proposed) {
        self.batches += 1;
        self.bytes += proposed.bytes;
        self.pending.push_back(Pending::Proposed(proposed));
    }

    /// So many requests are refused, when it is their turn.
    pub fn refuse(&mut self, refusal: Refusal, requests: usize) {
        self.pending.push_back(Pending::Refused { refusal, requests });
    }

    /// The answer to the oldest requests; `None` when all are answered.
    ///
    /// Cancel: safe.
    pub fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Option<Settled>> {
        let result = match self.pending.front_mut() {
            None => return Poll::Ready(None),
            Some(Pending::Refused { .. }) => None,
            Some(Pending::Proposed(proposed)) => match Pin::new(&mut proposed.answer).poll(cx) {
                Poll::Ready(result) => Some(result),
                Poll::Pending => {
                    ready!(poll_until(&mut self.timer, proposed.deadline, cx));
                    None
                }
            },
        };
        let settled = self.pending.pop_front().map(|front| match front {
            Pending::Refused { refusal, requests } => Settled {
                answered: Answered::Refused { refusal, requests },
                chain: None,
            },
            Pending::Proposed(Proposed {
                requests,
                chain,
                bytes,
                ..
            }) => {
                self.batches -= 1;
                self.bytes -= bytes;
                let answered = match result {
                    Some(result) => answer(requests, result),
                    None => Answered::Refused {
                        refusal: Refusal::ProduceDeadline,
                        requests: requests.len(),
                    },
                };
                Settled {
                    answered,
                    chain: Some(chain),
                }
            }
        });
        Poll::Ready(settled)
    }
}
