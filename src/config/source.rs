//! The text of a file and the places in it.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    error::{ConfigError, Excerpt, Problem},
    origin::Origin,
    secret::without_secret,
};

/// A file's text, to turn positions in it into places that people can find.
pub(super) struct Source {
    path: PathBuf,
    pub(super) text: String,
}

impl Source {
    /// Reads the file.
    ///
    /// Errors: it cannot be read, or is not text. Blocking: reads the disk.
    pub(super) fn read(path: &Path) -> Result<Self, Box<ConfigError>> {
        let fault = |problem, line, column, help: &str| {
            Box::new(ConfigError {
                problem,
                origin: Origin::File {
                    path: path.to_owned(),
                    line,
                    column,
                },
                excerpt: None,
                notes: Vec::new(),
                help: help.to_owned(),
            })
        };
        let bytes = std::fs::read(path).map_err(|source| {
            fault(
                Problem::Unreadable { source },
                1,
                1,
                "name a readable file; `annals init` makes one, and `annals config show` prints all options with their defaults",
            )
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self {
                path: path.to_owned(),
                text,
            }),
            Err(error) => {
                let intact = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let (line, column) = line_and_column(&String::from_utf8_lossy(intact), intact.len());
                Err(fault(Problem::NotText, line, column, "save the file as UTF-8"))
            }
        }
    }

    /// The place of a stretch of the text.
    pub(super) fn origin(&self, span: &Range<usize>) -> Origin {
        let (line, column) = line_and_column(&self.text, span.start);
        Origin::File {
            path: self.path.clone(),
            line,
            column,
        }
    }

    /// The line in which a stretch of the text begins. What is no letter there, as tabs, becomes a space, so that the mark below it stands right and
    /// nobody's terminal is told anything.
    pub(super) fn excerpt(&self, span: &Range<usize>) -> Excerpt {
        let start = char_start(&self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |newline| start + newline);
        let end = char_start(&self.text, span.end).clamp(start, line_end);
        let line = &self.text[line_start..line_end];
        if let Some(text) = without_secret(line) {
            return Excerpt { text, width: 1 };
        }
        Excerpt {
            text: printable(line.trim_end()),
            width: self.text[start..end].trim_end().chars().count().max(1),
        }
    }

    /// A fault of a stretch of the text.
    pub(super) fn fault(&self, problem: Problem, span: &Range<usize>, help: String) -> ConfigError {
        ConfigError {
            problem,
            origin: self.origin(span),
            excerpt: Some(self.excerpt(span)),
            notes: Vec::new(),
            help,
        }
    }
}

/// A line as a terminal may be given it: a space for each character that would move or change something there.
fn printable(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The start of the character that a byte belongs to, or the text's end.
fn char_start(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// Line and character, both from 1, of a byte in a text.
pub(super) fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..char_start(text, byte)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with the sequence that clears a terminal was printed as it stood.
    #[test]
    fn a_line_that_is_shown_tells_a_terminal_nothing() {
        assert_eq!(printable("a\t\u{1b}[2J\u{7}\u{9b}b"), "a  [2J  b");
    }
}
