//! Who asks, and what a policy may call them.

use std::fmt;

use crate::types::is_name;

/// What a policy calls whoever comes without a certificate, to a node that asks for none.
pub const ANONYMOUS: &str = "anonymous";

/// What the name of a role begins with, so that it is never taken for that of somebody.
const ROLE: &str = "role:";

/// What the URI of a node or client of a cluster begins with, letter by letter.
const IDENTITY: &str = "annals://";

/// Of whom such a URI can be, in front of their name. An authority asks for nothing.
const HOLDERS: [&str; 2] = ["node", "client"];

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

    /// Whether a rule may be about them, since a certificate can be called that. Certificates come from outside: one that says
    /// `role:operator`, or `anonymous`, is not to be given what those may.
    #[must_use]
    pub fn may_be_meant(self) -> bool {
        match self {
            Self::Anonymous => true,
            Self::Named(subject) => {
                is_subject(subject) && subject != ANONYMOUS && !is_role(subject) && is_called(subject)
            }
        }
    }
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Printable ASCII without spaces, commas and quotes, so that it can stand in a line of a policy.
fn is_subject(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'"' | b'\'');
    (1..=SUBJECT_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// Whether somebody can be called so. What a certificate claims in `annals://`, however it is spelled, is a node or a client of
/// a cluster exactly as it is written here, or the certificate names nobody.
fn is_called(subject: &str) -> bool {
    match claimed(subject) {
        None => true,
        Some(Claimed { is_exact, rest }) => {
            let parts: Vec<&str> = rest.split('/').collect();
            is_exact
                && matches!(parts[..], [cluster, holder, name] if is_name(cluster) && HOLDERS.contains(&holder) && is_name(name))
        }
    }
}

/// Whether somebody's name can begin so.
fn begins_a_name(prefix: &str) -> bool {
    let is_begun = |name: &str| name.is_empty() || is_name(name);
    match claimed(prefix) {
        None => true,
        Some(Claimed { is_exact, rest }) => {
            let parts: Vec<&str> = rest.split('/').collect();
            is_exact
                && match parts[..] {
                    [cluster] => is_begun(cluster),
                    [cluster, holder] => {
                        is_name(cluster) && HOLDERS.iter().any(|whole| whole.starts_with(holder))
                    }
                    [cluster, holder, name] => {
                        is_name(cluster) && HOLDERS.contains(&holder) && is_begun(name)
                    }
                    _ => false,
                }
        }
    }
}

/// What a text claims in `annals://`.
struct Claimed<'a> {
    /// Whether that is spelled as certificates have it.
    is_exact: bool,
    /// What stands behind it.
    rest: &'a str,
}

fn claimed(text: &str) -> Option<Claimed<'_>> {
    let (scheme, rest) = text.split_at_checked(IDENTITY.len())?;
    scheme.eq_ignore_ascii_case(IDENTITY).then_some(Claimed {
        is_exact: scheme == IDENTITY,
        rest,
    })
}

/// Why a field says nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPattern {
    /// It is neither a subject nor a role.
    Unsuitable,
    /// It looks like a subject, and no certificate is ever called that.
    NeverCalled,
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
    /// Reads a field of a line.
    ///
    /// Errors: nobody is meant by it, whoever comes.
    pub(super) fn parse(text: &str) -> Result<Self, NoPattern> {
        if !is_subject(text) {
            return Err(NoPattern::Unsuitable);
        }
        if let Some(name) = text.strip_prefix(ROLE) {
            return if is_name(name) {
                Ok(Self::Role(text.to_owned()))
            } else {
                Err(NoPattern::Unsuitable)
            };
        }
        match text.split_once('*') {
            None if is_called(text) => Ok(Self::Whole(text.to_owned())),
            Some((prefix, "")) if begins_a_name(prefix) => Ok(Self::Prefix(prefix.to_owned())),
            None | Some((_, "")) => Err(NoPattern::NeverCalled),
            Some(_) => Err(NoPattern::Unsuitable),
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
    use crate::certs::{Holder, Identity};

    #[test]
    fn a_field_is_a_name_a_prefix_or_a_role() {
        let read = |text: &str| Pattern::parse(text);
        assert_eq!(
            read("annals://orders/client/app"),
            Ok(Pattern::Whole("annals://orders/client/app".into()))
        );
        assert_eq!(
            read("annals://orders/*"),
            Ok(Pattern::Prefix("annals://orders/".into()))
        );
        assert_eq!(read("*"), Ok(Pattern::Prefix(String::new())));
        assert_eq!(read("role:producer"), Ok(Pattern::Role("role:producer".into())));
        let long = "n".repeat(SUBJECT_BYTES_MAX + 1);
        for text in [
            "", "a b", "a,b", "ä", "a\n", "a*b", "*a", "**", "role:", "role:*", "role:a/b", "\"app\"",
            "'app'", "a\"", &long,
        ] {
            assert_eq!(read(text), Err(NoPattern::Unsuitable), "{text:?}");
        }
    }

    /// As certificates are read, so that no line stands for nobody, and none is refused that stands for somebody.
    #[test]
    fn what_no_certificate_is_called_is_no_pattern() {
        let long = "n".repeat(64);
        let name = |claim: &str| claim.replace("LONG", &long);
        for text in [
            "annals://orders/client/app",
            "annals://orders/node/node-0",
            "annals://o/client/a.b_c-9",
            "ANNALS://orders/client/app",
            "annals://orders/client/app/",
            "annals://orders/client/",
            "annals://orders/client",
            "annals://orders/Client/app",
            "annals://orders/clients/app",
            "annals://orders/ca",
            "annals://orders/ca/x",
            "annals://orders//app",
            "annals:///client/app",
            "annals://",
            "annals://orders/client/-app",
            "annals://orders/client/app?x",
            "annals://orders/client/LONG",
        ] {
            let text = name(text);
            let called =
                Identity::from_uri(&text).is_some_and(|identity| identity.holder != Holder::Authority);
            let expected = if called {
                Ok(Pattern::Whole(text.clone()))
            } else {
                Err(NoPattern::NeverCalled)
            };
            assert_eq!(Pattern::parse(&text), expected, "{text:?}");
            assert_eq!(Who::Named(&text).may_be_meant(), called, "{text:?}");
        }
        for text in [
            "spiffe://example.com/app/",
            "app.example.com",
            "App",
            "annals:x",
            "annals:/orders/",
        ] {
            assert_eq!(Pattern::parse(text), Ok(Pattern::Whole(text.into())), "{text:?}");
            assert!(Who::Named(text).may_be_meant(), "{text:?}");
        }
    }

    #[test]
    fn a_prefix_is_one_of_what_a_certificate_can_be_called() {
        let whole = "annals://orders/client/app";
        for end in 0..=whole.len() {
            let prefix = &whole[..end];
            assert_eq!(
                Pattern::parse(&format!("{prefix}*")),
                Ok(Pattern::Prefix(prefix.into())),
                "{prefix:?}"
            );
        }
        for text in [
            "ANNALS://*",
            "annals:///*",
            "annals://orders//*",
            "annals://orders/ca*",
            "annals://orders/clients*",
            "annals://orders/x/*",
            "annals://orders/client/app/*",
            "annals://-*",
        ] {
            assert_eq!(Pattern::parse(text), Err(NoPattern::NeverCalled), "{text:?}");
        }
    }

    #[test]
    fn nobody_is_what_only_a_policy_may_call_them() {
        assert!(Who::Anonymous.may_be_meant());
        assert!(Who::Named("annals://orders/client/app").may_be_meant());
        for subject in ["anonymous", "role:operator", "", "a b", "a\tb", "a\"b", "a'b"] {
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
