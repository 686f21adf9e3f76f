//! What programs in other languages need, and what is said where it is not there.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use crate::one_process::Line;

/// An example that is ready to be run.
#[derive(Debug)]
pub(crate) struct Example {
    /// The command, to be followed by arguments.
    pub(crate) command: Vec<String>,
    /// The page that says what it prints.
    pub(crate) page: PathBuf,
    /// Its flag for the file that has its position.
    pub(crate) position: &'static str,
    /// Its flag to go on and on.
    pub(crate) follow: &'static str,
}

impl Example {
    /// The command, with these variables set.
    pub(crate) fn line(&self, variables: &[(&str, String)]) -> Line {
        let variables = variables.iter().map(|(name, value)| format!("{name}={value}"));
        Line::new("env").args(variables).args(&self.command)
    }
}

/// Nothing of this can be had here, or what can is broken.
#[derive(Debug)]
pub(crate) enum Missing {
    /// A program or a registry is not there.
    Outside(String),
    /// The example itself cannot be made.
    Broken(String),
}

/// The example, if there is what it needs; says so if not.
///
/// Panics: it is broken, or it is required and there is not what it needs.
pub(crate) fn if_there<'a>(name: &str, made: &'a Result<Example, Missing>) -> Option<&'a Example> {
    let why = match made {
        Ok(example) => return Some(example),
        Err(Missing::Broken(why)) => panic!("{name}: {why}"),
        Err(Missing::Outside(why)) => why,
    };
    assert!(
        env::var_os("ANNALS_EXAMPLES").is_none_or(|value| value != "required"),
        "{name} is required (ANNALS_EXAMPLES), and cannot be run here: {why}"
    );
    // Past the harness, which shows what a test prints only when it fails.
    let told = writeln!(io::stderr(), "\n*** NOT RUN: {name}: {why}\n");
    told.expect("standard error is there");
    None
}

/// Runs a step to its end; all that it printed where it fails.
pub(crate) fn step(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&said))),
    }
}

/// What belongs to an example, from the root of the tree.
pub(crate) fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where what was fetched and made is kept from one run to the next.
pub(crate) fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Copies the files of a folder, and of those in it, whose names end so.
pub(crate) fn copy_files(from: &Path, to: &Path, endings: &[&str]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.is_dir() {
            copy_files(&path, &to.join(name), endings)?;
        } else if path
            .extension()
            .is_some_and(|end| endings.iter().any(|ending| end == *ending))
        {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
