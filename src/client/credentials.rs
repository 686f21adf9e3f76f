//! The TLS of a client that connects again and again, and whose files may be replaced meanwhile.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    clock,
    tls::{ClientFiles, ClientTls, MaterialError},
};

/// Files are replaced one after the other, perhaps by hand: what does not fit, or is not taken by the other side, may do so within
/// this. What is wrong for longer is wrong.
pub(super) const REPLACED_WITHIN: Duration = Duration::from_secs(60);

/// The files of TLS, and what was in them when they last were right. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Credentials(Arc<Shared>);

struct Shared {
    files: ClientFiles,
    held: Mutex<Held>,
}

struct Held {
    right: ClientTls,
    wrong: Option<Wrong>,
}

/// Since when the files are wrong, and when that was seen last.
#[derive(Clone, Copy)]
struct Wrong {
    since: Instant,
    seen: Instant,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.0.files).finish()
    }
}

/// The same files, read by the same client.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Credentials {}

impl Credentials {
    /// What the files hold now, which must be right.
    ///
    /// Blocking. Errors: see [`MaterialError`].
    pub(super) fn open(files: ClientFiles) -> Result<Self, MaterialError> {
        let held = Mutex::new(Held {
            right: ClientTls::open(&files)?,
            wrong: None,
        });
        Ok(Self(Arc::new(Shared { files, held })))
    }

    /// For a new connection: what the files hold now, or held before when they are wrong, which they may be for `REPLACED_WITHIN`.
    ///
    /// Blocking: reads three small files. Errors: what is wrong with the files, and stays so.
    pub(super) fn renewed(&self) -> Result<ClientTls, MaterialError> {
        self.renewed_at(clock::now())
    }

    fn renewed_at(&self, now: Instant) -> Result<ClientTls, MaterialError> {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        match ClientTls::open(&self.0.files) {
            Ok(right) => {
                *held = Held { right, wrong: None };
            }
            Err(error) => {
                // What was seen long ago says nothing of the time between.
                let lasting = held.wrong.filter(|wrong| now - wrong.seen < REPLACED_WITHIN);
                let since = lasting.map_or(now, |wrong| wrong.since);
                if now - since >= REPLACED_WITHIN {
                    return Err(error);
                }
                held.wrong = Some(Wrong { since, seen: now });
            }
        }
        Ok(held.right.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tempfile::TempDir;

    use super::*;
    use crate::certs::{Authority, Key, Terms};

    const SECOND: Duration = Duration::from_secs(1);

    /// A new authority, in the file of those that are believed.
    fn write_new(folder: &Path) {
        let terms = Terms {
            now: clock::wall(),
            valid_for: Duration::from_secs(3600),
        };
        let name = |text: &str| text.parse().expect("it is a name");
        let key = Key::generate().expect("there is randomness");
        let ca = Authority::make(&name("annals"), &key, terms).expect("it is made");
        fs::write(folder.join("ca.pem"), ca).expect("the disk has room");
    }

    fn files(folder: &TempDir) -> ClientFiles {
        ClientFiles {
            authorities: folder.path().join("ca.pem"),
            own: None,
        }
    }

    #[test]
    fn files_that_are_replaced_count_at_the_next_connection() {
        let folder = TempDir::new().expect("the machine has a disk");
        write_new(folder.path());
        let credentials = Credentials::open(files(&folder)).expect("they are right");
        let before = credentials.renewed().expect("they are right");
        write_new(folder.path());
        assert_ne!(credentials.renewed().expect("they are right"), before);
    }

    #[test]
    fn files_that_are_wrong_for_a_moment_are_not_missed_and_those_that_stay_wrong_are_an_error() {
        let folder = TempDir::new().expect("the machine has a disk");
        write_new(folder.path());
        let credentials = Credentials::open(files(&folder)).expect("they are right");
        let (start, before) = (clock::now(), credentials.renewed().expect("they are right"));
        let at = |after| credentials.renewed_at(start + after);
        fs::write(folder.path().join("ca.pem"), "half").expect("the disk has room");
        for after in [Duration::ZERO, REPLACED_WITHIN / 2, REPLACED_WITHIN - SECOND] {
            assert_eq!(at(after).expect("it may be being replaced"), before);
        }
        let error = at(REPLACED_WITHIN).expect_err("it stays wrong");
        assert!(
            error.to_string().contains("there is no certificate in it"),
            "{error}"
        );
        // Later, and not asked meanwhile: that may be another time.
        let later = 10 * REPLACED_WITHIN;
        assert_eq!(at(later).expect("it may be being replaced"), before);
        write_new(folder.path());
        let renewed = at(later + REPLACED_WITHIN / 2).expect("they are right again");
        assert_ne!(renewed, before);
        fs::remove_file(folder.path().join("ca.pem")).expect("it is there");
        assert_eq!(
            at(later + REPLACED_WITHIN).expect("it may be being replaced"),
            renewed
        );
    }
}
