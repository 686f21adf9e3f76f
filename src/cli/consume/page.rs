//! What is to be written out, and where in it each record ends.

use std::collections::VecDeque;

use crate::{
    cli::{
        error::CliError,
        output::{RecordFormat, write_batch},
    },
    proto::raw::annals::v1::Batch,
    types::Offset,
};

/// Records as they are printed, and how much of them is out.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: Vec<u8>,
    written: usize,
    /// Where the record ends that was written out last.
    whole: usize,
    /// Of each record that is not out: where it ends, and the offset behind it.
    ends: VecDeque<(usize, Offset)>,
}

impl Page {
    /// Prints the records of a batch.
    ///
    /// Errors: `Protocol`; those before the one that cannot be decoded are printed.
    pub(super) fn add(&mut self, batch: &Batch, format: RecordFormat) -> Result<(), CliError> {
        let ends = &mut self.ends;
        write_batch(&mut self.text, batch, format, |text, next| {
            ends.push_back((text.len(), next));
        })
    }

    /// What is not out yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.text[self.written..]
    }

    /// So many bytes more are out; says the offset behind the last record that is out as a whole, if one is that was not before.
    pub(super) fn wrote(&mut self, count: usize) -> Option<Offset> {
        self.written += count;
        let mut next = None;
        while let Some((end, behind)) = self.ends.front().copied().filter(|(end, _)| *end <= self.written) {
            (self.whole, next) = (end, Some(behind));
            self.ends.pop_front();
        }
        if self.written == self.text.len() {
            self.text.clear();
            (self.written, self.whole) = (0, 0);
        }
        next
    }

    /// Takes back what is not out, but for the rest of a record that has begun.
    pub(super) fn cut(&mut self) {
        let begun = usize::from(self.written > self.whole);
        self.ends.truncate(begun);
        let end = self.ends.front().map_or(self.written, |(end, _)| *end);
        self.text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use super::*;
    use crate::proto::annals::v1::{Record, RecordSet};

    /// Records with these values, from offset 7 on.
    fn page(values: &[&'static str]) -> Page {
        let record = |value: &&'static str| Record {
            value: Bytes::from_static(value.as_bytes()),
            ..Record::default()
        };
        let records = values.iter().map(record).collect();
        let batch = Batch {
            base_offset: 7,
            record_count: u32::try_from(values.len()).unwrap(),
            records: Some(RecordSet { records }.encode_to_vec().into()),
            ..Batch::default()
        };
        let mut page = Page::default();
        page.add(&batch, RecordFormat::Value).unwrap();
        page
    }

    #[test]
    fn a_record_counts_once_its_last_byte_is_out() {
        let mut page = page(&["ab", "", "cde"]);
        assert_eq!(page.rest(), b"ab\n\ncde\n");
        let said: Vec<_> = std::iter::from_fn(|| (!page.rest().is_empty()).then(|| page.wrote(1))).collect();
        let (none, at) = (None, |offset| Some(Offset(offset)));
        assert_eq!(said, [none, none, at(8), at(9), none, none, none, at(10)]);
    }

    #[test]
    fn what_is_cut_ends_with_the_record_that_has_begun() {
        for (written, left) in [
            (0, ""),
            (1, "b\n"),
            (2, "\n"),
            (3, ""),
            (4, ""),
            (5, "de\n"),
            (8, ""),
        ] {
            let mut page = page(&["ab", "", "cde"]);
            page.wrote(written);
            page.cut();
            assert_eq!(page.rest(), left.as_bytes(), "{written}");
            let behind = page.wrote(left.len());
            assert_eq!(behind.is_some(), !left.is_empty(), "{written}");
            assert!(page.rest().is_empty(), "{written}");
        }
    }
}
