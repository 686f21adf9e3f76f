//! The configuration as a user meets it: files, variables, and what is said about mistakes.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be prepared has failed"
)]

mod acl;
#[path = "../certs/support.rs"]
mod certs;
mod cluster;
mod errors;
mod files;
mod layers;
mod telemetry;
mod tls;

use annals::config::{self, ConfigErrors, Loaded};

/// Loads a text as the file `annals.toml` with these variables; errors name the file without its directory.
fn load(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("annals.toml");
    std::fs::write(&path, text).unwrap();
    config::load(Some(&path), variables(environment))
}

fn variables(environment: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect::<Vec<_>>()
        .into_iter()
}

/// What is printed for a wrong file, with the directory of the test left out.
fn complaint(text: &str, environment: &[(&str, &str)]) -> String {
    let printed = load(text, environment).unwrap_err().to_string();
    printed
        .lines()
        .map(|line| match (line.find("/"), line.find("annals.toml:")) {
            (Some(from), Some(to)) if from < to => format!("{}{}", &line[..from], &line[to..]),
            _ => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}
