//! A policy as text: its lines, each understood or refused.

use std::collections::{HashMap, HashSet};

use super::{
    error::{AclError, Mistake, Problem},
    subject::{NoPattern, Pattern},
    words::{Action, CURSOR, Object, Right, may_be_cursors},
};

/// A policy at most.
const POLICY_BYTES_MAX: usize = 1 << 20;

/// Lines at most that say something. A decision looks at each of them once, at some 0.4 us: 4 ms, once for each subject
/// and right.
const LINES_MAX: usize = 10_000;

const P_FIELDS: &str = "p, SUBJECT, OBJECT, ACTION";
const P_FIELDS_WITH_EFFECT: &str = "p, SUBJECT, OBJECT, ACTION[, deny]";
const G_FIELDS: &str = "g, SUBJECT, role:NAME";

/// What stands for every object or action.
const ANY: &str = "*";

/// A policy whose lines are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// The lines `p`: subject, object, action and, where the model has them, effect; each with its number and text.
    pub(super) grants: Vec<Line>,
    /// The lines `g`: subject and role.
    pub(super) links: Vec<Line>,
}

/// A line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    /// What Casbin is given: the fields without the first.
    pub(super) fields: Vec<String>,
    /// As it stands in the file.
    pub(super) text: String,
}

/// Reads a policy; `name` is what mistakes call it, `has_effects` whether its model knows lines that deny.
///
/// Errors: everything that is wrong with it. No line is passed over.
pub(super) fn parse(name: &str, text: &[u8], has_effects: bool) -> Result<Policy, AclError> {
    let whole = |problem| AclError::new(name, vec![Mistake::of_whole(problem)]);
    if text.len() > POLICY_BYTES_MAX {
        return Err(whole(Problem::TooLarge {
            bytes_max: POLICY_BYTES_MAX,
        }));
    }
    let text = std::str::from_utf8(text).map_err(|_| whole(Problem::NotText))?;
    let mut reader = Reader::new(has_effects);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if reader.seen.len() == LINES_MAX {
            return Err(whole(Problem::TooManyLines { lines_max: LINES_MAX }));
        }
        if let Err(problem) = reader.read(index + 1, line) {
            reader.mistakes.push(Mistake::at(index + 1, problem));
        }
    }
    reader.finish().map_err(|mistakes| AclError::new(name, mistakes))
}

struct Reader {
    has_effects: bool,
    policy: Policy,
    /// What lines say, the effect apart, and where.
    seen: HashMap<Vec<String>, (usize, bool)>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn new(has_effects: bool) -> Self {
        Self {
            has_effects,
            policy: Policy {
                grants: Vec::new(),
                links: Vec::new(),
            },
            seen: HashMap::new(),
            mistakes: Vec::new(),
        }
    }

    fn read(&mut self, number: usize, text: &str) -> Result<(), Problem> {
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        // Spreadsheets write them. Casbin would compare them like letters, and such a line would be about nobody.
        if fields.iter().any(|field| field.starts_with(['"', '\''])) {
            return Err(Problem::Quoted);
        }
        match fields.as_slice() {
            ["p", fields @ ..] => self.grant(number, text, fields),
            ["g", fields @ ..] => self.link(number, text, fields),
            _ => Err(Problem::UnknownKind),
        }
    }

    fn grant(&mut self, number: usize, text: &str, fields: &[&str]) -> Result<(), Problem> {
        let (what, denies) = match (fields, self.has_effects) {
            ([what @ .., "allow"], true) if what.len() == 3 => (what, false),
            ([what @ .., "deny"], true) if what.len() == 3 => (what, true),
            ([_, _, _, _], true) => return Err(Problem::UnknownEffect),
            ([_, _, _, _], false) => return Err(Problem::NoEffects),
            (what, _) => (what, false),
        };
        let [subject, object, action] = what else {
            return Err(Problem::FieldCount {
                found: fields.len() + 1,
                expected: if self.has_effects {
                    P_FIELDS_WITH_EFFECT
                } else {
                    P_FIELDS
                },
            });
        };
        check_subject(subject)?;
        check_right(object, action)?;
        self.remember(number, what, denies)?;
        let effect = self.has_effects.then_some(if denies { "deny" } else { "allow" });
        self.policy.grants.push(Line {
            number,
            fields: what.iter().copied().chain(effect).map(str::to_owned).collect(),
            text: text.to_owned(),
        });
        Ok(())
    }

    fn link(&mut self, number: usize, text: &str, fields: &[&str]) -> Result<(), Problem> {
        let [subject, role] = fields else {
            return Err(Problem::FieldCount {
                found: fields.len() + 1,
                expected: G_FIELDS,
            });
        };
        check_subject(subject)?;
        if !matches!(Pattern::parse(role), Ok(Pattern::Role(_))) {
            return Err(Problem::NoRole);
        }
        self.remember(number, fields, false)?;
        self.policy.links.push(Line {
            number,
            fields: fields.iter().copied().map(str::to_owned).collect(),
            text: text.to_owned(),
        });
        Ok(())
    }

    /// Notes what a line says. Two and three fields are never taken for each other.
    fn remember(&mut self, number: usize, what: &[&str], denies: bool) -> Result<(), Problem> {
        let what: Vec<String> = what.iter().copied().map(str::to_owned).collect();
        match self.seen.insert(what, (number, denies)) {
            None => Ok(()),
            Some((line, other)) if other == denies => Err(Problem::Duplicate { line }),
            Some((line, _)) => Err(Problem::Contradiction { line }),
        }
    }

    fn finish(mut self) -> Result<Policy, Vec<Mistake>> {
        let subjects = self.policy.grants.iter().chain(&self.policy.links);
        let granted: HashSet<&str> = subjects.map(|line| line.fields[0].as_str()).collect();
        let nothing = self
            .policy
            .links
            .iter()
            .filter(|line| !granted.contains(line.fields[1].as_str()));
        let unknown = nothing.map(|line| {
            let role = line.fields[1].clone();
            Mistake::at(line.number, Problem::UnknownRole { role })
        });
        // A role whose own line is wrong is not unknown.
        if self.mistakes.is_empty() {
            self.mistakes.extend(unknown);
        }
        if self.mistakes.is_empty() && self.policy.grants.is_empty() {
            self.mistakes.push(Mistake::of_whole(Problem::GrantsNothing));
        }
        if self.mistakes.is_empty() {
            Ok(self.policy)
        } else {
            Err(self.mistakes)
        }
    }
}

/// A line that can be about nobody is a mistake: it may be one that was to deny.
fn check_subject(subject: &str) -> Result<(), Problem> {
    match Pattern::parse(subject) {
        Ok(_) => Ok(()),
        Err(NoPattern::Unsuitable) => Err(Problem::NoSubject { field: "the subject" }),
        Err(NoPattern::NeverCalled) => Err(Problem::NeverCalled {
            subject: shown(subject),
        }),
    }
}

fn check_right(object: &str, action: &str) -> Result<(), Problem> {
    if let Some(cursors) = object.strip_prefix(CURSOR) {
        return check_cursors(cursors, action);
    }
    let object_named = (object != ANY).then(|| object.parse::<Object>());
    let action_named = (action != ANY).then(|| action.parse::<Action>());
    let unknown_object = |_| Problem::UnknownObject { name: shown(object) };
    let unknown_action = |_| Problem::UnknownAction { name: shown(action) };
    let object = object_named.transpose().map_err(unknown_object)?;
    let action = action_named.transpose().map_err(unknown_action)?;
    match (object, action) {
        (Some(object), Some(action)) if Right::of(object, action).is_none() => {
            Err(Problem::NeverAsked { object, action })
        }
        _ => Ok(()),
    }
}

fn check_cursors(cursors: &str, action: &str) -> Result<(), Problem> {
    if !may_be_cursors(cursors) {
        return Err(Problem::NoCursor { name: shown(cursors) });
    }
    let named = (action != ANY).then(|| action.parse::<Action>()).transpose();
    match named.map_err(|_| Problem::UnknownAction { name: shown(action) })? {
        None | Some(Action::Consume) => Ok(()),
        Some(action) => Err(Problem::NotOnCursor { action }),
    }
}

/// As much of a field as helps to find it, and nothing that could confuse a terminal.
pub(super) fn shown(field: &str) -> String {
    let printable = field
        .chars()
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    printable.take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<(Option<usize>, Problem)> {
        let error = parse("policy.csv", text.as_bytes(), true).unwrap_err();
        let mistakes = error.mistakes().iter();
        mistakes
            .map(|mistake| (mistake.line, mistake.problem.clone()))
            .collect()
    }

    /// The only mistake of a policy whose first line is right.
    fn problem(line: &str) -> Problem {
        let text = format!("p, role:reader, log, consume\n{line}\n");
        match told(&text).as_slice() {
            [(Some(2), problem)] => problem.clone(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn remarks_and_blanks_say_nothing_and_the_rest_keeps_its_line() {
        let text =
            "\n# a remark\n  p ,  app , log,produce  \r\n\ng, app, role:reader\np, role:reader, *, *, deny";
        let policy = parse("policy.csv", text.as_bytes(), true).unwrap();
        let numbers = |lines: &[Line]| lines.iter().map(|line| line.number).collect::<Vec<_>>();
        assert_eq!(numbers(&policy.grants), [3, 6]);
        assert_eq!(numbers(&policy.links), [5]);
        assert_eq!(policy.grants[0].fields, ["app", "log", "produce", "allow"]);
        assert_eq!(policy.grants[1].fields, ["role:reader", "*", "*", "deny"]);
        let plain = parse("policy.csv", b"p, app, log, produce", false).unwrap();
        assert_eq!(plain.grants[0].fields, ["app", "log", "produce"]);
    }

    #[test]
    fn each_mistake_is_told_and_no_line_is_passed_over() {
        let fields = |found, expected| Problem::FieldCount { found, expected };
        let table = [
            ("x, app, log, produce", Problem::UnknownKind),
            ("P, app, log, produce", Problem::UnknownKind),
            ("p2, app, log, produce", Problem::UnknownKind),
            ("app", Problem::UnknownKind),
            ("p", fields(1, P_FIELDS_WITH_EFFECT)),
            ("p, app, log", fields(3, P_FIELDS_WITH_EFFECT)),
            ("p, app, log, produce, deny, x", fields(6, P_FIELDS_WITH_EFFECT)),
            ("p, app, log, produce, denied", Problem::UnknownEffect),
            ("p, app, log, produce, ", Problem::UnknownEffect),
            ("p, , log, produce", Problem::NoSubject { field: "the subject" }),
            (
                "p, a b, log, produce",
                Problem::NoSubject { field: "the subject" },
            ),
            (
                "p, a*b, log, produce",
                Problem::NoSubject { field: "the subject" },
            ),
            ("p, \"app\", *, *, deny", Problem::Quoted),
            ("p, 'app', *, *, deny", Problem::Quoted),
            ("\"p\",\"app\",\"log\",\"produce\"", Problem::Quoted),
            ("g, \"app\", role:reader", Problem::Quoted),
            (
                "p, app\", *, *, deny",
                Problem::NoSubject { field: "the subject" },
            ),
            (
                "p, ANNALS://orders/client/app, *, *, deny",
                Problem::NeverCalled {
                    subject: "ANNALS://orders/client/app".into(),
                },
            ),
            (
                "p, annals://orders/client/app/*, *, *, deny",
                Problem::NeverCalled {
                    subject: "annals://orders/client/app/*".into(),
                },
            ),
            (
                "g, annals://orders/client/app/, role:reader",
                Problem::NeverCalled {
                    subject: "annals://orders/client/app/".into(),
                },
            ),
            (
                "p, app, Log, produce",
                Problem::UnknownObject { name: "Log".into() },
            ),
            (
                "p, app, log, write",
                Problem::UnknownAction { name: "write".into() },
            ),
            (
                "p, app, log, produce # often",
                Problem::UnknownAction {
                    name: "produce # often".into(),
                },
            ),
            (
                "p, app, cluster, produce",
                Problem::NeverAsked {
                    object: Object::Cluster,
                    action: Action::Produce,
                },
            ),
            (
                "p, app, cursor/, consume",
                Problem::NoCursor { name: String::new() },
            ),
            (
                "p, app, cursor/a*b, consume, deny",
                Problem::NoCursor { name: "a*b".into() },
            ),
            (
                "p, app, cursor, consume",
                Problem::UnknownObject {
                    name: "cursor".into(),
                },
            ),
            (
                "p, app, cursor/billing, take",
                Problem::UnknownAction { name: "take".into() },
            ),
            (
                "p, app, cursor/billing, admin",
                Problem::NotOnCursor {
                    action: Action::Admin,
                },
            ),
            ("g, app", fields(2, G_FIELDS)),
            ("g, app, role:reader, x", fields(4, G_FIELDS)),
            ("g, app, reader", Problem::NoRole),
            ("g, , role:reader", Problem::NoSubject { field: "the subject" }),
            (
                "g, app, role:raeder",
                Problem::UnknownRole {
                    role: "role:raeder".into(),
                },
            ),
            ("p, role:reader, log, consume", Problem::Duplicate { line: 1 }),
            (
                "p, role:reader, log, consume, allow",
                Problem::Duplicate { line: 1 },
            ),
            (
                "p, role:reader, log, consume, deny",
                Problem::Contradiction { line: 1 },
            ),
        ];
        for (line, expected) in table {
            assert_eq!(problem(line), expected, "{line}");
            assert!(!expected.remedy().is_empty());
        }
        let error = parse("p", b"p, app, log, produce, deny", false).unwrap_err();
        assert_eq!(error.mistakes()[0].problem, Problem::NoEffects);
    }

    #[test]
    fn all_mistakes_are_told_from_top_to_bottom_with_remedies() {
        let error = parse(
            "policy.csv",
            b"p, app, log, write\nx\np, app, logs, produce\n",
            true,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "policy.csv:1: unknown action `write`\n\
             help: actions are produce, consume, describe, admin, and `*` for all\n\
             policy.csv:2: a line begins with `p`, or with `g`; this one does not\n\
             help: write `p, SUBJECT, OBJECT, ACTION`, or `g, SUBJECT, role:NAME`; a remark begins with `#`\n\
             policy.csv:3: unknown object `logs`\n\
             help: objects are log, cluster, server, cursor/NAME, and `*` for all"
        );
        let many = "x\n".repeat(50);
        let error = parse("policy.csv", many.as_bytes(), true).unwrap_err();
        assert!(error.to_string().ends_with("and 30 more"), "{error}");
        assert!(error.in_a_line().ends_with("and 30 more"), "{error}");
    }

    #[test]
    fn a_file_of_another_kind_is_refused_and_nothing_of_it_repeated() {
        let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----\n";
        let error = parse("node.key", key.as_bytes(), true).unwrap_err().to_string();
        assert!(!error.contains("MC4C") && error.contains("node.key:2"), "{error}");
        assert_eq!(told("p, a, log, b\u{1b}[2J").len(), 1);
        assert!(
            !parse("p", b"p, a, log, b\x1b[2J", true)
                .unwrap_err()
                .to_string()
                .contains('\x1b')
        );
    }

    #[test]
    fn what_is_empty_cut_off_or_too_large_is_no_policy() {
        for text in ["", "# nothing\n"] {
            assert_eq!(told(text), [(None, Problem::GrantsNothing)]);
        }
        let large = vec![b'#'; POLICY_BYTES_MAX + 1];
        assert!(
            parse("p", &large, true)
                .unwrap_err()
                .to_string()
                .contains("more than")
        );
        let many: String = (0..=LINES_MAX)
            .map(|number| format!("p, app-{number}, log, produce\n"))
            .collect();
        assert!(
            parse("p", many.as_bytes(), true)
                .unwrap_err()
                .to_string()
                .contains("more than")
        );
        assert!(
            parse("p", b"p, \xff, log, produce", true)
                .unwrap_err()
                .to_string()
                .contains("UTF-8")
        );
    }
}
