//! A policy is understood as a whole or refused with what is wrong, line by line; and what it decides is what its lines say,
//! read once more here: an allowing line fits and no denying one does, and the line that is named is one of them. No model
//! makes a decision panic, and by none is anybody let in without a line.
//!
//! Input: whether the text is a policy or a model, the text.

#![no_main]

use std::collections::HashSet;

use annals::acl::{Acl, AclError, BUILT_IN_MODEL, Decision, Model, Right, Who};
use annals_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

const POLICY: &str = include_str!("../../config/acl/policy.csv");

fuzz_target!(init: seeds::plant("acl", seeds()), |input: &[u8]| {
    match input {
        [0, policy @ ..] => check_policy(policy),
        [_, model @ ..] => check_model(model),
        [] => {}
    }
});

fn seeds() -> Vec<Vec<u8>> {
    let short = "p, a*, log, produce\np, role:b, *, describe, deny\ng, app, role:b\ng, role:b, role:c\np, role:c, log, *\n\
        p, anonymous, server, describe";
    let of = |which: u8, text: &str| [&[which], text.as_bytes()].concat();
    vec![of(0, POLICY), of(0, short), of(1, BUILT_IN_MODEL)]
}

fn check_policy(text: &[u8]) {
    let acl = match Acl::new(Model::built_in(), "policy", text) {
        Ok(acl) => acl,
        Err(error) => return assert_clear(&error, text),
    };
    let text = std::str::from_utf8(text).expect("a policy is text");
    let lines: Vec<Line<'_>> = text.lines().zip(1..).filter_map(Line::of).collect();
    let named = lines.iter().map(|line| line.fields[1].trim_end_matches('*'));
    let subjects: HashSet<String> = named
        .take(20)
        .flat_map(|name| [name.to_owned(), format!("{name}x")])
        .collect();
    for subject in subjects.iter().map(String::as_str).chain(["anonymous", "nobody"]) {
        let who = Who::from_policy(subject);
        for right in Right::ALL {
            let decision = acl.decide(who, right);
            if who.may_be_meant() {
                assert_by_lines(&decision, &lines, subject, right);
            } else {
                assert_eq!(decision, Decision::DENIED, "{subject}");
            }
            assert_eq!(acl.decide(who, right), decision, "asked again");
        }
    }
}

/// A line of a policy that says something.
struct Line<'a> {
    number: usize,
    fields: Vec<&'a str>,
}

impl<'a> Line<'a> {
    fn of((line, number): (&'a str, usize)) -> Option<Self> {
        let line = line.trim();
        let fields = line.split(',').map(str::trim).collect();
        (!line.is_empty() && !line.starts_with('#')).then_some(Self { number, fields })
    }

    /// Whether it is about that right of whoever has these roles.
    fn fits(&self, subject: &str, roles: &HashSet<&str>, right: Right) -> bool {
        let is = |field: &str, word: &str| field == "*" || field == word;
        let about = |named: &str| roles.contains(named) || covers(named, subject);
        matches!(self.fields[..], ["p", named, object, action, ..]
            if about(named) && is(object, right.object().as_str()) && is(action, right.action().as_str()))
    }

    fn denies(&self) -> bool {
        self.fields.get(4) == Some(&"deny")
    }
}

fn covers(named: &str, subject: &str) -> bool {
    match named.strip_suffix('*') {
        Some(prefix) => subject.starts_with(prefix),
        None => named == subject,
    }
}

/// The roles of somebody, until there are no more.
fn roles<'a>(lines: &[Line<'a>], subject: &str) -> HashSet<&'a str> {
    let mut roles = HashSet::new();
    loop {
        let before = roles.len();
        for line in lines {
            if let ["g", named, role] = line.fields[..]
                && (roles.contains(named) || covers(named, subject))
            {
                roles.insert(role);
            }
        }
        if roles.len() == before {
            return roles;
        }
    }
}

fn assert_by_lines(decision: &Decision, lines: &[Line<'_>], subject: &str, right: Right) {
    let roles = roles(lines, subject);
    let fitting: Vec<&Line<'_>> = lines
        .iter()
        .filter(|line| line.fits(subject, &roles, right))
        .collect();
    let allowed = !fitting.is_empty() && !fitting.iter().any(|line| line.denies());
    assert_eq!(decision.allowed, allowed, "{subject}, {right:?}: {decision:?}");
    let named = decision.rule.as_ref().map(|rule| rule.line);
    let by = |number: usize| {
        fitting
            .iter()
            .any(|line| line.number == number && line.denies() != allowed)
    };
    assert!(
        named.map_or(fitting.is_empty(), by),
        "{subject}, {right:?}: {decision:?}"
    );
}

fn check_model(text: &[u8]) {
    let model = match Model::parse("model", text) {
        Ok(model) => model,
        Err(error) => return assert_clear(&error, text),
    };
    // A model without denials has no policy with one, and this policy has none.
    let acl = Acl::new(model, "policy", POLICY.as_bytes()).expect("the policy is right by any model");
    for subject in ["annals://annals/client/orders-api", "anonymous", "nobody"] {
        for right in Right::ALL {
            let decision = acl.decide(Who::from_policy(subject), right);
            assert!(
                !decision.allowed || decision.rule.is_some(),
                "{subject}, {right:?} by no line"
            );
        }
    }
}

/// Each mistake has a line that there is, or is about the whole; nothing that is told confuses a terminal.
fn assert_clear(error: &AclError, text: &[u8]) {
    let lines = text.split(|byte| *byte == b'\n').count();
    assert!(!error.mistakes().is_empty());
    for mistake in error.mistakes() {
        assert!(
            mistake.line.is_none_or(|line| (1..=lines).contains(&line)),
            "{mistake:?}"
        );
        assert!(
            !mistake.problem.to_string().is_empty() && !mistake.problem.remedy().is_empty(),
            "{mistake:?}"
        );
    }
    let told = error.to_string();
    assert!(told.chars().all(|c| c == '\n' || !c.is_control()), "{told:?}");
}
