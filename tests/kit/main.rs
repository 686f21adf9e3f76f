//! The test kit as those use it who build on Annals: nothing here but `annals::testing`.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod cuts;
mod lives;
mod nothing_left;

use annals::testing::StoredRecord;
use tokio::sync::RwLock;

/// Held by each test, and by the one that counts threads alone.
static AT_WORK: RwLock<()> = RwLock::const_new(());

/// The values of records, as text.
fn values(records: Vec<StoredRecord>) -> Vec<String> {
    let text = |record: StoredRecord| String::from_utf8(record.value.to_vec()).unwrap();
    records.into_iter().map(text).collect()
}
