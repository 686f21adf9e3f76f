//! A map by offset, dense as a log is.

use std::collections::BTreeMap;

/// Offsets have no gaps, so nearly all fall into a vector; the wild ones of a bad history do not make it grow.
#[derive(Debug)]
pub(super) struct OffsetMap<T> {
    dense: Vec<Option<T>>,
    dense_max: u64,
    wild: BTreeMap<u64, T>,
}

impl<T> OffsetMap<T> {
    /// For a log of about so many records.
    pub(super) fn new(records: usize) -> Self {
        Self {
            dense: Vec::new(),
            // Duplicates make a log longer than what was sent; more than twice is wild.
            dense_max: 2 * records as u64 + 1024,
            wild: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, offset: u64) -> Option<&T> {
        match self.index(offset) {
            Some(index) => self.dense.get(index)?.as_ref(),
            None => self.wild.get(&offset),
        }
    }

    pub(super) fn get_mut(&mut self, offset: u64) -> Option<&mut T> {
        match self.index(offset) {
            Some(index) => self.dense.get_mut(index)?.as_mut(),
            None => self.wild.get_mut(&offset),
        }
    }

    pub(super) fn insert(&mut self, offset: u64, value: T) {
        let Some(index) = self.index(offset) else {
            self.wild.insert(offset, value);
            return;
        };
        if index >= self.dense.len() {
            self.dense.resize_with(index + 1, || None);
        }
        self.dense[index] = Some(value);
    }

    /// In order of offset.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.dense.iter().flatten().chain(self.wild.values())
    }

    fn index(&self, offset: u64) -> Option<usize> {
        let index = usize::try_from(offset).ok();
        index.filter(|_| offset < self.dense_max)
    }
}
