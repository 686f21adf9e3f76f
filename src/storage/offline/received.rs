//! What is being received from another node, or is being installed: manifests and staged segments.

use std::{io, path::PathBuf};

use super::{Findings, LogFiles, Weight, files::read_small};
use crate::{
    error::causes,
    storage::{
        Manifest, ManifestSegment,
        fs::{FileSystem, OpenMode},
        names,
        segment::{self, Expected, Unfit},
    },
    types::ClusterId,
};

/// More than a manifest of the most segments, with the largest checkpoint, takes.
const BYTES_MAX: u64 = 128 << 20;

const FETCHED_AGAIN: &str = "it is no part of the log yet, and is fetched again when the node runs";
const NOT_INSTALLED: &str =
    "the node does not start: remove it from the cluster, and start it anew with an empty data directory";

/// Looks at both manifests, and at the segments that they count on.
///
/// Blocking: reads staged segments whole.
pub(super) fn check_received(
    file_system: &dyn FileSystem,
    files: &LogFiles,
    cluster_id: Option<ClusterId>,
    findings: &mut Findings,
) {
    if let Err(error) = look(file_system, files, cluster_id, findings) {
        findings.unreadable(&files.directory, None, &error);
    }
}

fn look(
    file_system: &dyn FileSystem,
    files: &LogFiles,
    cluster_id: Option<ClusterId>,
    findings: &mut Findings,
) -> io::Result<()> {
    let incoming = names::manifest_incoming(&files.directory);
    if let Some(manifest) = read(
        file_system,
        incoming,
        cluster_id,
        (Weight::Mends, FETCHED_AGAIN),
        findings,
    )? {
        for segment in &manifest.segments {
            if let Some(what) = fault_of_staged(file_system, files, &manifest, segment)?.flatten() {
                let path = names::staged(&files.directory, segment.first_log_index);
                findings.of_file(Weight::Mends, &path, what, FETCHED_AGAIN);
            }
        }
    }
    if !files.installing {
        return Ok(());
    }
    let installing = names::manifest_installing(&files.directory);
    let Some(manifest) = read(
        file_system,
        installing,
        cluster_id,
        (Weight::Fault, NOT_INSTALLED),
        findings,
    )?
    else {
        return Ok(());
    };
    for segment in &manifest.segments {
        let first = segment.first_log_index;
        let (path, what) = match fault_of_staged(file_system, files, &manifest, segment)? {
            Some(None) => continue,
            Some(Some(what)) => (names::staged(&files.directory, first), what),
            // It has its place already, or had it before.
            None if is_in_place(file_system, files, segment)? => continue,
            None => (
                files.store(first),
                "it is missing, though a manifest that is being installed counts on it".to_owned(),
            ),
        };
        findings.of_file(Weight::Fault, &path, what, NOT_INSTALLED);
    }
    Ok(())
}

/// The manifest, if it is there and right; what is wrong with it weighs that much.
fn read(
    file_system: &dyn FileSystem,
    path: PathBuf,
    cluster_id: Option<ClusterId>,
    (weight, meaning): (Weight, &'static str),
    findings: &mut Findings,
) -> io::Result<Option<Manifest>> {
    let bytes = match read_small(file_system, &path, BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let what = match Manifest::decode(&bytes) {
        Err(error) => causes(&error),
        Ok(manifest) => match cluster_id.filter(|own| *own != manifest.cluster_id) {
            None => return Ok(Some(manifest)),
            Some(own) => format!(
                "it belongs to cluster {}, this node to cluster {own}",
                manifest.cluster_id
            ),
        },
    };
    findings.of_file(weight, &path, what, meaning);
    Ok(None)
}

/// What is wrong with a staged segment; `Some(None)`: nothing. `None`: it is not staged.
fn fault_of_staged(
    file_system: &dyn FileSystem,
    files: &LogFiles,
    manifest: &Manifest,
    segment: &ManifestSegment,
) -> io::Result<Option<Option<String>>> {
    let path = names::staged(&files.directory, segment.first_log_index);
    let file = match file_system.open(&path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let expected = Expected {
        cluster_id: manifest.cluster_id,
        first_log_index: segment.first_log_index,
        first_offset: segment.first_offset,
    };
    match segment::verify(&file, &expected) {
        Ok(_) => Ok(Some(None)),
        Err(Unfit::Content(what)) => Ok(Some(Some(what))),
        Err(Unfit::Io(error)) => Err(error),
    }
}

/// Whether the log has a segment of that name and length; what is in it is looked at with the others.
fn is_in_place(
    file_system: &dyn FileSystem,
    files: &LogFiles,
    segment: &ManifestSegment,
) -> io::Result<bool> {
    if !files.stores.contains(&segment.first_log_index) {
        return Ok(false);
    }
    let store = file_system.open(&files.store(segment.first_log_index), OpenMode::Read)?;
    Ok(store.size()? == segment.bytes)
}
