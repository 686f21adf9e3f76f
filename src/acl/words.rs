//! What may be asked for: the objects and actions that policies and requests name.

use std::{fmt, str::FromStr};

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
    /// Read records, take and commit cursors.
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
    fn every_right_has_a_place_of_its_own() {
        for (index, right) in Right::ALL.into_iter().enumerate() {
            assert_eq!(right.index(), index);
            assert_eq!(Right::of(right.object(), right.action()), Some(right));
        }
        assert_eq!(Right::of(Object::Cluster, Action::Produce), None);
    }
}
