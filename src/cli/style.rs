//! Color, for those who look: a little, and never where a program reads.

use std::io::{IsTerminal, stdout};

/// What a color says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be, and worth seeing.
    Good,
    /// To be looked at.
    Warn,
    /// Not as it should be.
    Bad,
    /// A title.
    Title,
}

/// Whether standard output has color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    has_color: bool,
}

impl Style {
    /// Color where a person looks at a terminal that has it, and `NO_COLOR` (no-color.org) does not forbid it.
    pub(super) fn of_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_dumb = set("TERM").is_none_or(|terminal| terminal == "dumb");
        Self {
            has_color: stdout().is_terminal() && set("NO_COLOR").is_none() && !is_dumb,
        }
    }

    /// Without color.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self { has_color: false }
    }

    /// The text in that tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.has_color {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Title => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Columns that a text takes on a terminal: what [`Style::paint`] adds takes none.
pub(super) fn width(text: &str) -> usize {
    let mut rest = text;
    let mut columns = 0;
    while let Some((before, behind)) = rest.split_once("\x1b[") {
        columns += before.chars().count();
        rest = behind.split_once('m').map_or("", |(_, text)| text);
    }
    columns + rest.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_takes_no_columns_and_plain_text_has_none() {
        let colored = Style { has_color: true };
        assert_eq!(colored.paint(Tone::Bad, "no"), "\x1b[31mno\x1b[0m");
        assert_eq!(width(&format!("a{}c", colored.paint(Tone::Good, "bé"))), 4);
        assert_eq!(Style::plain().paint(Tone::Bad, "no"), "no");
    }
}
