//! What is wrong with JSON that somebody sent, without a word of what stands there: it may be a record's, and nothing of those is in an error.

/// How serde begins and ends what it quotes, and what is said instead.
const QUOTED: [(&str, char, &str); 5] = [
    ("string \"", '"', "a string"),
    ("integer `", '`', "a number"),
    ("floating point `", '`', "a number"),
    ("boolean `", '`', "true or false"),
    ("character `", '`', "a string"),
];

/// What is wrong, and where.
pub(super) fn what_is_wrong(error: &serde_json::Error) -> String {
    without_content(&error.to_string())
}

fn without_content(text: &str) -> String {
    let found = QUOTED.iter().filter_map(|(begin, end, instead)| {
        let at = text.find(begin)?;
        Some((at, &text[at + begin.len()..], *end, *instead))
    });
    let Some((at, quoted, end, instead)) = found.min_by_key(|(at, ..)| *at) else {
        return text.to_owned();
    };
    // As Debug writes it: it is over at the first end that nothing escapes.
    let mut escaped = false;
    let is_end = |c: char| {
        let is_end = c == end && !escaped;
        escaped = c == '\\' && !escaped;
        is_end
    };
    let rest = quoted
        .find(is_end)
        .map_or("", |at| &quoted[at + end.len_utf8()..]);
    format!("{}{instead}{rest}", &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "nothing here is ever read as one")]
    struct Wanted {
        number: u64,
        text: String,
    }

    /// The bug: who sent a record where something else belongs was told the record.
    #[test]
    fn what_stands_there_is_not_repeated_and_where_and_why_is_told() {
        for (json, told) in [
            (
                r#"{"number": "se\"cret"}"#,
                "invalid type: a string, expected u64 at line 1 column 21",
            ),
            (
                r#"{"number": "se\\"}"#,
                "invalid type: a string, expected u64 at line 1 column 17",
            ),
            (
                r#"{"text": 4711}"#,
                "invalid type: a number, expected a string at line 1 column 13",
            ),
            (
                r#"{"text": 4.711}"#,
                "invalid type: a number, expected a string at line 1 column 14",
            ),
            (
                r#"{"number": -4711}"#,
                "invalid value: a number, expected u64 at line 1 column 16",
            ),
            (
                r#"{"text": true}"#,
                "invalid type: true or false, expected a string at line 1 column 13",
            ),
            (
                r#"{"other": 1}"#,
                "unknown field `other`, expected `number` or `text` at line 1 column 8",
            ),
            (r#"{"text": "#, "EOF while parsing a value at line 1 column 9"),
        ] {
            let error = serde_json::from_str::<Wanted>(json).unwrap_err();
            assert_eq!(what_is_wrong(&error), told, "{json}");
        }
    }

    #[test]
    fn whatever_is_quoted_without_an_end_is_left_out_to_the_end() {
        assert_eq!(
            without_content("invalid type: string \"secret\\\""),
            "invalid type: a string"
        );
    }
}
