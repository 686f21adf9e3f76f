//! Contexts as people read them, and as programs do.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    ContextFailure,
    arguments::choose,
    file::{Context, Contexts, path},
};
use crate::cli::{
    error::CliError,
    output::{Format, write_json, write_table},
};

/// What a context does not say.
const NONE: &str = "-";

/// A context, for programs.
#[derive(Serialize)]
struct JsonContext<'a> {
    name: &'a str,
    addr: &'a str,
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

impl<'a> JsonContext<'a> {
    fn new(name: &'a str, context: &'a Context) -> Self {
        let text = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
        Self {
            name,
            addr: &context.addr,
            ca: text(&context.ca),
            cert: text(&context.cert),
            key: text(&context.key),
        }
    }
}

/// All of them.
pub(super) fn list(format: Format) -> Result<(), CliError> {
    let contexts = Contexts::load(path()?)?;
    let mut out = io::stdout().lock();
    match format {
        Format::Text => write_list(&mut out, &contexts),
        Format::Json => {
            #[derive(Serialize)]
            struct List<'a> {
                file: String,
                current: Option<&'a str>,
                contexts: Vec<JsonContext<'a>>,
            }
            let all = contexts.all.iter();
            write_json(
                &mut out,
                &List {
                    file: contexts.path.display().to_string(),
                    current: contexts.current.as_deref(),
                    contexts: all
                        .map(|(name, context)| JsonContext::new(name, context))
                        .collect(),
                },
            )
        }
    }
    .map_err(CliError::from_write)
}

fn write_list(out: &mut impl Write, contexts: &Contexts) -> io::Result<()> {
    if contexts.all.is_empty() {
        return writeln!(
            out,
            "there is no context yet; `annals context add NAME --addr HOST:PORT` makes one in {}",
            contexts.path.display()
        );
    }
    let rows = contexts.all.iter().map(|(name, context)| {
        let is_current = contexts.current.as_ref() == Some(name);
        [
            if is_current { "*" } else { "" }.to_owned(),
            name.clone(),
            context.addr.clone(),
            context
                .cert
                .as_ref()
                .map_or(NONE.to_owned(), |path| path.display().to_string()),
        ]
    });
    write_table(out, ["", "NAME", "ADDR", "CERT"], &rows.collect::<Vec<_>>())
}

/// One of them.
pub(super) fn show(name: Option<&str>, format: Format) -> Result<(), CliError> {
    let variable = std::env::var("ANNALS_CONTEXT").ok();
    let chosen = choose(name.or(variable.as_deref()), name.is_some())?.ok_or(ContextFailure::NoneInUse)?;
    let context = JsonContext::new(&chosen.name, &chosen.context);
    let mut out = io::stdout().lock();
    let written = match format {
        Format::Json => write_json(&mut out, &context),
        Format::Text => {
            let line = |title: &str, value: Option<&str>| format!("{title:5} {}\n", value.unwrap_or(NONE));
            let lines = [
                line("name", Some(context.name)),
                line("addr", Some(context.addr)),
                line("ca", context.ca.as_deref()),
                line("cert", context.cert.as_deref()),
                line("key", context.key.as_deref()),
                line("file", Some(&path()?.display().to_string())),
            ];
            out.write_all(lines.concat().as_bytes())
        }
    };
    written.map_err(CliError::from_write)
}
