//! Bytes that must not be seen, in every dress that something careless could put them in.

use base64::{Engine, alphabet, engine::GeneralPurpose, engine::general_purpose::NO_PAD};

/// Bytes, and what they would look like in a text.
pub struct Mark {
    name: String,
    dresses: Vec<(&'static str, String)>,
}

impl Mark {
    /// Of at least some bytes, so that nothing else looks like them by chance.
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        assert!(
            bytes.len() >= 12,
            "{name} is too short to be told from other things"
        );
        let joined = |between: &str, one: &dyn Fn(&u8) -> String| {
            bytes.iter().map(one).collect::<Vec<_>>().join(between)
        };
        let mut dresses = vec![
            ("hex", joined("", &|byte| format!("{byte:02x}"))),
            ("HEX", joined("", &|byte| format!("{byte:02X}"))),
            ("hex with spaces", joined(" ", &|byte| format!("{byte:02x}"))),
            ("Debug of bytes", joined(", ", &|byte| byte.to_string())),
            (
                "pretty Debug of bytes",
                joined(",\\n        ", &|byte| byte.to_string()),
            ),
            ("numbers", joined(",", &|byte| byte.to_string())),
            ("escaped", bytes.escape_ascii().to_string()),
        ];
        if let Ok(text) = std::str::from_utf8(bytes) {
            dresses.push(("raw", text.to_owned()));
        }
        for alphabet in [alphabet::STANDARD, alphabet::URL_SAFE] {
            let engine = GeneralPurpose::new(&alphabet, NO_PAD);
            for before in 0..3 {
                let text = engine.encode([&vec![0; before], bytes].concat());
                // Letters at the ends depend on what stands beside.
                let (first, last) = ((before * 8).div_ceil(6), text.len() - 1);
                dresses.push(("base64", text[first..last].to_owned()));
            }
        }
        Self {
            name: name.to_owned(),
            dresses,
        }
    }

    /// Where a text shows it, and how; nothing when it does not.
    pub fn seen_in<'a>(&'a self, text: &'a str) -> impl Iterator<Item = String> + 'a {
        let found = self
            .dresses
            .iter()
            .filter_map(|(dress, look)| Some((dress, text.find(look)?)));
        found.map(|(dress, at)| {
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let line = text[line..].lines().next().unwrap_or_default();
            let line: String = line.chars().take(500).collect();
            format!("{}, as {dress}: {line}", self.name)
        })
    }
}

#[test]
fn a_mark_is_seen_in_each_dress() {
    let bytes = b"Kq7-secret-\xffW9x";
    let mark = Mark::new("it", bytes);
    let base64 =
        |engine: &GeneralPurpose, before: &str| engine.encode([before.as_bytes(), bytes, b"behind"].concat());
    let standard = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD);
    let url = GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD);
    for text in [
        format!("{:?}", bytes.to_vec()),
        format!("{bytes:x?}").replace(", ", ""),
        format!("{:?}", bytes::Bytes::from_static(bytes)),
        base64(&standard, ""),
        base64(&standard, "1"),
        base64(&url, "12"),
        base64(&url, "123"),
    ] {
        assert!(
            mark.seen_in(&format!("before\n{text}")).next().is_some(),
            "{text}"
        );
    }
    assert!(mark.seen_in("Kq7-secret").next().is_none());
    let text = Mark::new("it", b"plain-as-it-is");
    assert!(text.seen_in("say plain-as-it-is").next().is_some());
}
