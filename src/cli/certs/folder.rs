//! The directory that certificates are kept in: `NAME.pem` and `NAME.key`, and `ca.pem` and `ca.key` of the authority.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;

use crate::certs::{Authority, Certificate, Key};

use super::{argument::AUTHORITY, error::CertsFailure};

/// A directory that only its owner may look into.
const DIRECTORY_MODE: u32 = 0o700;
/// A key, for its owner alone.
pub(in crate::cli) const KEY_MODE: u32 = 0o600;
/// A certificate, which is no secret.
pub(in crate::cli) const CERTIFICATE_MODE: u32 = 0o644;
/// The most bytes that are read of a file: a bundle of all authorities of the web has a quarter of it.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a file is called until it is whole.
pub(super) const UNFINISHED: &str = "new";

/// The directory, which one process at a time writes to.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The directory itself, and the system's lock on it; gone with the process, whatever ends it.
    opened: File,
}

impl Folder {
    /// The directory, made if it is not there.
    ///
    /// Errors: `Io`, `Busy`.
    pub(super) fn make(path: &Path) -> Result<Self, CertsFailure> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            fs::create_dir_all(parent).map_err(CertsFailure::io("make", parent))?;
        }
        match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            Ok(()) => {
                let parent = parent.unwrap_or(Path::new("."));
                let synced = File::open(parent).and_then(|parent| parent.sync_all());
                synced.map_err(CertsFailure::io("sync", parent))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(CertsFailure::io("make", path)(error)),
        }
        Self::open(path)
    }

    /// The directory, which must be there.
    ///
    /// Errors: `Io`, `Busy`.
    pub(super) fn open(path: &Path) -> Result<Self, CertsFailure> {
        let mut options = fs::OpenOptions::new();
        let directory = rustix::fs::OFlags::DIRECTORY.bits();
        options
            .read(true)
            .custom_flags(i32::from_ne_bytes(directory.to_ne_bytes()));
        let opened = options.open(path).map_err(CertsFailure::io("open", path))?;
        match rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(CertsFailure::Busy {
                    directory: path.to_owned(),
                });
            }
            Err(error) => return Err(CertsFailure::io("lock", path)(error.into())),
        }
        Ok(Self {
            path: path.to_owned(),
            opened,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the certificate of that name is.
    pub(super) fn certificate(&self, name: &str) -> PathBuf {
        self.path.join(certificate_file(name))
    }

    /// Where the key of that name is.
    pub(super) fn key(&self, name: &str) -> PathBuf {
        self.path.join(key_file(name))
    }

    /// What signs here.
    ///
    /// Errors: `NoAuthority`, `NoAuthorityKey`, `Content`, `Io`, `NoFile`.
    pub(super) fn authority(&self) -> Result<Authority, CertsFailure> {
        let (certificate, key) = (self.certificate(AUTHORITY), self.key(AUTHORITY));
        if !is_there(&certificate)? {
            return Err(CertsFailure::NoAuthority { path: certificate });
        }
        if !is_there(&key)? {
            return Err(CertsFailure::NoAuthorityKey { path: key });
        }
        let key = read_key(&key)?;
        Authority::read(&read(&certificate)?, key).map_err(CertsFailure::content(&certificate))
    }

    /// Whether nothing is there yet under that name.
    ///
    /// Errors: `Exists`, `AuthorityExists`, `Half`, `Io`.
    pub(super) fn check_vacant(&self, name: &str) -> Result<(), CertsFailure> {
        let (certificate, key) = (self.certificate(name), self.key(name));
        match (is_there(&certificate)?, is_there(&key)?) {
            (false, false) => Ok(()),
            (true, true) if name == AUTHORITY => Err(CertsFailure::AuthorityExists { path: certificate }),
            (true, true) => Err(CertsFailure::Exists { path: certificate }),
            (true, false) => Err(CertsFailure::Half {
                there: certificate,
                missing: key,
            }),
            (false, true) => Err(CertsFailure::Half {
                there: key,
                missing: certificate,
            }),
        }
    }

    /// Writes a new certificate and its key; both are on the disk once it returns. Nothing is overwritten, and when it fails
    /// nothing of it is left.
    ///
    /// Errors: `Io`.
    pub(super) fn create(&self, name: &str, certificate: &str, key: &Key) -> Result<(), CertsFailure> {
        let (certificate_path, key_path) = (self.certificate(name), self.key(name));
        // The key first: a certificate without its key looks as if all were well, until it is used.
        create_file(&key_path, &key.to_pem(), KEY_MODE)?;
        create_file(&certificate_path, certificate, CERTIFICATE_MODE)
            .and_then(|()| self.sync().inspect_err(|_| discard(&certificate_path)))
            .inspect_err(|_| discard(&key_path))
    }

    /// Replaces a certificate, and its key if another is given; on the disk once it returns.
    ///
    /// Two files cannot be replaced in one step. Both are whole beside the old ones before the first is renamed, so that what
    /// does not match is seen for no longer than a rename takes; and if the process ends between the two, [`Folder::finish`]
    /// knows from what is there which rename is missing.
    ///
    /// Errors: `Io`.
    pub(super) fn replace(
        &self,
        name: &str,
        certificate: &str,
        key: Option<&Key>,
    ) -> Result<(), CertsFailure> {
        let (certificate_path, key_path) = (self.certificate(name), self.key(name));
        // Of an attempt that came to nothing; no file that anybody reads.
        for path in [&certificate_path, &key_path] {
            discard(&unfinished(path));
        }
        if let Some(key) = key {
            create_file(&unfinished(&key_path), &key.to_pem(), KEY_MODE)?;
        }
        create_file(&unfinished(&certificate_path), certificate, CERTIFICATE_MODE)
            .inspect_err(|_| discard(&unfinished(&key_path)))?;
        self.sync()?;
        if key.is_some() {
            put_in_place(&key_path)?;
        }
        put_in_place(&certificate_path)?;
        self.sync()
    }

    /// Makes the rename that a replacement lacks which was interrupted, if there is one. Says whether there was.
    ///
    /// Errors: `Io`.
    pub(super) fn finish(&self, name: &str) -> Result<bool, CertsFailure> {
        let (certificate_path, key_path) = (self.certificate(name), self.key(name));
        let match_each_other = |certificate: &Path, key: &Path| {
            let certificate = read(certificate)
                .ok()
                .and_then(|text| Certificate::from_pem(&text).ok());
            let key = read_key(key).ok();
            certificate
                .zip(key)
                .is_some_and(|(certificate, key)| certificate.is_of(&key))
        };
        let lacking = if match_each_other(&certificate_path, &key_path) {
            return Ok(false);
        } else if match_each_other(&unfinished(&certificate_path), &key_path) {
            &certificate_path
        } else if match_each_other(&certificate_path, &unfinished(&key_path)) {
            &key_path
        } else {
            return Ok(false);
        };
        put_in_place(lacking)?;
        self.sync()?;
        Ok(true)
    }

    fn sync(&self) -> Result<(), CertsFailure> {
        self.opened
            .sync_all()
            .map_err(CertsFailure::io("sync", &self.path))
    }
}

/// What the file of somebody's certificate is called.
pub(in crate::cli) fn certificate_file(name: &str) -> String {
    format!("{name}.pem")
}

/// What the file of somebody's key is called.
pub(in crate::cli) fn key_file(name: &str) -> String {
    format!("{name}.key")
}

/// What a file is called before it takes its place.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    name.into()
}

fn put_in_place(path: &Path) -> Result<(), CertsFailure> {
    fs::rename(unfinished(path), path).map_err(CertsFailure::io("replace", path))
}

/// Whether anything has that name, a link to nowhere too.
///
/// Errors: `Io`.
pub(in crate::cli) fn is_there(path: &Path) -> Result<bool, CertsFailure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(CertsFailure::io("look for", path)(error)),
    }
}

/// A file that was not there, with this mode from its first moment, and synced; if that fails, it is gone again.
///
/// Errors: `Io`.
pub(in crate::cli) fn create_file(path: &Path, text: &str, mode: u32) -> Result<(), CertsFailure> {
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = opened.map_err(CertsFailure::io("make", path))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(CertsFailure::io("write", path))
        .inspect_err(|_| discard(path))
}

/// Removes what this process made, or what is nobody's. That it cannot be removed is no news beside why it has to go.
fn discard(path: &Path) {
    drop(fs::remove_file(path));
}

/// All of a file.
///
/// Errors: `Io`; `NoFile` for what is none, or is too large to hold certificates.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CertsFailure> {
    let unreadable = || CertsFailure::io("read", path);
    // Looked at first: to open a pipe would wait for somebody to write.
    if !fs::metadata(path).map_err(unreadable())?.is_file() {
        return Err(CertsFailure::NoFile {
            path: path.to_owned(),
        });
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable())?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unreadable())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(CertsFailure::NoFile {
            path: path.to_owned(),
        });
    }
    Ok(text)
}

/// The key in a file.
///
/// Errors: as [`read`], and `Content`.
pub(super) fn read_key(path: &Path) -> Result<Key, CertsFailure> {
    Key::from_pem(&read(path)?).map_err(CertsFailure::content(path))
}
