//! Who asks, and what a policy may call them.

use std::fmt;

use crate::types::is_name;

/// What a policy calls whoever comes without a certificate, to a node that asks for none.
pub const ANONYMOUS: &str = "anonymous";

/// What the name of a role begins with, so that it is never taken for that of somebody.
const ROLE: &str = "role:";

/// A subject at most, in bytes; certificates that say more say nobody.
const SUBJECT_BYTES_MAX: usize = 256;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// Nobody says who it is.
    Anonymous,
    /// Whom a certificate names.
    Named(&'a str),
}

impl<'a> Who<'a> {
    /// As a policy writes them.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Anonymous => ANONYMOUS,
            Self::Named(subject) => subject,
        }
    }

    /// Whom a policy writes like that.
    #[must_use]
    pub fn from_policy(text: &'a str) -> Self {
        match text {
            ANONYMOUS => Self::Anonymous,
            subject => Self::Named(subject),
        }
    }

    /// Whether a rule may be about them. A certificate comes from outside: one that says `role:operator`, or `anonymous`,
    /// is not to be given what those may.
    #[must_use]
    pub fn may_be_meant(self) -> bool {
        match self {
            Self::Anonymous => true,
            Self::Named(subject) => is_subject(subject) && subject != ANONYMOUS && !is_role(subject),
        }
    }
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Printable ASCII without spaces and commas, so that it can stand in a line of a policy.
fn is_subject(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= SUBJECT_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// Whom a line of a policy is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pattern {
    /// Whoever is called exactly so.
    Whole(String),
    /// Everybody whose name begins so.
    Prefix(String),
    /// Whoever has that role.
    Role(String),
}

impl Pattern {
    /// Reads a field of a line; `None` where it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !is_subject(text) {
            return None;
        }
        if let Some(name) = text.strip_prefix(ROLE) {
            return is_name(name).then(|| Self::Role(text.to_owned()));
        }
        match text.split_once('*') {
            None => Some(Self::Whole(text.to_owned())),
            Some((prefix, "")) => Some(Self::Prefix(prefix.to_owned())),
            Some(_) => None,
        }
    }
}

/// Whether a subject, in a policy, is a role.
pub(super) fn is_role(pattern: &str) -> bool {
    pattern.starts_with(ROLE)
}

/// Whether a subject, in a policy, covers somebody by its own text: whole, or by a trailing `*`.
pub(super) fn covers(pattern: &str, subject: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => subject.starts_with(prefix),
        None => pattern == subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_name_a_prefix_or_a_role() {
        let read = |text: &str| Pattern::parse(text);
        assert_eq!(
            read("annals://orders/client/app"),
            Some(Pattern::Whole("annals://orders/client/app".into()))
        );
        assert_eq!(
            read("annals://orders/*"),
            Some(Pattern::Prefix("annals://orders/".into()))
        );
        assert_eq!(read("*"), Some(Pattern::Prefix(String::new())));
        assert_eq!(read("role:producer"), Some(Pattern::Role("role:producer".into())));
        let long = "n".repeat(SUBJECT_BYTES_MAX + 1);
        for text in [
            "", "a b", "a,b", "ä", "a\n", "a*b", "*a", "**", "role:", "role:*", "role:a/b", &long,
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn nobody_is_what_only_a_policy_may_call_them() {
        assert!(Who::Anonymous.may_be_meant());
        assert!(Who::Named("annals://orders/client/app").may_be_meant());
        for subject in ["anonymous", "role:operator", "", "a b", "a\tb"] {
            assert!(!Who::Named(subject).may_be_meant(), "{subject:?}");
        }
    }

    #[test]
    fn a_trailing_star_covers_what_begins_so() {
        assert!(covers("*", "anything"));
        assert!(covers("annals://orders/client/*", "annals://orders/client/app"));
        assert!(!covers("annals://orders/client/*", "annals://orders/node/node-0"));
        assert!(!covers("app", "app-2"));
        assert!(!covers("app", "ap"));
        // A star in the name of who asks is a letter as any other.
        assert!(!covers("app", "*"));
    }
}
