//! The table as bytes, for the head of a segment: a part of the sequencer's state.
//!
//! `count u32`, then for each cursor, by rising name: `name_length u8 | name | epoch u64 | changed u64 | committed u8`, and, where
//! that is 1, `offset u64`. One table has one encoding.

use crate::{
    storage::sequencer::{CheckpointError, Reader},
    types::{LogIndex, Offset, STORED_NUMBER_MAX, TimestampMs},
};

use super::{CURSORS_MAX, Cursor, CursorName, Cursors};

impl Cursors {
    /// Appends the table to `into`.
    pub(in crate::storage) fn encode(&self, into: &mut Vec<u8>) {
        let count = u32::try_from(self.table.len()).expect("CURSORS_MAX fits");
        into.extend_from_slice(&count.to_le_bytes());
        for (name, cursor) in &self.table {
            let name = name.as_str().as_bytes();
            into.push(u8::try_from(name.len()).expect("CURSOR_NAME_BYTES_MAX fits"));
            into.extend_from_slice(name);
            into.extend_from_slice(&cursor.epoch.get().to_le_bytes());
            into.extend_from_slice(&cursor.changed.0.to_le_bytes());
            into.push(u8::from(cursor.offset.is_some()));
            if let Some(offset) = cursor.offset {
                into.extend_from_slice(&offset.get().to_le_bytes());
            }
        }
    }

    /// Reads what [`Cursors::encode`] wrote, of a log whose next offset is `next_offset`: at least one cursor, since a table
    /// without any is not written.
    pub(in crate::storage) fn decode(
        reader: &mut Reader<'_>,
        next_offset: Offset,
    ) -> Result<Self, CheckpointError> {
        let count = reader.u32()? as usize;
        reader.require(
            (1..=CURSORS_MAX).contains(&count),
            "more cursors than are ever kept, or none",
        )?;
        let mut cursors = Self::default();
        for _ in 0..count {
            let name_len = usize::from(reader.u8()?);
            let name = CursorName::of_bytes(reader.slice(name_len)?)
                .ok_or_else(|| reader.impossible("a cursor without a proper name"))?;
            let last = cursors.table.last_key_value().map(|(last, _)| last);
            reader.require(last < Some(&name), "cursors out of order")?;
            let epoch = LogIndex(reader.u64()?);
            let changed = TimestampMs(reader.u64()?);
            let offset = match reader.u8()? {
                0 => None,
                1 => Some(Offset(reader.u64()?)),
                _ => return Err(reader.impossible("a cursor neither committed nor not")),
            };
            reader.require(
                epoch.get() <= STORED_NUMBER_MAX && offset <= Some(next_offset),
                "a cursor lies behind the log's end",
            )?;
            let is_of_a_take = epoch > LogIndex::ZERO;
            reader.require(
                is_of_a_take || offset.is_some(),
                "a cursor that nobody took or committed",
            )?;
            let cursor = Cursor {
                epoch,
                offset,
                changed,
            };
            cursors.table.insert(name, cursor);
        }
        Ok(cursors)
    }
}
