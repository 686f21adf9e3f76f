//! The model: how Casbin compares a request with the lines of a policy.
//!
//! Casbin reads models leniently: it passes over what it does not know, and panics at some of what it does. So a model is read
//! here first, and only what is understood goes on: three fields of a request, three or four of a line, two effects, and a
//! matcher of comparisons.

use casbin::{DefaultModel, Model as _};

use super::{
    error::{AclError, Mistake, Problem},
    matcher,
};

/// The model of a node that is not given another one.
pub const BUILT_IN_MODEL: &str = include_str!("../../config/acl/model.conf");

/// A model at most; the built-in one has 1 KiB, most of it remarks.
const MODEL_BYTES_MAX: usize = 16 << 10;

/// What a model must define: section, key, and what its value may be. Of the last there is a grammar.
const DEFINITIONS: [(&str, &str, &[&str]); 5] = [
    ("request_definition", "r", &["sub, obj, act"]),
    ("policy_definition", "p", &["sub, obj, act", WITH_EFFECT]),
    ("role_definition", "g", &["_, _"]),
    ("policy_effect", "e", &[ALLOWED, ALLOWED_AND_NOT_DENIED]),
    ("matchers", "m", &[]),
];

const WITH_EFFECT: &str = "sub, obj, act, eft";
const ALLOWED: &str = "some(where (p.eft == allow))";
const ALLOWED_AND_NOT_DENIED: &str = "some(where (p.eft == allow)) && !some(where (p.eft == deny))";

/// A model that was understood. Whatever else it says, it denies what no line allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    values: [String; 5],
}

impl Model {
    /// That of a node that is not given another one.
    #[must_use]
    pub fn built_in() -> Self {
        Self::parse("the built-in model", BUILT_IN_MODEL.as_bytes()).expect("a test reads it")
    }

    /// Reads a model; `name` is what mistakes call it.
    ///
    /// Errors: everything that is wrong with it.
    pub fn parse(name: &str, text: &[u8]) -> Result<Self, AclError> {
        read(text).map_err(|mistakes| AclError::new(name, mistakes))
    }

    /// Whether a line may say `deny`.
    pub(super) fn has_effects(&self) -> bool {
        self.values[1] == WITH_EFFECT
    }

    /// As Casbin takes it.
    pub(super) fn to_casbin(&self) -> DefaultModel {
        let mut model = DefaultModel::default();
        for ((_, key, _), value) in DEFINITIONS.iter().zip(&self.values) {
            model.add_def(key, key, value);
        }
        model
    }
}

fn read(text: &[u8]) -> Result<Model, Vec<Mistake>> {
    let whole = |problem| vec![Mistake::of_whole(problem)];
    if text.len() > MODEL_BYTES_MAX {
        return Err(whole(Problem::TooLarge {
            bytes_max: MODEL_BYTES_MAX,
        }));
    }
    let text = std::str::from_utf8(text).map_err(|_| whole(Problem::NotText))?;
    let (mut values, mut mistakes) = ([const { None }; 5], Vec::new());
    let mut section = None;
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let read = match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => open(name).map(|place| section = Some(place)),
            None => define(section, line, &mut values),
        };
        mistakes.extend(read.err().map(|problem| Mistake::at(number, problem)));
    }
    if mistakes.is_empty() {
        for ((section, key, _), _) in DEFINITIONS
            .iter()
            .zip(&values)
            .filter(|(_, value)| value.is_none())
        {
            mistakes.push(Mistake::of_whole(model_problem(
                format!("`{key}` of [{section}] is missing"),
                "config/acl/model.conf is a model that is whole",
            )));
        }
    }
    // Casbin would pass over lines that deny, or deny by none.
    let speaks_of_deny = values[3].as_deref() == Some(ALLOWED_AND_NOT_DENIED);
    if mistakes.is_empty() && (values[1].as_deref() == Some(WITH_EFFECT)) != speaks_of_deny {
        mistakes.push(Mistake::of_whole(model_problem(
            "lines have an effect where [policy_effect] speaks of lines that deny, and only there".to_owned(),
            "define both as config/acl/model.conf does, or p = sub, obj, act and e = some(where (p.eft == allow))",
        )));
    }
    if mistakes.is_empty() {
        Ok(Model {
            values: values.map(Option::unwrap_or_default),
        })
    } else {
        Err(mistakes)
    }
}

fn model_problem(what: String, remedy: &'static str) -> Problem {
    Problem::Model { what, remedy }
}

/// The place of a section in [`DEFINITIONS`].
fn open(name: &str) -> Result<usize, Problem> {
    let place = DEFINITIONS.iter().position(|(section, ..)| *section == name);
    place.ok_or_else(|| {
        model_problem(
            "this is no section of a model".to_owned(),
            "sections are request_definition, policy_definition, role_definition, policy_effect, matchers",
        )
    })
}

fn define(section: Option<usize>, line: &str, values: &mut [Option<String>; 5]) -> Result<(), Problem> {
    let Some(place) = section else {
        return Err(model_problem(
            "this stands in no section".to_owned(),
            "begin with [request_definition]; is this the file of a model?",
        ));
    };
    let (section, key, allowed) = DEFINITIONS[place];
    let split = line
        .split_once('=')
        .map(|(found, value)| (found.trim(), value.trim()));
    let Some((_, value)) = split.filter(|(found, _)| *found == key) else {
        return Err(model_problem(
            format!("[{section}] defines `{key}`, and nothing else"),
            "write it in one line, as config/acl/model.conf does",
        ));
    };
    let value = if allowed.is_empty() {
        matcher::check(value).map_err(|what| {
            model_problem(
                what,
                "a matcher compares r.sub, r.obj, r.act, p.sub, p.obj, p.act and \"words\" by ==, !=, g(,) and keyMatch(,), \
                 joined by &&, || and !",
            )
        })?;
        value.to_owned()
    } else {
        // Spaces do not matter to people; Casbin compares letter by letter.
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        let meant = allowed.iter().find(|one| bare(one) == bare(value));
        let meant = meant.ok_or_else(|| {
            model_problem(
                format!("`{key}` is none of: {}", allowed.join(" | ")),
                "write it so; what is denied by default stays denied",
            )
        })?;
        (*meant).to_owned()
    };
    if values[place].replace(value).is_some() {
        return Err(model_problem(
            format!("`{key}` is defined twice"),
            "take one of the two out",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub,obj,act\n[role_definition]\n\
         g = _, _\n[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = g(r.sub, p.sub)\n";

    fn mistakes(text: &str) -> String {
        Model::parse("m", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_built_in_model_is_understood_and_knows_lines_that_deny() {
        assert!(Model::built_in().has_effects());
        assert!(!Model::parse("m", WHOLE.as_bytes()).unwrap().has_effects());
    }

    #[test]
    fn what_casbin_would_pass_over_is_a_mistake() {
        for (from, to, told) in [
            ("[matchers]", "[matcher]", "m:9: this is no section"),
            ("[request_definition]\n", "", "m:1: this stands in no section"),
            ("sub,obj,act", "sub,obj,act,eft", "m: lines have an effect where"),
            ("sub,obj,act", "sub, act", "m:4: `p` is none of"),
            ("g = _, _", "g = _, _, _", "m:6: `g` is none of"),
            (
                "g = _, _",
                "g = _, _\ng2 = _, _",
                "m:7: [role_definition] defines `g`, and nothing else",
            ),
            ("g = _, _", "g = _, _\ng = _, _", "m:7: `g` is defined twice"),
            ("g = _, _\n", "", "m: `g` of [role_definition] is missing"),
            ("m = g(r.sub, p.sub)", "m = true", "m:10: "),
            // Casbin panics here.
            (
                "some(where (p.eft == allow))",
                "max(p.eft)",
                "m:8: `e` is none of",
            ),
            // And this would allow what nobody denies.
            (
                "some(where (p.eft == allow))",
                "!some(where (p.eft == deny))",
                "m:8: `e` is none of",
            ),
            (
                "some(where (p.eft == allow))",
                "some(where (p.eft == allow)) && !some(where (p.eft == deny))",
                "m: lines have an effect where",
            ),
        ] {
            let text = WHOLE.replacen(from, to, 1);
            assert_ne!(text, WHOLE, "{from}");
            assert!(mistakes(&text).contains(told), "{}", mistakes(&text));
        }
        assert!(mistakes(&"#".repeat(MODEL_BYTES_MAX + 1)).contains("more than"));
        let error = Model::parse("m", b"[matchers]\n\xff").unwrap_err();
        assert_eq!(error.mistakes()[0].problem, Problem::NotText);
    }
}
