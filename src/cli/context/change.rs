//! Contexts made, chosen and forgotten.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    client::{Error, ErrorKind},
    tls::{ClientFiles, ClientTls},
    types::is_name,
};

use super::{
    ContextFailure,
    file::{Context, Contexts, path},
};
use crate::cli::{addresses::Addresses, error::CliError};

/// Arguments of `annals context add`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AddArgs {
    /// What to call it
    name: String,
    /// The node's address, as host:port; several nodes of a cluster with commas between them
    #[arg(id = "new_addr", long = "addr", value_name = "ADDR")]
    addr: Addresses,
    /// Speak TLS, and believe a node that the authorities in this file vouch for
    #[arg(id = "new_ca", long = "ca", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Who you are to the node: a certificate
    #[arg(id = "new_cert", long = "cert", value_name = "FILE", requires_all = ["new_ca", "new_key"])]
    cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(id = "new_key", long = "key", value_name = "FILE", requires_all = ["new_ca", "new_cert"])]
    key: Option<PathBuf>,
    /// Make it the current one
    #[arg(id = "make_current", long = "use")]
    make_current: bool,
    /// Put it in the place of one of that name
    #[arg(long)]
    replace: bool,
}

/// Arguments of `annals context use`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct UseArgs {
    /// Which
    #[arg(required_unless_present = "none")]
    name: Option<String>,
    /// Have no current one
    #[arg(long, conflicts_with = "name")]
    none: bool,
}

fn say(text: &str) -> Result<(), CliError> {
    writeln!(io::stdout().lock(), "{text}").map_err(CliError::from_write)
}

pub(super) fn add(args: &AddArgs) -> Result<(), CliError> {
    let name = args.name.clone();
    if !is_name(&name) {
        return Err(ContextFailure::Name { name }.into());
    }
    if let Some(ca) = &args.ca {
        ClientTls::open(&ClientFiles {
            authorities: ca.clone(),
            own: args.cert.clone().zip(args.key.clone()),
        })
        .map_err(|error| Error::new(ErrorKind::TlsFiles(error)))?;
    }
    let context = Context {
        addr: args.addr.to_string(),
        ca: absolute(args.ca.as_deref())?,
        cert: absolute(args.cert.as_deref())?,
        key: absolute(args.key.as_deref())?,
    };
    let contexts = Contexts::change(path()?, |contexts| {
        if contexts.all.contains_key(&name) && !args.replace {
            return Err(ContextFailure::Exists {
                name: name.clone(),
                path: contexts.path.clone(),
            });
        }
        let is_first = contexts.all.is_empty();
        contexts.all.insert(name.clone(), context.clone());
        if is_first || args.make_current {
            contexts.current = Some(name.clone());
        }
        Ok(())
    })?;
    let current = contexts.current.as_ref() == Some(&name);
    let used = if current { "; it is the current one" } else { "" };
    say(&format!(
        "context {name:?} is in {}{used}",
        contexts.path.display()
    ))
}

/// The file wherever the next command runs.
fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>, ContextFailure> {
    path.map(|path| std::path::absolute(path).map_err(ContextFailure::io("find", path)))
        .transpose()
}

pub(super) fn make_current(args: &UseArgs) -> Result<(), CliError> {
    Contexts::change(path()?, |contexts| {
        if let Some(name) = &args.name {
            contexts.get(name, "the command line")?;
        }
        contexts.current.clone_from(&args.name);
        Ok(())
    })?;
    match &args.name {
        None => say("no context is the current one"),
        Some(name) => say(&format!("context {name:?} is the current one")),
    }
}

pub(super) fn remove(name: &str) -> Result<(), CliError> {
    let mut was_current = false;
    Contexts::change(path()?, |contexts| {
        contexts.get(name, "the command line")?;
        contexts.all.remove(name);
        was_current = contexts.current.take_if(|current| current == name).is_some();
        Ok(())
    })?;
    let now = if was_current {
        "; none is the current one now"
    } else {
        ""
    };
    say(&format!("context {name:?} is forgotten{now}"))
}
