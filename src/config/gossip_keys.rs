//! The keys of gossip: one in the configuration, or several in a file of their own, which may change while the node runs.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    error::Disposition,
    tls::open_to_others,
    types::{GossipKey, GossipKeys},
};

use super::{
    checks::blame,
    error::Problem,
    layers::Layers,
    options::{Config, keys},
};

/// Eight keys have some 400 bytes; the rest is for comments.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A file of keys: one a line in base64, the one in use first; empty lines and those that begin with `#` say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipKeyFile(PathBuf);

/// A file of keys cannot be used. Says nothing of what is in it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct GossipKeyError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub problem: GossipKeyProblem,
}

/// What is wrong with a file of keys.
#[derive(Debug, thiserror::Error)]
pub enum GossipKeyProblem {
    /// The system does not give it.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is a directory, a pipe or a device.
    #[error("is not a file")]
    NoFile,
    /// It is no list of keys.
    #[error("has more than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// A line is no key.
    #[error("line {line} is no key")]
    NoKey {
        /// Which, from 1.
        line: usize,
    },
    /// There is no key, or there are too many.
    #[error("has {count} keys")]
    Count {
        /// How many.
        count: usize,
    },
}

impl GossipKeyError {
    /// What is to be done about it: nobody but the operator can.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        Disposition::Reject
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self.problem {
            GossipKeyProblem::Unreadable(_) | GossipKeyProblem::NoFile | GossipKeyProblem::TooLarge => {
                "name a file of keys that the node may read; `openssl rand -base64 32` makes one".to_owned()
            }
            GossipKeyProblem::NoKey { .. } => {
                "write 16, 24 or 32 bytes in base64 on each line, from `openssl rand -base64 32`".to_owned()
            }
            GossipKeyProblem::Count { .. } => {
                format!("write 1 to {} keys, the one in use first", GossipKeys::MAX)
            }
        }
    }
}

impl GossipKeyFile {
    /// The keys, symbolic links followed.
    ///
    /// Blocking. Errors: what is wrong with the file.
    pub fn read(&self) -> Result<GossipKeys, GossipKeyError> {
        let text = read(&self.0).and_then(|text| parse(&text));
        text.map_err(|problem| GossipKeyError {
            path: self.0.clone(),
            problem,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Config {
    /// The file of gossip's keys, where there is one.
    #[must_use]
    pub fn gossip_key_file(&self) -> Option<GossipKeyFile> {
        self.cluster.gossip_key_file.clone().map(GossipKeyFile)
    }

    /// The keys of gossip; `None`: it is not encrypted.
    ///
    /// Blocking. Errors: what is wrong with the file of keys.
    pub fn gossip_keys(&self) -> Result<Option<GossipKeys>, GossipKeyError> {
        match self.gossip_key_file() {
            Some(file) => file.read().map(Some),
            None => Ok(self.cluster.gossip_key.map(GossipKeys::from)),
        }
    }

    /// Whether gossip is encrypted.
    pub(super) fn gossip_is_encrypted(&self) -> bool {
        self.cluster.gossip_key.is_some() || self.cluster.gossip_key_file.is_some()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, GossipKeyProblem> {
    // Opening a pipe would wait for somebody to write into it.
    let metadata = std::fs::metadata(path).map_err(GossipKeyProblem::Unreadable)?;
    if !metadata.is_file() {
        return Err(GossipKeyProblem::NoFile);
    }
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text));
    read.map_err(GossipKeyProblem::Unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(GossipKeyProblem::TooLarge);
    }
    Ok(text)
}

fn parse(text: &[u8]) -> Result<GossipKeys, GossipKeyProblem> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let keys: Result<Vec<GossipKey>, GossipKeyProblem> = lines
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
        .map(|(number, line)| key(line).ok_or(GossipKeyProblem::NoKey { line: number + 1 }))
        .collect();
    let keys = keys?;
    let count = keys.len();
    GossipKeys::new(keys).ok_or(GossipKeyProblem::Count { count })
}

fn key(line: &[u8]) -> Option<GossipKey> {
    GossipKey::from_bytes(&STANDARD.decode(line).ok()?)
}

/// Finds the file beside the one that names it.
pub(super) fn resolve(config: &mut Config, layers: &Layers<'_>) {
    layers.resolve(
        keys::cluster::gossip_key_file,
        &mut config.cluster.gossip_key_file,
    );
}

/// Notes in `layers` that there are keys in two places, and what is wrong with their file. Blocking: reads it.
pub(super) fn check(config: &Config, layers: &mut Layers<'_>) {
    let (own, file) = (keys::cluster::gossip_key, keys::cluster::gossip_key_file);
    if layers.is_faulty(own) || layers.is_faulty(file) {
        return;
    }
    if let (Some(_), Some(path)) = (config.cluster.gossip_key, &config.cluster.gossip_key_file) {
        let values = [(file, path.display().to_string()), (own, "set".to_owned())];
        let problem = Problem::Both {
            first: own,
            second: file,
        };
        blame(layers, &values, problem, || {
            format!("put the key into {} too, and take {own} out", path.display())
        });
        return;
    }
    if let Some(Err(error)) = config.gossip_key_file().map(|file| file.read()) {
        let help = error.remedy();
        layers.report(file, Problem::GossipKeys { key: file, error }, Vec::new(), help);
    }
}

/// A file of keys that others may read. Blocking: looks at it.
pub(super) fn warning(config: &Config) -> Option<String> {
    let path = config.cluster.gossip_key_file.as_deref()?;
    // What cannot be looked at is an error elsewhere.
    let mode = open_to_others(path).ok().flatten()?;
    Some(format!(
        "{}: {}: others may read or replace these keys (mode {mode:04o}); run `chmod 600` on it",
        keys::cluster::gossip_key_file,
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    #[test]
    fn keys_are_read_in_their_order() {
        let text = format!("# in use\n{}\n\n  {}  \r\n# old", line(2), line(1));
        let keys: Vec<GossipKey> = parse(text.as_bytes()).unwrap().iter().collect();
        assert_eq!(keys, [GossipKey::Aes256([2; 32]), GossipKey::Aes256([1; 32])]);
    }

    #[test]
    fn what_is_no_list_of_keys_is_refused_and_not_shown() {
        let secret = "c2VjcmV0";
        let wrong = format!("{}\n{secret}\n", line(1));
        let problem = parse(wrong.as_bytes()).unwrap_err();
        assert!(matches!(problem, GossipKeyProblem::NoKey { line: 2 }));
        assert!(!format!("{problem} {problem:?}").contains(secret));
        for (text, expected) in [
            (String::new(), 0),
            ("# none\n".to_owned(), 0),
            (format!("{}\n", line(1)).repeat(9), 9),
        ] {
            let problem = parse(text.as_bytes()).unwrap_err();
            assert!(
                matches!(problem, GossipKeyProblem::Count { count } if count == expected),
                "{problem}"
            );
        }
        assert!(matches!(
            parse(b"\xff\xfe").unwrap_err(),
            GossipKeyProblem::NoKey { line: 1 }
        ));
    }
}
