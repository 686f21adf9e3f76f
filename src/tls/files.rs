//! The files of TLS, as bytes.

use std::{fs::File, io::Read, path::Path};

#[cfg(feature = "server")]
use std::{fmt, io, os::unix::fs::PermissionsExt, path::PathBuf};

use super::MaterialProblem;
#[cfg(feature = "server")]
use super::{MaterialError, MaterialFile};

/// A bundle of a hundred authorities has some 200 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[cfg(feature = "server")]
/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and behind it those who vouch for it, up to an authority that is believed.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificates of the authorities that are believed.
    pub authorities: PathBuf,
}

#[cfg(feature = "server")]
/// What is in the files. `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Contents {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) authorities: Vec<u8>,
}

#[cfg(feature = "server")]
impl Files {
    /// Where that one is.
    #[must_use]
    pub fn path(&self, file: MaterialFile) -> &Path {
        match file {
            MaterialFile::Certificate => &self.certificate,
            MaterialFile::Key => &self.key,
            MaterialFile::Authorities => &self.authorities,
        }
    }

    /// What is in them, symbolic links followed.
    ///
    /// Blocking. Errors: `Unreadable`, `TooLarge`.
    pub fn read(&self) -> Result<Contents, MaterialError> {
        let read = |file| read(self.path(file)).map_err(|problem| self.fault(file, problem));
        Ok(Contents {
            certificate: read(MaterialFile::Certificate)?,
            key: read(MaterialFile::Key)?,
            authorities: read(MaterialFile::Authorities)?,
        })
    }

    pub(super) fn fault(&self, file: MaterialFile, problem: impl Into<MaterialProblem>) -> MaterialError {
        MaterialError {
            file,
            path: self.path(file).to_owned(),
            problem: problem.into(),
        }
    }
}

/// A file of TLS.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, MaterialProblem> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(MaterialProblem::Unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(MaterialProblem::TooLarge { max: FILE_BYTES_MAX });
    }
    Ok(bytes)
}

#[cfg(feature = "server")]
/// The mode of a private key that others than its owner may read or write; `None` where nobody may.
///
/// Blocking. Errors: the system does not tell.
pub fn open_to_others(key: &Path) -> io::Result<Option<u32>> {
    let mode = std::fs::metadata(key)?.permissions().mode() & 0o777;
    Ok(Some(mode).filter(|mode| mode & 0o077 != 0))
}

#[cfg(feature = "server")]
impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contents(hidden)")
    }
}
