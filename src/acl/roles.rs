//! Who has which role, as Casbin asks.
//!
//! Casbin's own role manager takes the first pattern that fits a subject and forgets the others, and stops at ten roles
//! within roles; this one does neither.

use std::collections::{HashMap, HashSet};

use casbin::{MatchingFn, RoleManager};

use super::subject::{Pattern, covers, is_role};

/// Roles and who has them, by the lines `g` of a policy.
#[derive(Debug, Default)]
pub(super) struct Roles {
    /// Of each role, those who have it, by lines that name it.
    members: HashMap<String, Members>,
}

#[derive(Debug, Default)]
struct Members {
    whole: HashSet<String>,
    prefixes: Vec<String>,
    roles: HashSet<String>,
}

impl Members {
    fn include(&self, subject: &str) -> bool {
        self.whole.contains(subject)
            || self
                .prefixes
                .iter()
                .any(|prefix| subject.starts_with(prefix.as_str()))
    }
}

impl Roles {
    /// Whether they have it, by a line or through other roles.
    fn has(&self, subject: &str, role: &str) -> bool {
        let (mut seen, mut open) = (HashSet::new(), vec![role]);
        while let Some(role) = open.pop() {
            let Some(members) = self.members.get(role).filter(|_| seen.insert(role)) else {
                continue;
            };
            if members.include(subject) {
                return true;
            }
            open.extend(members.roles.iter().map(String::as_str));
        }
        false
    }
}

impl RoleManager for Roles {
    fn clear(&mut self) {
        self.members.clear();
    }

    fn add_link(&mut self, subject: &str, role: &str, _: Option<&str>) {
        let members = self.members.entry(role.to_owned()).or_default();
        match Pattern::parse(subject) {
            Ok(Pattern::Whole(name)) => drop(members.whole.insert(name)),
            Ok(Pattern::Prefix(prefix)) => members.prefixes.push(prefix),
            Ok(Pattern::Role(role)) => drop(members.roles.insert(role)),
            // Lines that are wrong do not come here, and who is not understood has no role.
            Err(_) => {}
        }
    }

    fn delete_link(&mut self, _: &str, _: &str, _: Option<&str>) -> casbin::Result<()> {
        // A policy is replaced as a whole.
        Ok(())
    }

    /// Whether a line about `named` is about `subject`.
    fn has_link(&self, subject: &str, named: &str, _: Option<&str>) -> bool {
        if is_role(named) {
            self.has(subject, named)
        } else {
            covers(named, subject)
        }
    }

    fn get_roles(&self, subject: &str, _: Option<&str>) -> Vec<String> {
        let has = |role: &&String| self.has(subject, role);
        self.members.keys().filter(has).cloned().collect()
    }

    fn get_users(&self, role: &str, _: Option<&str>) -> Vec<String> {
        let members = self.members.get(role);
        members.map_or_else(Vec::new, |members| members.whole.iter().cloned().collect())
    }

    fn matching_fn(&mut self, _: Option<MatchingFn>, _: Option<MatchingFn>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(links: &[(&str, &str)]) -> Roles {
        let mut roles = Roles::default();
        for (subject, role) in links {
            roles.add_link(subject, role, None);
        }
        roles
    }

    #[test]
    fn a_subject_has_the_roles_of_every_line_that_fits_it() {
        let roles = roles(&[
            ("annals://orders/client/*", "role:consumer"),
            ("annals://orders/*", "role:describer"),
            ("annals://orders/client/app", "role:producer"),
        ]);
        let has = |subject: &str, role: &str| roles.has_link(subject, role, None);
        for role in ["role:consumer", "role:describer", "role:producer"] {
            assert!(has("annals://orders/client/app", role), "{role}");
        }
        assert!(has("annals://orders/client/other", "role:consumer"));
        assert!(!has("annals://orders/client/other", "role:producer"));
        assert!(!has("annals://other/client/app", "role:describer"));
        assert!(!has("annals://orders/client/app", "role:unknown"));
    }

    #[test]
    fn roles_within_roles_reach_as_far_as_they_are_written() {
        let names: Vec<String> = (0..40).map(|number| format!("role:{number}")).collect();
        let mut links: Vec<(&str, &str)> = names
            .windows(2)
            .map(|two| (two[0].as_str(), two[1].as_str()))
            .collect();
        links.push(("app", "role:0"));
        let chain = roles(&links);
        assert!(chain.has_link("app", "role:39", None));
        assert!(!chain.has_link("other", "role:39", None));
    }

    #[test]
    fn roles_in_a_circle_end() {
        let circle = roles(&[("role:a", "role:b"), ("role:b", "role:a"), ("app", "role:a")]);
        assert!(circle.has_link("app", "role:b", None));
        assert!(!circle.has_link("other", "role:b", None));
    }
}
