//! A queue that grows without moving what is in it.
//!
//! A hundred thousand entries in one piece of memory were copied, all of them, each time that it had to be twice as large: tens of milliseconds in
//! which the thread of consensus did nothing else.

use std::collections::VecDeque;

/// Items in one piece of memory.
const PIECE: usize = 1024;

/// See the module. Items have numbers from 0, which is the oldest.
#[derive(Debug)]
pub(super) struct Pieces<T> {
    /// Each but the first and the last has [`PIECE`] items; none is empty.
    pieces: VecDeque<VecDeque<T>>,
    /// How many items of the first piece are gone.
    gone: usize,
    len: usize,
}

impl<T> Pieces<T> {
    pub(super) fn new() -> Self {
        Self {
            pieces: VecDeque::new(),
            gone: 0,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push_back(&mut self, item: T) {
        let is_full = (self.gone + self.len).is_multiple_of(PIECE);
        if is_full || self.pieces.is_empty() {
            self.pieces.push_back(VecDeque::with_capacity(PIECE));
        }
        if let Some(last) = self.pieces.back_mut() {
            last.push_back(item);
            self.len += 1;
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let first = self.pieces.front_mut()?;
        let item = first.pop_front();
        (self.gone, self.len) = (self.gone + 1, self.len - 1);
        if first.is_empty() {
            self.pieces.pop_front();
            self.gone = 0;
        }
        item
    }

    pub(super) fn pop_back(&mut self) -> Option<T> {
        let last = self.pieces.back_mut()?;
        let item = last.pop_back();
        self.len -= 1;
        if last.is_empty() {
            self.pieces.pop_back();
        }
        if self.pieces.is_empty() {
            self.gone = 0;
        }
        item
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        let (piece, at) = self.place(number);
        self.pieces.get_mut(piece)?.get_mut(at)
    }

    /// The items from that number on.
    pub(super) fn starting_at(&self, number: usize) -> impl Iterator<Item = &T> {
        let (piece, at) = self.place(number.min(self.len));
        let pieces = self.pieces.iter().skip(piece).enumerate();
        pieces.flat_map(move |(nth, items)| items.iter().skip(if nth == 0 { at } else { 0 }))
    }

    /// In which piece an item is, and where in it.
    fn place(&self, number: usize) -> (usize, usize) {
        let number = number.saturating_add(self.gone);
        match number / PIECE {
            0 => (0, number - self.gone),
            piece => (piece, number % PIECE),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        PopFront(usize),
        PopBack(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let many = || 0..3 * PIECE;
        let step = prop_oneof![
            2 => many().prop_map(Step::Push),
            1 => many().prop_map(Step::PopFront),
            1 => many().prop_map(Step::PopBack),
        ];
        collection::vec(step, 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_holds_what_a_plain_queue_holds(steps in steps(), asked in 0..9 * PIECE) {
            let (mut pieces, mut model, mut next) = (Pieces::new(), VecDeque::new(), 0);
            for step in steps {
                match step {
                    Step::Push(count) => for _ in 0..count {
                        pieces.push_back(next);
                        model.push_back(next);
                        next += 1;
                    },
                    Step::PopFront(count) => for _ in 0..count {
                        prop_assert_eq!(pieces.pop_front(), model.pop_front());
                    },
                    Step::PopBack(count) => for _ in 0..count {
                        prop_assert_eq!(pieces.pop_back(), model.pop_back());
                    },
                }
                prop_assert_eq!(pieces.len(), model.len());
                prop_assert_eq!(pieces.get_mut(asked), model.get_mut(asked));
                prop_assert!(pieces.starting_at(asked).eq(model.iter().skip(asked)));
                prop_assert!(pieces.starting_at(0).eq(model.iter()));
            }
        }
    }
}
