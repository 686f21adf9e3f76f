//! The percent-encoding of queries: what is written is read to the byte, or refused with the place.

/// A percent sign that two hexadecimal digits do not follow, or an end where there should be some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEncoded {
    /// The byte, from 0.
    pub at: usize,
}

/// The bytes that a name or a value of a query stands for: `+` is a space, as forms have it.
///
/// Errors: with the place of what stands for nothing. It is not taken as it is written, as browsers do: a key is stored for ever.
pub fn decoded(text: &str) -> Result<Vec<u8>, NotEncoded> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.as_bytes();
    while let [first, rest @ ..] = left {
        left = rest;
        bytes.push(match (first, rest) {
            (b'+', _) => b' ',
            (b'%', _) => {
                let at = text.len() - rest.len() - 1;
                let (byte, behind) = escaped(rest).ok_or(NotEncoded { at })?;
                left = behind;
                byte
            }
            (byte, _) => *byte,
        });
    }
    Ok(bytes)
}

/// The byte of two digits, and what stands behind them.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, behind) = text.split_first_chunk::<2>()?;
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = digit(digits[0])? << 4 | digit(digits[1])?;
    Some((u8::try_from(byte).ok()?, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_can_be_written_and_is_read_as_it_is() {
        for byte in 0..=u8::MAX {
            for text in [format!("a%{byte:02x}b"), format!("a%{byte:02X}b")] {
                assert_eq!(decoded(&text), Ok(vec![b'a', byte, b'b']), "{text}");
            }
        }
        assert_eq!(decoded("a+b%2B%25é"), Ok("a b+%é".as_bytes().to_vec()));
        assert_eq!(decoded(""), Ok(Vec::new()));
    }

    #[test]
    fn a_percent_sign_that_stands_for_nothing_is_refused_with_its_place() {
        for (text, at) in [
            ("%", 0),
            ("100%", 3),
            ("%2", 0),
            ("%20%zz", 3),
            ("a%+1", 1),
            ("%é", 0),
        ] {
            assert_eq!(decoded(text), Err(NotEncoded { at }), "{text}");
        }
    }
}
