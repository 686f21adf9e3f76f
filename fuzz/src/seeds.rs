//! Inputs to begin with: what the encoders and the golden files give, planted in the corpus before libFuzzer reads it.

use std::{fs, path::Path};

/// The store of `tests/storage/golden`.
pub fn golden_store() -> Vec<u8> {
    unshown(include_str!("../../tests/storage/golden/segment.hex"))
}

/// The index of it.
pub fn golden_index() -> Vec<u8> {
    unshown(include_str!("../../tests/storage/golden/index.hex"))
}

/// Plants seeds in the corpus of a target. One that cannot be planted is no seed, and nothing else.
pub fn plant(target: &str, seeds: impl IntoIterator<Item = Vec<u8>>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let planted = fs::create_dir_all(&directory).and_then(|()| {
        seeds
            .into_iter()
            .enumerate()
            .try_for_each(|(number, seed)| fs::write(directory.join(format!("seed-{number}")), seed))
    });
    if let Err(error) = planted {
        eprintln!("no seeds in {}: {error}", directory.display());
    }
}

/// The bytes that a golden file shows: 16 a line behind their position, `*` for lines of zeros.
fn unshown(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines().filter(|line| *line != "*") {
        let mut words = line.split(' ');
        let position = words.next().map(|word| usize::from_str_radix(word, 16));
        bytes.resize(
            position
                .and_then(Result::ok)
                .expect("a line begins with a position"),
            0,
        );
        bytes.extend(words.map(|word| u8::from_str_radix(word, 16).expect("a byte in hex")));
    }
    bytes
}
