//! Values of JSON out of bodies. What is wrong with one is told with its place, and in a few words, however much was sent.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::wrong_json::what_is_wrong;
use crate::net::status::Refusal;

/// Of a fault, which may name a field or a text as long as the body.
const FAULT_CHARS_MAX: usize = 400;

/// What is written as an object, and not as a list of what its fields would have: whoever sends that means something else.
#[derive(Clone, Copy, Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }
        deserializer.deserialize_map(Objects(PhantomData))
    }
}

/// A whole body.
///
/// Errors: `Invalid`, with line and column.
pub fn of_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let fault = fault_of(&error);
        Refusal::invalid(format!(
            "the body is not as it should be: {fault} at line {line} column {column}"
        ))
    })
}

/// A line of a body, which is its `number`th, counted from 1.
///
/// Errors: `Invalid`, with line and column.
pub fn of_line<'a, T: Deserialize<'a>>(line: &'a [u8], number: usize) -> Result<T, Refusal> {
    serde_json::from_slice(line).map_err(|error| {
        let (column, fault) = (error.column(), fault_of(&error));
        Refusal::invalid(format!("line {number}, column {column} of the body: {fault}"))
    })
}

/// What is wrong, without the place.
fn fault_of(error: &serde_json::Error) -> String {
    let text = what_is_wrong(error);
    let place = format!(" at line {} column {}", error.line(), error.column());
    let fault = text.strip_suffix(&place).unwrap_or(&text);
    match fault.char_indices().nth(FAULT_CHARS_MAX) {
        // What is expected in its place stands at the end.
        Some((end, _)) => {
            let tail = fault.char_indices().rev().nth(FAULT_CHARS_MAX / 2);
            let begin = tail.map_or(end, |(begin, _)| begin.max(end));
            format!("{}..{}", &fault[..end], &fault[begin..])
        }
        None => fault.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::record::ReadRecord, *};

    fn refused(text: &str) -> [String; 2] {
        let told = |refused: Result<ReadRecord, Refusal>| refused.unwrap_err().to_string();
        [told(of_body(text.as_bytes())), told(of_line(text.as_bytes(), 7))]
    }

    #[test]
    fn a_fault_is_told_with_its_place_whatever_stands_in_it() {
        let [of_body, of_line] = refused("{\"text\": \"a\",\n \" at line 9 column 9\": 1}");
        assert!(
            of_body.starts_with("the body is not as it should be: unknown field ` at line 9 column 9`"),
            "{of_body}"
        );
        assert!(of_body.ends_with(" at line 2 column 22"), "{of_body}");
        assert!(
            of_line.starts_with("line 7, column 22 of the body: unknown field ` at line 9 column 9`"),
            "{of_line}"
        );
        assert!(!of_line.ends_with("column 22"), "{of_line}");
    }

    /// The story: a field with a name of 4 MB was refused by an answer of 4 MB.
    #[test]
    fn a_fault_is_told_in_a_few_words_and_with_what_is_expected() {
        for letter in ["x", "é"] {
            let long = letter.repeat(1 << 20);
            for (text, expected) in [
                (format!("{{\"{long}\": 1}}"), "expected one of `value`, `text`"),
                (format!("\"{long}\""), "expected an object"),
                (
                    format!("{{\"text\": \"a\", \"timestamp_ms\": \"{long}\"}}"),
                    "expected a whole number",
                ),
            ] {
                for told in refused(&text) {
                    assert!(told.chars().count() < 800 && told.contains(expected), "{told}");
                }
            }
        }
    }
}
