//! Whose data is in the directory that `annals dev` is given: that of one node, or of several, each in a directory of its name.

use std::path::{Path, PathBuf};

use crate::config::NodeName;

/// The directory holds the data of another number of nodes. To start all the same would found a new cluster in it, and the old records would seem
/// to be gone.
#[derive(Debug, thiserror::Error)]
pub enum OtherNodes {
    /// Several nodes were to start on the data of one.
    #[error("{} holds the data of a single node, and --nodes {asked} would found another cluster in it", path.display())]
    Single {
        /// The directory.
        path: PathBuf,
        /// How many were to start.
        asked: u16,
    },
    /// One node was to start on the data of several.
    #[error(
        "{} holds the data of several nodes ({}), and a single node would be another cluster",
        path.display(),
        names.join(", ")
    )]
    Several {
        /// The directory.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
}

impl OtherNodes {
    /// Both ways on.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Single { .. } => {
                "leave out --nodes to start the node whose data that is, or give another --data-dir"
                    .to_owned()
            }
            Self::Several { names, .. } => format!(
                "--nodes {} starts those whose data that is, or give another --data-dir",
                // One that is alone in its directory was one of several all the same.
                names.len().max(2)
            ),
        }
    }
}

/// Makes sure that so many nodes are at home there, or nobody is. Where data of both kinds is, each finds its own.
///
/// Errors: [`OtherNodes`]. Blocking: looks into the directory.
pub(super) fn refuse_other_nodes(path: &Path, nodes: u16, nodes_max: u16) -> Result<(), OtherNodes> {
    let is_single = is_data(path);
    let names = (0..nodes_max).map(|number| NodeName::numbered(u32::from(number)).to_string());
    let names: Vec<_> = names.filter(|name| is_data(&path.join(name))).collect();
    let path = path.to_owned();
    match (nodes > 1, is_single, names.is_empty()) {
        (true, true, true) => Err(OtherNodes::Single { path, asked: nodes }),
        (false, false, false) => Err(OtherNodes::Several { path, names }),
        _ => Ok(()),
    }
}

/// What cannot be looked at is for the node's start to tell.
fn is_data(directory: &Path) -> bool {
    directory.join("identity").is_file() || directory.join("logs").is_dir()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nobody_is_put_into_the_directory_of_others() {
        let temp = tempfile::tempdir().expect("there is room for a directory");
        let path = temp.path();
        let check = |nodes| refuse_other_nodes(path, nodes, 5);
        assert!(check(1).is_ok() && check(3).is_ok(), "nobody is there");
        fs::create_dir_all(path.join("node-0/logs")).expect("it can be made");
        fs::create_dir_all(path.join("node-1/logs")).expect("it can be made");
        let refused = check(1).expect_err("two are at home there");
        assert!(refused.hint().starts_with("--nodes 2 "), "{}", refused.hint());
        assert!(check(3).is_ok());
        fs::write(path.join("identity"), b"").expect("it can be written");
        assert!(check(1).is_ok() && check(3).is_ok(), "each finds its own");
        for name in ["node-0", "node-1"] {
            fs::remove_dir_all(path.join(name)).expect("it is there");
        }
        let refused = check(3).expect_err("one is at home there");
        assert!(refused.hint().contains("leave out --nodes"), "{}", refused.hint());
    }
}
