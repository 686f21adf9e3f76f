//! The text format of Prometheus, read by its rules and no others: what is doubtful is an error.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a sample, by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// A metric and its samples.
#[derive(Clone, Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) samples: Vec<(Labels, f64)>,
}

impl Family {
    /// The one value whose labels have these among them.
    pub(crate) fn value(&self, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |of: &Labels| {
            labels
                .iter()
                .all(|(name, value)| of.get(*name).is_some_and(|it| it == value))
        };
        let mut found = self.samples.iter().filter(|(of, _)| has(of));
        let value = found.next().map(|(_, value)| *value);
        assert!(found.next().is_none(), "several have {labels:?}: {self:?}");
        value
    }
}

/// Every metric of a text, by name.
///
/// Errors: the line that is not as it should be, and why.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut families = BTreeMap::<String, Family>::new();
    let mut current: Option<(String, Option<Family>, BTreeSet<Labels>)> = None;
    for line in text.lines() {
        let wrong = |why: &str| Err(format!("{why}: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else {
                return wrong("no help");
            };
            if !is_name(name) || help.trim().is_empty() {
                return wrong("no name, or no help");
            }
            finish(&mut families, current.take())?;
            current = Some((name.to_owned(), None, BTreeSet::new()));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else {
                return wrong("no type");
            };
            match &mut current {
                Some((of, family @ None, _)) if of == name && ["gauge", "counter"].contains(&kind) => {
                    *family = Some(Family {
                        kind: kind.to_owned(),
                        samples: Vec::new(),
                    });
                }
                _ => return wrong("a type without its help before it"),
            }
        } else {
            let (name, labels, value) = sample(line).map_err(|why| format!("{why}: {line}"))?;
            match &mut current {
                Some((of, Some(family), seen)) if *of == name => {
                    if !seen.insert(labels.clone()) {
                        return wrong("the same labels twice");
                    }
                    family.samples.push((labels, value));
                }
                _ => return wrong("a sample without its type before it"),
            }
        }
    }
    finish(&mut families, current)?;
    Ok(families)
}

fn finish(
    families: &mut BTreeMap<String, Family>,
    family: Option<(String, Option<Family>, BTreeSet<Labels>)>,
) -> Result<(), String> {
    let Some((name, family, _)) = family else {
        return Ok(());
    };
    let family = family.filter(|family| !family.samples.is_empty());
    let family = family.ok_or_else(|| format!("{name} has no type, or no samples"))?;
    match families.insert(name.clone(), family) {
        Some(_) => Err(format!("{name} is there twice")),
        None => Ok(()),
    }
}

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name) {
        return Err("no name".to_owned());
    }
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"").ok_or("no label")?;
            if !is_name(label) {
                return Err(format!("{label} is no label"));
            }
            let (value, behind) = quoted(behind)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("{label} twice"));
            }
            match behind.split_at_checked(1) {
                Some((",", behind)) => rest = behind,
                Some(("}", behind)) => {
                    rest = behind;
                    break;
                }
                _ => return Err("labels without an end".to_owned()),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let is_number = value
        .chars()
        .all(|c| c.is_ascii_digit() || ['.', '-', 'e', '+'].contains(&c));
    let value = value
        .parse()
        .ok()
        .filter(|_| is_number)
        .ok_or("no value, or more than one")?;
    Ok((name.to_owned(), labels, value))
}

/// Up to the quote that ends it, and what is behind that.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, c)) = letters.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match letters.next() {
                Some((_, 'n')) => '\n',
                Some((_, c @ ('\\' | '"'))) => c,
                other => return Err(format!("{other:?} needs no backslash")),
            }),
            c => value.push(c),
        }
    }
    Err("a value without an end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_it_should_be_is_an_error() {
        let head = "# HELP a Text.\n# TYPE a gauge\n";
        let good = format!("{head}a{{b=\"c\\\"\\n\",d=\"\"}} 1\na{{b=\"\",d=\"\"}} -2.5\n");
        let parsed = parse(&good).unwrap();
        assert_eq!(parsed["a"].value(&[("b", "c\"\n")]), Some(1.0));
        for (bad, why) in [
            ("a 1", "end"),
            ("a 1\n", "without its type"),
            ("# TYPE a gauge\na 1\n", "without its help"),
            ("# HELP a Text.\n# TYPE a gauge\n", "no samples"),
            ("# HELP a Text.\n# TYPE a thing\na 1\n", "type"),
            (&format!("{head}a 1\na 2\n"), "twice"),
            (&format!("{head}a 1\n{head}a 2\n"), "twice"),
            (&format!("{head}a{{b=\"c}} 1\n"), "without an end"),
            (&format!("{head}a{{b=\"\\c\"}} 1\n"), "backslash"),
            (&format!("{head}a{{b=\"\"}}1\n"), "space"),
            (&format!("{head}a one\n"), "no value"),
            (&format!("{head}a 1 2\n"), "no value"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(why), "{bad:?}: {error}");
        }
    }
}
