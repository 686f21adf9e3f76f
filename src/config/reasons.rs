//! What each option is for, in the words of config/default.toml: files that the program writes say it too.

use super::options::Key;

const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The comment above an option, line by line, each with its `# `.
#[must_use]
pub fn reason(key: Key) -> Vec<&'static str> {
    comment_above(|section, line| {
        let value = line.strip_prefix(key.name);
        section == key.section && value.is_some_and(|value| value.starts_with(" ="))
    })
}

/// The same above a section; most have none.
#[must_use]
pub fn section_reason(section: &str) -> Vec<&'static str> {
    comment_above(|_, line| header(line) == Some(section))
}

fn comment_above(is_it: impl Fn(&str, &str) -> bool) -> Vec<&'static str> {
    let (mut section, mut comment) = ("", Vec::new());
    for line in DEFAULTS.lines() {
        if line.starts_with('#') {
            comment.push(line);
            continue;
        }
        if is_it(section, line) {
            return comment;
        }
        section = header(line).unwrap_or(section);
        comment.clear();
    }
    Vec::new()
}

fn header(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, keys};

    #[test]
    fn every_option_has_a_reason_of_its_own() {
        for key in Config::KEYS {
            let lines = reason(*key);
            assert!(!lines.is_empty(), "{key}");
            assert!(lines.iter().all(|line| line.starts_with("# ")), "{lines:?}");
        }
        assert!(reason(keys::tls::key)[0].starts_with("# Its private key."));
        assert!(reason(keys::node::name) != reason(keys::cluster::name));
    }

    #[test]
    fn a_section_has_what_stands_right_above_it() {
        assert!(section_reason("tls")[0].starts_with("# TLS, once all three"));
        assert_eq!(section_reason("node"), [""; 0]);
        assert_eq!(section_reason("nothing"), [""; 0]);
    }
}
