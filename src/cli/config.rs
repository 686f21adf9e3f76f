//! `annals config check|show`: is this configuration right, and what does it come to?

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::config::{self, Loaded, Origin};

/// What to do with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say `ok`, or everything that is wrong with it
    #[command(after_long_help = "\
Examples:
  annals config check --config /etc/annals/annals.toml
  annals config check -o json | jq .warnings")]
    Check {
        /// Which configuration.
        #[command(flatten)]
        source: Source,
        /// Form of the output; what is wrong is always text
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print every option with its value and where that comes from
    #[command(after_long_help = "\
Examples:
  annals config show --config /etc/annals/annals.toml
  annals config show -o json | jq .log.segment_bytes.value")]
    Show {
        /// Which configuration.
        #[command(flatten)]
        source: Source,
        /// Form of the output; text is itself a configuration file.
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

/// Which configuration: a file, or none, and always the variables `ANNALS__SECTION__KEY` of this process.
#[derive(Debug, Args)]
pub struct Source {
    /// The TOML file; without one, defaults and environment variables alone.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// TOML with the origins as comments.
    Text,
    /// One JSON object.
    Json,
}

/// Runs the command, writing to `out`.
///
/// Errors: the configuration is wrong (`ConfigErrors`), or `out` cannot be written.
pub fn run(command: &ConfigCommand, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check {
            source,
            output: Output::Json,
        } => {
            let loaded = load(source.config.as_deref())?;
            let checked = json!({ "ok": true, "file": source.config, "warnings": loaded.warnings });
            writeln!(out, "{checked}")?;
        }
        ConfigCommand::Check {
            source,
            output: Output::Text,
        } => {
            let loaded = load(source.config.as_deref())?;
            match &source.config {
                Some(path) => writeln!(out, "{}: ok", path.display())?,
                None => writeln!(out, "ok (no file: defaults and environment)")?,
            }
            for warning in &loaded.warnings {
                writeln!(out, "warning: {warning}")?;
            }
        }
        ConfigCommand::Show { source, output } => {
            let loaded = load(source.config.as_deref())?;
            match output {
                Output::Text => out.write_all(as_text(&loaded).as_bytes())?,
                Output::Json => writeln!(out, "{}", as_json(&loaded))?,
            }
        }
    }
    Ok(())
}

fn load(file: Option<&Path>) -> Result<Loaded, config::ConfigErrors> {
    config::load(file, config::process_environment())
}

/// A configuration file with the same effect, each line with its origin.
fn as_text(loaded: &Loaded) -> String {
    let lines: Vec<_> = loaded
        .config
        .values()
        .into_iter()
        .map(|(key, value)| (key, format!("{} = {value}", key.name), loaded.origins.of(key)))
        .collect();
    let width = lines
        .iter()
        .map(|(_, line, _)| line.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    let mut section = "";
    for (key, line, origin) in lines {
        if key.section != section {
            text += if section.is_empty() { "" } else { "\n" };
            text += &format!("[{}]\n", key.section);
            section = key.section;
        }
        text += &format!("{line:width$}  # {origin}\n");
    }
    text
}

/// `{section: {key: {value, origin}}}`.
fn as_json(loaded: &Loaded) -> serde_json::Value {
    let mut sections = json!({});
    for (key, value) in loaded.config.values() {
        let origin = match loaded.origins.of(key) {
            Origin::Default => json!({ "kind": "default" }),
            Origin::File { path, line, column } => {
                json!({ "kind": "file", "path": path, "line": line, "column": column })
            }
            Origin::Environment { variable } => json!({ "kind": "environment", "variable": variable }),
        };
        sections[key.section][key.name] = json!({ "value": value, "origin": origin });
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn output_of(command: &ConfigCommand) -> String {
        let mut out = Vec::new();
        run(command, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn show(path: &Path, output: Output) -> String {
        output_of(&ConfigCommand::Show {
            source: Source {
                config: Some(path.to_owned()),
            },
            output,
        })
    }

    fn check(path: &Path, output: Output) -> ConfigCommand {
        let config = Some(path.to_owned());
        ConfigCommand::Check {
            source: Source { config },
            output,
        }
    }

    #[test]
    fn check_says_ok_and_names_the_file() {
        let file = file("[node]\nname = \"a\"\n");
        assert_eq!(
            output_of(&check(file.path(), Output::Text)),
            format!("{}: ok\n", file.path().display())
        );
        let checked: serde_json::Value =
            serde_json::from_str(&output_of(&check(file.path(), Output::Json))).unwrap();
        assert_eq!(
            checked,
            json!({ "ok": true, "file": file.path(), "warnings": [] })
        );
    }

    #[test]
    fn check_of_a_wrong_file_fails_with_its_errors() {
        let file = file("[node]\nnmae = \"a\"\n");
        let command = check(file.path(), Output::Text);
        let error = run(&command, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("did you mean `name`?"), "{error}");
    }

    #[test]
    fn show_prints_a_file_that_has_the_same_effect_and_says_where_each_value_came_from() {
        let first = file("[node]\nname = \"here\"\n[log]\nretention_age = \"30d\"\n");
        let text = show(first.path(), Output::Text);
        assert!(
            text.contains(&format!("# {}:2:8\n", first.path().display())),
            "{text}"
        );
        assert!(text.contains("# default\n"), "{text}");
        let second = file(&text);
        let config = |path| config::load(Some(path), std::iter::empty()).unwrap().config;
        assert_eq!(config(second.path()), config(first.path()));
    }

    #[test]
    fn show_as_json_has_value_and_origin_of_each_option() {
        let file = file("[limits]\nconnections_max = 7\n");
        let shown: serde_json::Value = serde_json::from_str(&show(file.path(), Output::Json)).unwrap();
        assert_eq!(
            shown["limits"]["connections_max"],
            json!({ "value": 7, "origin": { "kind": "file", "path": file.path(), "line": 2, "column": 19 } })
        );
        assert_eq!(
            shown["node"]["name"],
            json!({ "value": "node-0", "origin": { "kind": "default" } })
        );
    }
}
