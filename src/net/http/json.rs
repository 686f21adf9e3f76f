//! Values of JSON out of bodies. What is wrong with one is told with its place, and in a few words, however much was sent.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_path_to_error::Segment;

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
/// Errors: `Invalid`, with the field, line and column.
pub fn of_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let fault = fault_of::<T>(&error, body);
        Refusal::invalid(format!(
            "the body is not as it should be: {fault} at line {line} column {column}"
        ))
    })
}

/// A line of a body, which is its `number`th, counted from 1.
///
/// Errors: `Invalid`, with the field, line and column.
pub fn of_line<'a, T: Deserialize<'a>>(line: &'a [u8], number: usize) -> Result<T, Refusal> {
    serde_json::from_slice(line).map_err(|error| {
        let (column, fault) = (error.column(), fault_of::<T>(&error, line));
        Refusal::invalid(format!("line {number}, column {column} of the body: {fault}"))
    })
}

/// What is wrong with that JSON, and in which field, without the place.
fn fault_of<'a, T: Deserialize<'a>>(error: &serde_json::Error, json: &'a [u8]) -> String {
    let text = what_is_wrong(error);
    let place = format!(" at line {} column {}", error.line(), error.column());
    let fault = text.strip_suffix(&place).unwrap_or(&text);
    let fault = match field::<T>(json, fault.starts_with("unknown field")) {
        Some(field) => format!("{field}: {fault}"),
        None => fault.to_owned(),
    };
    match fault.char_indices().nth(FAULT_CHARS_MAX) {
        // What is expected in its place stands at the end.
        Some((end, _)) => {
            let tail = fault.char_indices().rev().nth(FAULT_CHARS_MAX / 2);
            let begin = tail.map_or(end, |(begin, _)| begin.max(end));
            format!("{}..{}", &fault[..end], &fault[begin..])
        }
        None => fault,
    }
}

/// The field of that JSON, which is wrong, where that is found out, such as `records[1].timestamp_ms`. It is read a second time for this: to keep
/// track of fields costs time, which nobody should pay whose JSON is right. `is_unknown`: the last one is named already, and may have any name; it
/// is the object around it that is told.
fn field<'a, T: Deserialize<'a>>(json: &'a [u8], is_unknown: bool) -> Option<String> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let error = serde_path_to_error::deserialize::<_, T>(&mut json).err()?;
    let segments = error.path().iter();
    let known = segments.len() - usize::from(is_unknown && segments.len() > 0);
    let mut path = String::new();
    for segment in segments.take(known) {
        match segment {
            Segment::Map { key } if path.is_empty() => path.push_str(key),
            Segment::Map { key } => path.extend([".", key]),
            Segment::Seq { index } => path.push_str(&format!("[{index}]")),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    Some(path).filter(|path| !path.is_empty())
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

    /// The story: of a field that was wrong only a column was told.
    #[test]
    fn the_field_that_is_wrong_is_named_and_what_stands_there_is_not() {
        for (text, begins) in [
            (r#"{"timestamp_ms": "secret"}"#, "timestamp_ms: "),
            (
                r#"{"headers": [{"name": "a", "text": "b"}, {"name": 4711}]}"#,
                "headers[1].name: ",
            ),
            (r#"{"text": {"secret": 1}}"#, "text: "),
            (
                r#"{"headers": [{"secret": 1}]}"#,
                "headers[0]: unknown field `secret`",
            ),
        ] {
            let [of_body, of_line] = refused(text);
            assert!(
                of_body.starts_with(&format!("the body is not as it should be: {begins}")),
                "{of_body}"
            );
            assert!(of_line.contains(&format!(" of the body: {begins}")), "{of_line}");
            assert!(!of_line.contains("4711"), "{of_line}");
        }
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
