//! Names of the files in a log's directory.

use std::path::{Path, PathBuf};

use crate::types::LogIndex;

const STORE: &str = ".store";
const INDEX: &str = ".index";
const PREPARING: &str = ".preparing";
const INCOMING: &str = ".incoming";
const STAGED: &str = ".staged";
const QUARANTINED: &str = ".store.quarantined.";
const CLOSED: &str = ".store.closed.";
/// The manifest of what is being received. No segment's name begins like this.
const MANIFEST_INCOMING: &str = "manifest.incoming";
/// The same once it is being installed: whoever opens the log finishes that first.
const MANIFEST_INSTALLING: &str = "manifest.installing";

/// The store of the segment whose first entry is `first`.
pub(super) fn store(directory: &Path, first: LogIndex) -> PathBuf {
    directory.join(format!("{:020}{STORE}", first.get()))
}

/// The index of the segment whose first entry is `first`.
pub(super) fn index(directory: &Path, first: LogIndex) -> PathBuf {
    directory.join(format!("{:020}{INDEX}", first.get()))
}

/// A file that is not part of the log until it is renamed to its name; start-up removes leftovers.
pub(super) fn preparing(directory: &Path, what: &str) -> PathBuf {
    directory.join(format!("{what}{PREPARING}"))
}

/// Whether `name` is such a file.
pub(super) fn is_preparing(name: &str) -> bool {
    name.ends_with(PREPARING)
}

/// The first entry of the segment whose store has `name`; `None` when it is no store's name.
pub(super) fn first_of_store(name: &str) -> Option<LogIndex> {
    first_of(name, STORE)
}

/// The same of an index's name.
pub(super) fn first_of_index(name: &str) -> Option<LogIndex> {
    first_of(name, INDEX)
}

/// A segment that is being received, as far as it is.
pub(super) fn incoming(directory: &Path, first: LogIndex) -> PathBuf {
    directory.join(format!("{:020}{INCOMING}", first.get()))
}

/// The same once it is whole, synced and verified.
pub(super) fn staged(directory: &Path, first: LogIndex) -> PathBuf {
    directory.join(format!("{:020}{STAGED}", first.get()))
}

/// The first entry of the segment that is being received under `name`; `None` when that is another file's name.
pub(super) fn first_of_incoming(name: &str) -> Option<LogIndex> {
    first_of(name, INCOMING)
}

/// The first entry of the segment that is staged under `name`.
pub(super) fn first_of_staged(name: &str) -> Option<LogIndex> {
    first_of(name, STAGED)
}

/// Where the manifest of what is being received is.
pub(super) fn manifest_incoming(directory: &Path) -> PathBuf {
    directory.join(MANIFEST_INCOMING)
}

/// Where it is while it is installed.
pub(super) fn manifest_installing(directory: &Path) -> PathBuf {
    directory.join(MANIFEST_INSTALLING)
}

/// A damaged store that was taken out of the log, to be repaired; `number` tells those of one segment apart.
pub(super) fn quarantined(directory: &Path, first: LogIndex, number: u32) -> PathBuf {
    directory.join(format!("{:020}{QUARANTINED}{number}", first.get()))
}

/// The same once nothing is to be repaired any more: kept for people.
pub(super) fn closed(directory: &Path, first: LogIndex, number: u32) -> PathBuf {
    directory.join(format!("{:020}{CLOSED}{number}", first.get()))
}

/// Which segment was taken out under `name`, and its number; `None` when that is another file's name.
pub(super) fn of_quarantined(name: &str) -> Option<(LogIndex, u32)> {
    numbered(name, QUARANTINED)
}

/// The same of one where nothing is to be repaired any more.
pub(super) fn of_closed(name: &str) -> Option<(LogIndex, u32)> {
    numbered(name, CLOSED)
}

fn numbered(name: &str, infix: &str) -> Option<(LogIndex, u32)> {
    let (digits, number) = name.split_once(infix)?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((first_of(digits, "")?, number.parse().ok().filter(|_| plain)?))
}

/// Whether `name` is that of a manifest of what is being received.
pub(super) fn is_manifest_incoming(name: &str) -> bool {
    name == MANIFEST_INCOMING
}

/// Whether `name` is that of a manifest of what is being installed.
pub(super) fn is_manifest_installing(name: &str) -> bool {
    name == MANIFEST_INSTALLING
}

fn first_of(name: &str, suffix: &str) -> Option<LogIndex> {
    let digits = name.strip_suffix(suffix)?;
    let well_formed = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    well_formed.then(|| digits.parse().ok().map(LogIndex)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_found_again_by_its_name_and_nothing_else_is() {
        let path = store(Path::new("d"), LogIndex(42));
        assert_eq!(path, Path::new("d/00000000000000000042.store"));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        assert_eq!(first_of_store(name), Some(LogIndex(42)));
        for other in [
            "42.store",
            "0000000000000000004x.store",
            "00000000000000000042.index",
            "+0000000000000000042.store",
        ] {
            assert_eq!(first_of_store(other), None, "{other}");
        }
        assert_eq!(first_of_index("00000000000000000042.index"), Some(LogIndex(42)));
        assert_eq!(first_of_index(name), None);
        let name = "00000000000000000042.store.quarantined.3";
        assert_eq!(
            quarantined(Path::new("d"), LogIndex(42), 3),
            Path::new("d").join(name)
        );
        assert_eq!(of_quarantined(name), Some((LogIndex(42), 3)));
        for other in [
            "42.store.quarantined.3",
            "00000000000000000042.store.quarantined.+3",
        ] {
            assert_eq!(of_quarantined(other), None, "{other}");
        }
        assert_eq!((first_of_store(name), of_closed(name)), (None, None));
    }
}
