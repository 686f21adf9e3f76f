//! Temporary directories of `annals dev` that was killed: told, and never removed.
//!
//! Nobody can tell for certain that nobody wants what is in one: its name may have been given to `--data-dir` since, or by hand. So whoever
//! starts the next `dev` is told which there are, and how to remove them.

use std::{
    fs,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    clock,
    storage::{data_dir::IdleDataDir, fs::RealFileSystem},
};

use super::argument::shell_quoted;

/// How the name of such a directory begins.
pub(super) const PREFIX: &str = "annals-dev-";

/// One that was used within this may be about to be looked at by whoever killed its node.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Of more than these the first are named: a line is read, and a page is not.
const NAMED_MAX: usize = 10;

/// What to tell of those in `above`; `None`: there is none.
///
/// Blocking: looks at each directory whose name begins as theirs do.
pub(super) fn note(above: &Path) -> Option<String> {
    let entries = fs::read_dir(above).ok()?;
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_ours = path.file_name()?.to_str()?.starts_with(PREFIX);
            (is_ours && is_forgotten(&path)?).then_some(path)
        })
        .collect();
    found.sort_unstable();
    let named = found.iter().take(NAMED_MAX);
    let names: Vec<_> = named
        .map(|path| shell_quoted(&path.to_string_lossy()).into_owned())
        .collect();
    let directories = match found.len() {
        0 => return None,
        1 => "a temporary directory of an `annals dev` that was killed is".to_owned(),
        count => format!("{count} temporary directories of `annals dev` that was killed are"),
    };
    Some(format!(
        "{directories} still there; to remove what nobody needs: rm -r {}",
        names.join(" ")
    ))
}

/// Whether it is the data of a node that nobody uses and that nobody has used for a day; `None` where that cannot be told.
fn is_forgotten(path: &Path) -> Option<bool> {
    // With --nodes there is a directory for each in it.
    let of_nodes = fs::read_dir(path)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let mut is_data = false;
    for data in of_nodes.chain([path.to_owned()]) {
        if !data.join("identity").is_file() {
            continue;
        }
        is_data = true;
        let last_start = fs::metadata(data.join("LOCK")).ok()?.modified().ok()?;
        let last_start = last_start.duration_since(UNIX_EPOCH).ok()?;
        let since = Duration::from_millis(clock::wall().0).saturating_sub(last_start);
        if since < FORGOTTEN_AFTER || IdleDataDir::open(&RealFileSystem, &data).is_err() {
            return Some(false);
        }
    }
    Some(is_data)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, sync::Arc};

    use super::*;
    use crate::storage::data_dir::DataDir;

    /// A directory of that name with the data of a node, which was started so long ago.
    fn data(above: &Path, name: &str, below: &str, age: Duration) -> DataDir {
        let path = above.join(name).join(below);
        fs::create_dir_all(&path).unwrap();
        let data = DataDir::open(Arc::new(RealFileSystem), &path, "node-0").unwrap();
        let started = UNIX_EPOCH + Duration::from_millis(clock::wall().0) - age;
        File::open(path.join("LOCK"))
            .unwrap()
            .set_modified(started)
            .unwrap();
        data
    }

    #[test]
    fn only_what_a_node_left_that_ended_long_ago_is_told_and_nothing_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let above = temp.path();
        assert_eq!(note(above), None);
        let (hour, week) = (Duration::from_secs(3600), Duration::from_secs(7 * 24 * 3600));
        let used = data(above, "annals-dev-used", "", week);
        drop(data(above, "annals-dev-new", "", hour));
        drop(data(above, "somebody-s", "", week));
        fs::create_dir(above.join("annals-dev-empty")).unwrap();
        fs::write(above.join("annals-dev-file"), "").unwrap();
        assert_eq!(note(above), None);
        drop(data(above, "annals-dev-b", "node-1", week));
        let one = note(above).unwrap();
        assert!(one.starts_with("a temporary directory "), "{one}");
        drop(data(above, "annals-dev-a", "", week));
        let several = format!(
            "2 temporary directories of `annals dev` that was killed are still there; to remove what nobody needs: rm -r {0}/annals-dev-a {0}/annals-dev-b",
            above.display()
        );
        assert_eq!(note(above), Some(several));
        drop(used);
        assert_eq!(fs::read_dir(above).unwrap().count(), 7);
    }
}
