//! The responses that tell the requests of one batch what became of it.

use std::vec;

use crate::{
    net::produce::answers::Answered,
    proto::raw::annals::v1::{ProduceResponse, ResponseHeader},
};

/// The responses of one batch, made one by one as they are sent: a batch may have thousands of requests, and of a client
/// that does not read its answers none should be there before its turn.
#[derive(Debug)]
pub struct Acks {
    /// What is the same in all of them.
    template: ProduceResponse,
    left: Left,
}

#[derive(Debug)]
enum Left {
    /// The template itself, so often.
    Same(usize),
    /// The offsets of each request in turn; the record counts of those left.
    Each(vec::IntoIter<u32>),
}

impl Acks {
    /// One for all requests that were stored together; one for each that was refused, or repeated.
    #[must_use]
    pub fn new(header: ResponseHeader, answered: Answered) -> Self {
        let template = ProduceResponse {
            header: Some(header),
            requests: 1,
            ..ProduceResponse::default()
        };
        match answered {
            Answered::Stored {
                offsets,
                requests,
                repeated: false,
            } => Self {
                template: ProduceResponse {
                    first_offset: offsets.start,
                    next_offset: offsets.end,
                    requests: u32::try_from(requests.len()).unwrap_or(u32::MAX),
                    ..template
                },
                left: Left::Same(1),
            },
            Answered::Stored {
                offsets,
                requests,
                repeated: true,
            } => Self {
                template: ProduceResponse {
                    next_offset: offsets.start,
                    repeated: true,
                    ..template
                },
                left: Left::Each(requests.into_iter()),
            },
            Answered::Refused { refusal, requests } => Self {
                template: ProduceResponse {
                    failure: Some(refusal.into_failure()),
                    ..template
                },
                left: Left::Same(requests),
            },
        }
    }
}

impl Iterator for Acks {
    type Item = ProduceResponse;

    fn next(&mut self) -> Option<ProduceResponse> {
        match &mut self.left {
            Left::Same(0) => return None,
            Left::Same(left) => *left -= 1,
            Left::Each(requests) => {
                let record_count = requests.next()?;
                self.template.first_offset = self.template.next_offset;
                self.template.next_offset += u64::from(record_count);
            }
        }
        Some(self.template.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::status::Refusal;

    #[test]
    fn refusals_of_a_batch_are_made_one_by_one() {
        // More than any memory could hold.
        let refused = Answered::Refused {
            refusal: Refusal::Overloaded,
            requests: usize::MAX,
        };
        let mut acks = Acks::new(ResponseHeader::default(), refused);
        for _ in 0..3 {
            let ack = acks.next().unwrap();
            assert_eq!(
                (ack.requests, ack.failure.unwrap().reason.as_str()),
                (1, "OVERLOADED")
            );
        }
    }

    #[test]
    fn requests_that_repeat_are_told_their_own_offsets() {
        let stored = |repeated| Answered::Stored {
            offsets: 10..16,
            requests: vec![1, 2, 3],
            repeated,
        };
        let offsets = |answered| {
            Acks::new(ResponseHeader::default(), answered)
                .map(|ack| (ack.first_offset, ack.next_offset, ack.requests, ack.repeated))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            offsets(stored(true)),
            [(10, 11, 1, true), (11, 13, 1, true), (13, 16, 1, true)]
        );
        assert_eq!(offsets(stored(false)), [(10, 16, 3, false)]);
    }
}
