//! The files of a policy: read, and put in force.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{
    acl::{Acl, AclError, Changed, Model},
    error::Disposition,
};

/// More than a policy or a model may have, so that those which are too large are told as such.
const FILE_BYTES_MAX: u64 = 2 << 20;

/// Where a policy and its model are. Symbolic links are followed at each reading, since Kubernetes replaces files by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFiles {
    /// The policy.
    pub policy: PathBuf,
    /// The model; `None` is the one that is built in.
    pub model: Option<PathBuf>,
}

/// A policy, or its model, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// The system does not give it.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("{} is not a file", path.display())]
    NoFile {
        /// Which.
        path: PathBuf,
    },
    /// What it says is wrong.
    #[error("{}", one_line(.error))]
    Wrong {
        /// Whether it is the model, and not the policy.
        of_model: bool,
        /// Its mistakes.
        error: AclError,
    },
}

fn one_line(error: &AclError) -> String {
    error.in_a_line()
}

impl PolicyFileError {
    /// What is to be done about it: nobody but the operator can.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unreadable { .. } | Self::NoFile { .. } => Disposition::Reject,
            Self::Wrong { error, .. } => error.disposition(),
        }
    }

    /// Whether it is the model that is at fault.
    #[must_use]
    pub fn is_of_model(&self, files: &PolicyFiles) -> bool {
        match self {
            Self::Unreadable { path, .. } | Self::NoFile { path } => files.model.as_ref() == Some(path),
            Self::Wrong { of_model, .. } => *of_model,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Unreadable { .. } | Self::NoFile { .. } => {
                "name a file that the node may read; config/acl/policy.csv is a policy to start from"
                    .to_owned()
            }
            Self::Wrong { error, .. } => error
                .mistakes()
                .first()
                .map(|mistake| mistake.problem.remedy())
                .unwrap_or_default(),
        }
    }
}

/// What the files hold, as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyContents {
    policy: Vec<u8>,
    model: Option<Vec<u8>>,
}

impl fmt::Debug for PolicyContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PolicyContents")
    }
}

/// What the files say.
struct Texts {
    policy: Vec<u8>,
    model: Model,
}

impl PolicyFiles {
    /// The policy, to be asked.
    ///
    /// Blocking. Errors: what is wrong with the files.
    pub fn open(&self) -> Result<Acl, PolicyFileError> {
        let texts = self.parse(self.contents()?)?;
        Acl::new(texts.model, &self.name(), &texts.policy).map_err(wrong_policy)
    }

    /// Puts what the files hold in force.
    ///
    /// Errors: what is wrong with it; what was in force stays.
    pub fn put_in_force(&self, contents: PolicyContents, acl: &Acl) -> Result<Changed, PolicyFileError> {
        let texts = self.parse(contents)?;
        acl.reload_with(texts.model, &self.name(), &texts.policy)
            .map_err(wrong_policy)
    }

    /// What the policy is called, in mistakes and where its lines are named.
    #[must_use]
    pub fn name(&self) -> String {
        self.policy.display().to_string()
    }

    /// What the files hold now.
    ///
    /// Blocking. Errors: one cannot be read.
    pub fn contents(&self) -> Result<PolicyContents, PolicyFileError> {
        Ok(PolicyContents {
            model: self.model.as_deref().map(read).transpose()?,
            policy: read(&self.policy)?,
        })
    }

    fn parse(&self, contents: PolicyContents) -> Result<Texts, PolicyFileError> {
        let PolicyContents { policy, model } = contents;
        let model = match self.model.as_ref().zip(model) {
            None => Model::built_in(),
            Some((path, text)) => {
                let of_model = |error| PolicyFileError::Wrong {
                    of_model: true,
                    error,
                };
                Model::parse(&path.display().to_string(), &text).map_err(of_model)?
            }
        };
        Ok(Texts { policy, model })
    }
}

fn wrong_policy(error: AclError) -> PolicyFileError {
    PolicyFileError::Wrong {
        of_model: false,
        error,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PolicyFileError> {
    let unreadable = |source| PolicyFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    // Opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(PolicyFileError::NoFile {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    Ok(text)
}
