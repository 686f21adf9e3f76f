//! `annals certs list`: what is there, and what is wrong with it.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    certs::{Certificate, CertsError},
    clock,
    error::causes,
    types::TimestampMs,
};

use super::{
    ListArgs,
    argument::AUTHORITY,
    error::CertsFailure,
    folder::{UNFINISHED, read, read_key},
    table,
};
use crate::cli::{argument::shell_quoted, error::CliError};

/// What files with certificates are called.
const CERTIFICATE_EXTENSIONS: [&str; 2] = ["pem", "crt"];
/// What files with keys are called.
const KEY_EXTENSION: &str = "key";
/// Rights of anybody but the owner.
const OTHERS: u32 = 0o077;

/// Whether the key beside a certificate is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyFile {
    /// There is none.
    Missing,
    /// It is.
    Belongs,
    /// It is that of another certificate.
    OfAnother,
    /// Nobody knows.
    Unreadable(String),
}

/// One certificate.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) file: PathBuf,
    pub(super) certificate: Certificate,
    /// Beside the first certificate of a file; those behind it are of whoever vouches for that.
    pub(super) key: Option<(PathBuf, KeyFile)>,
    /// Who signed it, where that is known for certain.
    pub(super) signed_by: Option<Signer>,
    pub(super) expired: bool,
    pub(super) due: bool,
    pub(super) warnings: Vec<String>,
}

/// Who signed a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    /// The authority in the same directory.
    Authority,
    /// Its own holder.
    Itself,
}

/// What is there.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) certificates: Vec<Listed>,
    /// Files that have no certificate, or no other half, and why.
    pub(super) problems: Vec<(PathBuf, String)>,
    /// How many of them have certificates that nobody knows, one that has expired among them, perhaps.
    unreadable: usize,
}

/// Prints what is there.
///
/// Errors: when all was printed, `Due` where some of it has expired, or will within the time given, and else `Unreadable` where
/// some of it could not be looked at.
pub(super) fn run(args: &ListArgs) -> Result<(), CliError> {
    let now = clock::wall();
    let within = args.expires_within.unwrap_or_default();
    let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let horizon = TimestampMs(now.0.saturating_add(within));
    let mut listing = Listing::default();
    for path in &args.paths {
        let looked = fs::metadata(path).map_err(CertsFailure::io("read", path))?;
        let files = if looked.is_dir() {
            listing.files_with_certificates(path)?
        } else {
            vec![path.clone()]
        };
        for file in files {
            listing.look_at(&file, now, horizon);
        }
    }
    table::write(&listing, &mut io::stdout().lock(), args.output, now).map_err(CliError::from_write)?;
    let count = |is: &dyn Fn(&Listed) -> bool| listing.certificates.iter().filter(|one| is(one)).count();
    let expired = count(&|one| one.expired);
    let soon = count(&|one| one.due && !one.expired);
    if expired + soon > 0 {
        return Err(CertsFailure::Due { expired, soon }.into());
    }
    if listing.unreadable > 0 {
        let files = listing.unreadable;
        return Err(CertsFailure::Unreadable { files }.into());
    }
    Ok(())
}

impl Listing {
    /// The files of a directory that should have certificates; what is there without its other half is a problem.
    fn files_with_certificates(&mut self, directory: &Path) -> Result<Vec<PathBuf>, CertsFailure> {
        let names: BTreeSet<PathBuf> = files_of(directory)?;
        let has_extension = |path: &Path, wanted: &[&str]| {
            path.extension()
                .is_some_and(|extension| wanted.iter().any(|one| extension == *one))
        };
        for path in &names {
            if has_extension(path, &[KEY_EXTENSION]) {
                let certificates = CERTIFICATE_EXTENSIONS.map(|extension| path.with_extension(extension));
                if !certificates.iter().any(|certificate| names.contains(certificate)) {
                    let missing = certificates[0].display();
                    self.problems.push((
                        path.clone(),
                        format!("a key without its certificate: {missing} is missing"),
                    ));
                }
            }
            if has_extension(path, &[UNFINISHED]) {
                let text =
                    "left by a renewal that was interrupted; the next `annals certs renew` takes care of it";
                self.problems.push((path.clone(), text.to_owned()));
            }
        }
        let mut certificates = names;
        certificates.retain(|path| has_extension(path, &CERTIFICATE_EXTENSIONS));
        Ok(certificates.into_iter().collect())
    }

    fn look_at(&mut self, file: &Path, now: TimestampMs, horizon: TimestampMs) {
        let certificates = read(file)
            // It has its cause in its own words.
            .map_err(|error| error.to_string())
            .and_then(|text| Certificate::all_from_pem(&text).map_err(|error: CertsError| causes(&error)));
        match certificates {
            Ok(certificates) => {
                for (place, certificate) in certificates.into_iter().enumerate() {
                    let listed = Listed::new(file, place == 0, certificate, now, horizon);
                    self.certificates.push(listed);
                }
            }
            Err(problem) => {
                self.unreadable += 1;
                self.problems.push((file.to_owned(), problem));
            }
        }
    }
}

impl Listed {
    fn new(
        file: &Path,
        is_first: bool,
        certificate: Certificate,
        now: TimestampMs,
        horizon: TimestampMs,
    ) -> Self {
        let mut warnings = Vec::new();
        let key = is_first.then(|| {
            let path = file.with_extension(KEY_EXTENSION);
            let state = key_state(&path, &certificate);
            warnings.extend(too_open(&path));
            (path, state)
        });
        match &key {
            Some((path, KeyFile::OfAnother)) => {
                warnings.push(format!("{} is the key of another certificate", path.display()));
            }
            Some((_, KeyFile::Unreadable(why))) => warnings.push(format!("its key cannot be read: {why}")),
            _ => {}
        }
        if certificate.not_before > now {
            let from = super::report::time(certificate.not_before);
            warnings.push(format!("it is not valid before {from}"));
        }
        Self {
            file: file.to_owned(),
            key,
            signed_by: signer(file, &certificate, &mut warnings),
            expired: certificate.not_after < now,
            due: certificate.not_after < horizon,
            warnings,
            certificate,
        }
    }
}

fn files_of(directory: &Path) -> Result<BTreeSet<PathBuf>, CertsFailure> {
    let unreadable = || CertsFailure::io("read", directory);
    let entries = fs::read_dir(directory).map_err(unreadable())?;
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(unreadable()))
        .collect()
}

fn key_state(path: &Path, certificate: &Certificate) -> KeyFile {
    match read_key(path) {
        Ok(key) if certificate.is_of(&key) => KeyFile::Belongs,
        Ok(_) => KeyFile::OfAnother,
        Err(CertsFailure::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => KeyFile::Missing,
        Err(error) => KeyFile::Unreadable(error.to_string()),
    }
}

/// Who else may read a key, and what to do about it.
fn too_open(key: &Path) -> Option<String> {
    let mode = fs::metadata(key).ok()?.permissions().mode() & 0o7777;
    let path = key.to_string_lossy();
    (mode & OTHERS != 0).then(|| {
        format!(
            "{path} is open to others than its owner (mode {mode:04o}): `chmod 600 {}`",
            shell_quoted(&path)
        )
    })
}

/// A certificate of this cluster that the authority beside it did not sign is one of an authority that was replaced.
fn signer(file: &Path, certificate: &Certificate, warnings: &mut Vec<String>) -> Option<Signer> {
    if certificate.is_signed_by(certificate) {
        return Some(Signer::Itself);
    }
    let path = file.with_file_name(format!("{AUTHORITY}.pem"));
    let authority = read(&path)
        .ok()
        .and_then(|text| Certificate::from_pem(&text).ok())?;
    if certificate.is_signed_by(&authority) {
        return Some(Signer::Authority);
    }
    if certificate.identity.is_some() {
        warnings.push(format!("it was not signed by {}", path.display()));
    }
    None
}
