//! How much is said back of what came from outside: enough to know it by, whatever its length.

/// About a line of a terminal.
const CHARS_MAX: usize = 80;

/// The beginning of `text`, or all of it where it is not long.
#[must_use]
pub fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(CHARS_MAX);
    end.map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_between_two_characters() {
        assert_eq!(beginning(""), "");
        for letter in ["x", "é", "\u{1f600}"] {
            assert_eq!(beginning(&letter.repeat(80)), letter.repeat(80));
            assert_eq!(beginning(&letter.repeat(81)), letter.repeat(80));
        }
    }
}
