//! What can be wrong with a policy or a model, each mistake with its line and its remedy.

use std::fmt;

use crate::error::Disposition;

use super::words::{Action, Object, Right, names, objects};

/// Mistakes that are told at a time: enough to mend a file by, and no flood where it is of another kind altogether.
const TOLD_MAX: usize = 20;

/// What is wrong with a line, or with the whole. Of a line that is of another kind nothing is repeated: whoever gives the
/// path of a key by mistake does not find it in a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is not text.
    #[error("this is not UTF-8 text")]
    NotText,
    /// The file is too large.
    #[error("it has more than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// There are too many lines.
    #[error("it has more than {lines_max} lines that say something")]
    TooManyLines {
        /// The limit.
        lines_max: usize,
    },
    /// No line grants anything.
    #[error("no line grants anything to anybody")]
    GrantsNothing,
    /// The line does not say what it is.
    #[error("a line begins with `p`, or with `g`; this one does not")]
    UnknownKind,
    /// The line has another number of fields.
    #[error("{found} fields; a line is `{expected}`")]
    FieldCount {
        /// How many there are.
        found: usize,
        /// How many there should be, and which.
        expected: &'static str,
    },
    /// A subject cannot be one.
    #[error("{field} is neither a subject nor a role")]
    NoSubject {
        /// Which field.
        field: &'static str,
    },
    /// A field is in quotes.
    #[error("a field is in quotes, which are part of no name")]
    Quoted,
    /// No certificate can be called what the subject is, so that the line would be about nobody.
    #[error("nobody is ever called `{subject}`")]
    NeverCalled {
        /// What stands there.
        subject: String,
    },
    /// The second field of a `g` line is no role.
    #[error("the second field is no role")]
    NoRole,
    /// There is no such object.
    #[error("unknown object `{name}`")]
    UnknownObject {
        /// What stands there.
        name: String,
    },
    /// There is no such action.
    #[error("unknown action `{name}`")]
    UnknownAction {
        /// What stands there.
        name: String,
    },
    /// Nobody ever asks for that action on that object.
    #[error("there is no `{action}` on `{object}`")]
    NeverAsked {
        /// The object.
        object: Object,
        /// The action.
        action: Action,
    },
    /// No cursor can be called so, so that the line would be about none.
    #[error("no cursor is ever called `{name}`")]
    NoCursor {
        /// What stands there.
        name: String,
    },
    /// Nobody ever asks for that action on a cursor.
    #[error("there is no `{action}` on a cursor")]
    NotOnCursor {
        /// The action.
        action: Action,
    },
    /// The fourth field is no effect.
    #[error("the effect is neither `allow` nor `deny`")]
    UnknownEffect,
    /// The model knows no effects.
    #[error("the model has no effects, so that a line `p` has three fields")]
    NoEffects,
    /// The role is granted nothing.
    #[error("unknown role `{role}`: no line grants it anything")]
    UnknownRole {
        /// Its name.
        role: String,
    },
    /// The line says what another one says.
    #[error("it says what line {line} says")]
    Duplicate {
        /// The other one.
        line: usize,
    },
    /// The line denies what another one allows, or the other way round.
    #[error("it contradicts line {line}: one allows what the other denies")]
    Contradiction {
        /// The other one.
        line: usize,
    },
    /// A line of the model cannot be read.
    #[error("{what}")]
    Model {
        /// What is wrong with it.
        what: String,
        /// What would be right.
        remedy: &'static str,
    },
    /// Casbin does not take it, although nothing was found that is wrong with it.
    #[error("Casbin refuses it: {what}")]
    Casbin {
        /// What it says.
        what: String,
    },
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NotText => "save the file as UTF-8".to_owned(),
            Self::TooLarge { .. } | Self::TooManyLines { .. } => {
                "give subjects roles, or end their common beginning with `*`".to_owned()
            }
            Self::GrantsNothing => {
                "add a line such as `p, annals://CLUSTER/client/NAME, log, consume`; is the file whole?".to_owned()
            }
            Self::UnknownKind => {
                "write `p, SUBJECT, OBJECT, ACTION`, or `g, SUBJECT, role:NAME`; a remark begins with `#`".to_owned()
            }
            Self::FieldCount { .. } => "separate fields by commas, and end a line with the last one".to_owned(),
            Self::NoSubject { .. } => {
                "a subject is at most 256 printable letters of ASCII without spaces, commas and quotes, a `*` stands at its end; a role is \
                 role:NAME"
                    .to_owned()
            }
            Self::Quoted => "write it without quotes".to_owned(),
            Self::NeverCalled { .. } => {
                "write annals://CLUSTER/client/NAME, or annals://CLUSTER/node/NAME, letter by letter as `annals certs list` shows \
                 it, with nothing behind it; a `*` at its end stands for the rest"
                    .to_owned()
            }
            Self::NoRole => "write role:NAME there, and what the role may in lines `p, role:NAME, ..`".to_owned(),
            Self::UnknownObject { .. } => format!("objects are {}, and `*` for all", objects()),
            Self::UnknownAction { .. } => format!("actions are {}, and `*` for all", names(Action::ALL)),
            Self::NeverAsked { object, .. } => {
                format!("on `{object}` there is {}", names(&Right::actions_on(*object)))
            }
            Self::NoCursor { .. } => {
                "a name is 1 to 128 letters, digits, `.`, `_` and `-`; a `*` at its end stands for the rest".to_owned()
            }
            Self::NotOnCursor { .. } => {
                "there is consume, to take it and to commit; to see cursors is describe on `log`, and to delete them admin on `log`".to_owned()
            }
            Self::UnknownEffect => "leave it out to allow".to_owned(),
            Self::NoEffects => {
                "leave the fourth field out, or use the built-in model, which knows `deny`".to_owned()
            }
            Self::UnknownRole { role } => format!("add a line such as `p, {role}, log, consume`"),
            Self::Duplicate { .. } => "take one of the two out".to_owned(),
            Self::Contradiction { .. } => "decide, and take one of the two out".to_owned(),
            Self::Model { remedy, .. } => (*remedy).to_owned(),
            Self::Casbin { .. } => "please report it, with the file".to_owned(),
        }
    }
}

/// A mistake in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Which line, from 1; `None` where it is about the whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: Problem,
}

impl Mistake {
    pub(super) fn at(line: usize, problem: Problem) -> Self {
        Self {
            line: Some(line),
            problem,
        }
    }

    pub(super) fn of_whole(problem: Problem) -> Self {
        Self { line: None, problem }
    }
}

/// Everything that is wrong with a text; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclError {
    name: String,
    mistakes: Vec<Mistake>,
}

impl AclError {
    pub(super) fn new(name: &str, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.line);
        Self {
            name: name.to_owned(),
            mistakes,
        }
    }

    /// What is to be done about it.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        Disposition::Reject
    }

    /// What the text is called: a path, as a rule.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Each mistake, from top to bottom.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// In a line, for a log.
    #[must_use]
    pub fn in_a_line(&self) -> String {
        let told = self
            .mistakes
            .iter()
            .take(TOLD_MAX)
            .map(|mistake| self.place(mistake));
        let mut text = told.collect::<Vec<_>>().join("; ");
        if let Some(rest) = self.untold() {
            text.push_str(&format!("; and {rest} more"));
        }
        text
    }

    fn place(&self, mistake: &Mistake) -> String {
        match mistake.line {
            Some(line) => format!("{}:{line}: {}", self.name, mistake.problem),
            None => format!("{}: {}", self.name, mistake.problem),
        }
    }

    fn untold(&self) -> Option<usize> {
        self.mistakes.len().checked_sub(TOLD_MAX).filter(|rest| *rest > 0)
    }
}

impl std::error::Error for AclError {}

impl fmt::Display for AclError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.mistakes.iter().take(TOLD_MAX).enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            writeln!(f, "{}", self.place(mistake))?;
            write!(f, "help: {}", mistake.problem.remedy())?;
        }
        match self.untold() {
            Some(rest) => write!(f, "\nand {rest} more"),
            None => Ok(()),
        }
    }
}
