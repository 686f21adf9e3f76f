//! The grammar of matchers: comparisons, and what joins them.
//!
//! What it takes is always true or false, ends, and calls nothing that could panic; the language behind Casbin is much
//! larger.

use super::policy::shown;

/// A matcher at most, in bytes, and as deep: the built-in one has 130 and 2.
const BYTES_MAX: usize = 1024;
const DEPTH_MAX: usize = 16;

/// What can be compared.
const FIELDS: [&str; 6] = ["r.sub", "r.obj", "r.act", "p.sub", "p.obj", "p.act"];

/// Functions of two fields or words.
const FUNCTIONS: [&str; 2] = ["g", "keyMatch"];

/// Checks a matcher.
///
/// Errors: what is wrong with it.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.len() > BYTES_MAX {
        return Err(format!("the matcher has more than {BYTES_MAX} bytes"));
    }
    let mut reader = Reader {
        rest: text.trim_start(),
    };
    reader.any_of(0)?;
    if reader.rest.is_empty() {
        Ok(())
    } else {
        Err(reader.surprised("&&, || or the end"))
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// Terms joined by `||`.
    fn any_of(&mut self, depth: usize) -> Result<(), String> {
        self.all_of(depth)?;
        while self.takes("||") {
            self.all_of(depth)?;
        }
        Ok(())
    }

    /// Terms joined by `&&`.
    fn all_of(&mut self, depth: usize) -> Result<(), String> {
        self.term(depth)?;
        while self.takes("&&") {
            self.term(depth)?;
        }
        Ok(())
    }

    fn term(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("the matcher is nested deeper than {DEPTH_MAX}"));
        }
        if self.takes("!") {
            return self.term(depth + 1);
        }
        if self.takes("(") {
            self.any_of(depth + 1)?;
            return self.must(")");
        }
        for function in FUNCTIONS {
            let Some(rest) = self.rest.strip_prefix(function) else {
                continue;
            };
            if rest.trim_start().starts_with('(') {
                self.rest = rest.trim_start();
                self.must("(")?;
                self.operand()?;
                self.must(",")?;
                self.operand()?;
                return self.must(")");
            }
        }
        self.operand()?;
        if self.takes("==") || self.takes("!=") {
            self.operand()
        } else {
            Err(self.surprised("== or !="))
        }
    }

    /// A field, or a word in quotes.
    fn operand(&mut self) -> Result<(), String> {
        for field in FIELDS {
            let Some(rest) = self.rest.strip_prefix(field) else {
                continue;
            };
            if !rest.starts_with(|next: char| next.is_alphanumeric() || matches!(next, '_' | '.')) {
                self.rest = rest.trim_start();
                return Ok(());
            }
        }
        let quoted = self.rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
        match quoted {
            // No dots: Casbin would take some for those of fields.
            Some((word, rest))
                if word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_:/*".contains(&byte)) =>
            {
                self.rest = rest.trim_start();
                Ok(())
            }
            _ => Err(self.surprised("a field, or a word of letters, digits and -_:/* in quotes")),
        }
    }

    fn takes(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) if token != "!" || !rest.starts_with('=') => {
                self.rest = rest.trim_start();
                true
            }
            _ => false,
        }
    }

    fn must(&mut self, token: &str) -> Result<(), String> {
        if self.takes(token) {
            Ok(())
        } else {
            Err(self.surprised(token))
        }
    }

    fn surprised(&self, expected: &str) -> String {
        let found: String = shown(self.rest).chars().take(12).collect();
        match found.as_str() {
            "" => format!("the matcher ends where {expected} is expected"),
            found => format!("the matcher has `{found}` where {expected} is expected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_and_what_joins_them_are_taken() {
        for matcher in [
            "g(r.sub, p.sub)",
            "r.act == p.act",
            "r.act!=p.act",
            " g( r.sub , p.sub ) && (p.obj == \"*\" || r.obj == p.obj) && !(r.act == \"admin\") ",
            "keyMatch(r.sub, p.sub) || \"role:x\" == p.sub",
        ] {
            assert_eq!(check(matcher), Ok(()), "{matcher}");
        }
    }

    #[test]
    fn whatever_else_the_language_behind_it_has_is_refused() {
        let deep = format!("{}r.act == p.act{}", "(".repeat(40), ")".repeat(40));
        let nots = format!("{}(r.act == p.act)", "!".repeat(40));
        let long = vec!["r.act == p.act"; 100].join(" && ");
        for matcher in [
            "",
            "true",
            "r.sub",
            "r.sub == ",
            "r.sub = p.sub",
            "r.sub == p.sub &&",
            "r.sub == p.sub p.obj",
            "(r.sub == p.sub",
            "r.sub == p.sub)",
            "g(r.sub)",
            "g(r.sub, p.sub, p.obj)",
            "g(r.sub, g(r.sub, p.sub))",
            "regexMatch(r.sub, p.sub)",
            "eval(p.sub)",
            "r.subject == p.sub",
            "r.sub.x == p.sub",
            "r.sub == \"p.example\"",
            "r.sub == \"a\\\"",
            "r.sub == `${1}`",
            "r.sub == 'a'",
            "r.sub == p.eft",
            "r2.sub == p.sub",
            "loop {}",
            &deep,
            &nots,
            &long,
        ] {
            assert!(check(matcher).is_err(), "{matcher}");
        }
    }

    /// Found by fuzzing: what stood in a matcher went to the terminal as it was.
    #[test]
    fn nothing_of_a_matcher_confuses_a_terminal() {
        for text in ["\u{1b}[2J", "g(r.sub, p.sub) \u{7f}\u{9b}31m"] {
            let told = check(text).unwrap_err();
            assert!(told.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{told:?}");
            assert!(told.contains('?'), "{told}");
        }
    }
}
