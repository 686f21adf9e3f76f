//! What may be asked for: the objects and actions that policies and requests name.

use std::{borrow::Cow, fmt, str::FromStr};

/// A closed set of words, each with what it is called in a policy.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$word_doc])* $variant),+ }

        impl $name {
            /// Every one there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As a policy has it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|word| word.as_str() == text)
                    .ok_or_else(|| UnknownWord { known: names(Self::ALL) })
            }
        }
    };
}

/// A word that no policy knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("known are {known}")]
pub struct UnknownWord {
    known: String,
}

/// Words in a row, for people.
pub(super) fn names(words: &[impl fmt::Display]) -> String {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    words.join(", ")
}

words! {
    /// What is acted upon.
    Object {
        /// The log and its records.
        Log = "log",
        /// Who belongs to the cluster, and who leads it.
        Cluster = "cluster",
        /// What a node says about its own API: reflection.
        Server = "server",
    }
}

words! {
    /// What is done to it.
    Action {
        /// Append records.
        Produce = "produce",
        /// Read records, and note how far one is.
        Consume = "consume",
        /// See how it stands, without any record.
        Describe = "describe",
        /// Change it: members, leadership, trims.
        Admin = "admin",
    }
}

/// An action on an object; one of those that some request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Right {
    object: Object,
    action: Action,
}

impl Right {
    /// Append records.
    pub const PRODUCE: Self = Self::new(Object::Log, Action::Produce);
    /// Read records; take and commit those cursors that a line allows besides.
    pub const CONSUME: Self = Self::new(Object::Log, Action::Consume);
    /// See the bounds, segments and cursors of the log.
    pub const DESCRIBE_LOG: Self = Self::new(Object::Log, Action::Describe);
    /// Trim the log, delete cursors.
    pub const ADMIN_LOG: Self = Self::new(Object::Log, Action::Admin);
    /// See who belongs to the cluster.
    pub const DESCRIBE_CLUSTER: Self = Self::new(Object::Cluster, Action::Describe);
    /// Change who belongs to it, and who leads it.
    pub const ADMIN_CLUSTER: Self = Self::new(Object::Cluster, Action::Admin);
    /// See what a node can be asked.
    pub const DESCRIBE_SERVER: Self = Self::new(Object::Server, Action::Describe);

    /// Every right there is: what a policy grants beyond them nobody ever asks for.
    pub const ALL: [Self; 7] = [
        Self::PRODUCE,
        Self::CONSUME,
        Self::DESCRIBE_LOG,
        Self::ADMIN_LOG,
        Self::DESCRIBE_CLUSTER,
        Self::ADMIN_CLUSTER,
        Self::DESCRIBE_SERVER,
    ];

    const fn new(object: Object, action: Action) -> Self {
        Self { object, action }
    }

    /// The right to do that to it; `None` where no request asks for it.
    #[must_use]
    pub fn of(object: Object, action: Action) -> Option<Self> {
        let right = Self::new(object, action);
        Self::ALL.contains(&right).then_some(right)
    }

    /// What is acted upon.
    #[must_use]
    pub fn object(self) -> Object {
        self.object
    }

    /// What is done to it.
    #[must_use]
    pub fn action(self) -> Action {
        self.action
    }

    /// The actions that can be asked for on an object.
    pub(super) fn actions_on(object: Object) -> Vec<Action> {
        let on = Self::ALL.iter().filter(|right| right.object == object);
        on.map(|right| right.action).collect()
    }

    /// Its place in [`Right::ALL`].
    pub(super) fn index(self) -> usize {
        Self::ALL
            .iter()
            .position(|right| *right == self)
            .expect("only those in ALL can be made")
    }
}

/// What a cursor is called as an object: this, and its name.
pub(super) const CURSOR: &str = "cursor/";

/// Characters of a cursor's name at most.
const CURSOR_NAME_MAX: usize = 128;

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One of the rights there are.
    Right(Right),
    /// To take the cursor of that name, or to commit to it: each is an object of its own, or whoever may consume could take everybody's, and use
    /// up all there may be.
    Cursor(Box<str>),
}

impl Wanted {
    /// That action on an object, as policies call it; `None` where no request asks for it.
    #[must_use]
    pub fn of(object: &NamedObject, action: Action) -> Option<Self> {
        match object {
            NamedObject::Plain(object) => Right::of(*object, action).map(Self::Right),
            NamedObject::Cursor(name) => (action == Action::Consume).then(|| Self::Cursor(name.clone())),
        }
    }

    /// What is acted upon, as a policy has it.
    #[must_use]
    pub fn object(&self) -> Cow<'static, str> {
        match self {
            Self::Right(right) => right.object().as_str().into(),
            Self::Cursor(name) => format!("{CURSOR}{name}").into(),
        }
    }

    /// What is done to it.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Right(right) => right.action(),
            Self::Cursor(_) => Action::Consume,
        }
    }
}

impl From<Right> for Wanted {
    fn from(right: Right) -> Self {
        Self::Right(right)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action(), self.object())
    }
}

/// An object as somebody names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedObject {
    /// One of those there are.
    Plain(Object),
    /// A cursor, by its name.
    Cursor(Box<str>),
}

impl FromStr for NamedObject {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text.strip_prefix(CURSOR) {
            Some(name) if is_cursor_name(name) => Ok(Self::Cursor(name.into())),
            Some(_) | None => text
                .parse()
                .map(Self::Plain)
                .map_err(|_| UnknownWord { known: objects() }),
        }
    }
}

/// The objects there are, for people.
pub(super) fn objects() -> String {
    format!("{}, {CURSOR}NAME", names(Object::ALL))
}

/// Whether a cursor may be called so.
fn is_cursor_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=CURSOR_NAME_MAX).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Whether a line can be about a cursor of that name, or about all whose names begin so.
pub(super) fn may_be_cursors(text: &str) -> bool {
    text == "*" || is_cursor_name(text.strip_suffix('*').unwrap_or(text))
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_as_they_are_written() {
        for object in Object::ALL {
            assert_eq!(object.as_str().parse(), Ok(*object));
        }
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(*action));
        }
        for text in ["", "Log", "log ", "*", "write"] {
            assert!(text.parse::<Object>().is_err(), "{text:?}");
            assert!(text.parse::<Action>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_cursor_is_an_object_by_its_name_and_only_to_consume() {
        let object = |text: &str| text.parse::<NamedObject>();
        let cursor = object("cursor/billing-2.a_b").unwrap();
        let wanted = Wanted::of(&cursor, Action::Consume).unwrap();
        assert_eq!(
            (wanted.object().as_ref(), wanted.action()),
            ("cursor/billing-2.a_b", Action::Consume)
        );
        assert_eq!(Wanted::of(&cursor, Action::Admin), None);
        let long = format!("cursor/{}", "x".repeat(CURSOR_NAME_MAX + 1));
        for text in [
            "cursor",
            "cursor/",
            "cursor/a b",
            "cursor/*",
            "cursor/ä",
            "Cursor/a",
            &long,
        ] {
            assert!(object(text).is_err(), "{text:?}");
        }
        assert_eq!(object("log"), Ok(NamedObject::Plain(Object::Log)));
    }

    #[test]
    fn every_right_has_a_place_of_its_own() {
        for (index, right) in Right::ALL.into_iter().enumerate() {
            assert_eq!(right.index(), index);
            assert_eq!(Right::of(right.object(), right.action()), Some(right));
        }
        assert_eq!(Right::of(Object::Cluster, Action::Produce), None);
    }
}
