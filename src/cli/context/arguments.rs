//! From the command line, the environment and the contexts to what a verb is given, and where each value came from.
//!
//! Verbs know nothing of contexts: what the one in use says is put in the place of the defaults of --addr, --ca, --cert and
//! --key. So precedence is that of arguments (ADR 0020): an argument, then `--context`, then the environment, then the
//! context that is in use otherwise, then the default.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, error::ErrorKind, parser::ValueSource};

use super::{
    super::addresses::Addresses,
    ContextFailure,
    file::{Context, Contexts, path},
    origin::{Origin, Origins},
};

/// What names a context instead of --context.
const VARIABLE: &str = "ANNALS_CONTEXT";
const CONTEXT: &str = "context";
const ADDR: &str = "addr";
const CA: &str = "ca";
/// They belong together: both come from the context, or none does.
const PAIR: [&str; 2] = ["cert", "key"];
const TLS: [&str; 3] = [CA, PAIR[0], PAIR[1]];

/// The arguments of this process cannot be used.
#[derive(Debug)]
pub(in crate::cli) enum Unparsed {
    /// They are wrong, or help is wanted.
    Arguments(Box<clap::Error>),
    /// They may be right, and a context is wrong.
    Context(ContextFailure),
}

impl From<clap::Error> for Unparsed {
    fn from(error: clap::Error) -> Self {
        Self::Arguments(Box::new(error))
    }
}

/// A context, and who chose it.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) context: Context,
    pub(super) origin: Origin,
    is_argument: bool,
}

/// The command line with `--context` in each verb that talks to a node.
pub(in crate::cli) fn command<C: CommandFactory>() -> Command {
    with_context(C::command())
}

/// What the arguments come to.
///
/// Blocking: reads the file of contexts, where a verb may need it.
pub(in crate::cli) fn parse<C: CommandFactory + FromArgMatches>(
    arguments: Vec<OsString>,
) -> Result<(C, Origins), Unparsed> {
    let command = command::<C>();
    let matches = command.clone().try_get_matches_from(arguments.clone())?;
    let Some(given) = leaf(&command, &matches)
        .filter(|(verb, _)| talks_to_a_node(verb))
        .map(|(_, given)| given)
    else {
        return Ok((C::from_arg_matches(&matches)?, Origins::default()));
    };
    let named = given.get_one::<String>(CONTEXT).map(String::as_str);
    let is_argument = given.value_source(CONTEXT) == Some(ValueSource::CommandLine);
    let failed = |failure| {
        Unparsed::Context(match failure {
            ContextFailure::Wrong { .. } | ContextFailure::Io { .. } => {
                ContextFailure::ForVerb(Box::new(failure))
            }
            other => other,
        })
    };
    let chosen = match needs_context(given, is_argument) {
        true => choose(named, is_argument).map_err(failed)?,
        false => None,
    };
    let matches = match &chosen {
        Some(chosen) => fill(command.clone(), chosen, given).try_get_matches_from(arguments)?,
        None => matches,
    };
    let origins = match leaf(&command, &matches) {
        Some((_, given)) => origins(given, chosen.as_ref()),
        None => Origins::default(),
    };
    if let Some(missing) = origins.missing_file() {
        return Err(told_with_usage(command, &matches, &missing).into());
    }
    Ok((C::from_arg_matches(&matches)?, origins))
}

/// As the arguments' own mistakes are told.
fn told_with_usage(mut command: Command, matches: &ArgMatches, text: &str) -> clap::Error {
    // So that the usage names the verb in full.
    command.build();
    let verb = leaf(&command, matches).map_or_else(|| command.clone(), |(verb, _)| verb.clone());
    verb.clone().error(ErrorKind::MissingRequiredArgument, text)
}

/// The context that is used: that name, or, without one, the current one.
pub(super) fn choose(named: Option<&str>, is_argument: bool) -> Result<Option<Chosen>, ContextFailure> {
    // An empty name is none, so that one command can do without the current context.
    if named == Some("") {
        return Ok(None);
    }
    let path = match (path(), named) {
        (Ok(path), _) => path,
        // A process without a home has no contexts.
        (Err(ContextFailure::NoPlace), None) => return Ok(None),
        (Err(error), _) => return Err(error),
    };
    let contexts = Contexts::load(path)?;
    let who = if is_argument { "the command line" } else { VARIABLE };
    let Some(name) = named.map(str::to_owned).or_else(|| contexts.current.clone()) else {
        return Ok(None);
    };
    let context = contexts.get(&name, who)?.clone();
    let origin = Origin::Context {
        name: name.clone(),
        path: contexts.path,
    };
    Ok(Some(Chosen {
        name,
        context,
        origin,
        is_argument,
    }))
}

fn talks_to_a_node(verb: &Command) -> bool {
    let has = |id: &str| verb.get_arguments().any(|argument| argument.get_id() == id);
    has(ADDR) && TLS.into_iter().all(has)
}

fn with_context(command: Command) -> Command {
    let command = if talks_to_a_node(&command) {
        let beside = command
            .get_arguments()
            .position(|argument| argument.get_id() == ADDR);
        let command = without_empty_variables(command);
        let context = Arg::new(CONTEXT)
            .long(CONTEXT)
            .value_name("NAME")
            .env(VARIABLE)
            .hide_env_values(true)
            .display_order(beside.unwrap_or_default())
            .help("Take the address and the certificates of that context (`annals context list`); '' takes none");
        command.arg(context)
    } else {
        command
    };
    command.mut_subcommands(with_context)
}

/// A variable that is empty says nothing, as one that is not set.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |argument: &&Arg| {
        let value = argument.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    let ids: Vec<_> = command
        .get_arguments()
        .filter(is_empty)
        .map(|argument| argument.get_id().clone())
        .collect();
    // No variable has an empty name. The others are left alone: what is changed moves to the end of the help.
    ids.into_iter().fold(command, |command, id| {
        command.mut_arg(id, |argument| argument.env("").hide_env(true))
    })
}

/// The verb that is meant, and what it is given.
fn leaf<'a>(command: &'a Command, matches: &'a ArgMatches) -> Option<(&'a Command, &'a ArgMatches)> {
    let (mut verb, mut given) = (command, matches);
    while let Some((name, below)) = given.subcommand() {
        verb = verb.find_subcommand(name)?;
        given = below;
    }
    Some((verb, given))
}

/// Whether one of them is given, by an argument or, where that counts, by the environment.
fn is_given(given: &ArgMatches, ids: &[&str], only_arguments: bool) -> bool {
    ids.iter().any(|id| match given.value_source(id) {
        Some(ValueSource::CommandLine) => true,
        Some(ValueSource::EnvVariable) => !only_arguments,
        _ => false,
    })
}

/// Whether a context could say anything that is not said already.
fn needs_context(given: &ArgMatches, is_argument: bool) -> bool {
    !(is_given(given, &[ADDR], is_argument) && is_given(given, &[CA], is_argument))
}

/// The same command line, where the context says what is not given.
fn fill(command: Command, chosen: &Chosen, given: &ArgMatches) -> Command {
    let context = &chosen.context;
    let is_given = |ids: &[&str]| is_given(given, ids, chosen.is_argument);
    // Who says whom to believe, or who calls, means that; the context's own certificate is for its authorities alone.
    let (wants_ca, wants_pair) = (!is_given(&[CA]), !is_given(&TLS));
    let path = |path: &Option<PathBuf>, is_wanted| path.clone().map(OsString::from).filter(|_| is_wanted);
    let values = [
        (ADDR, Some(OsString::from(&context.addr))),
        (CA, path(&context.ca, wants_ca)),
        (PAIR[0], path(&context.cert, wants_pair)),
        (PAIR[1], path(&context.key, wants_pair)),
    ];
    fill_all(command, &values, chosen.is_argument)
}

fn fill_all(
    mut command: Command,
    values: &[(&'static str, Option<OsString>); 4],
    is_argument: bool,
) -> Command {
    if talks_to_a_node(&command) {
        for (id, value) in values {
            let Some(value) = value.clone() else {
                continue;
            };
            command = command.mut_arg(id, |argument| {
                let argument = argument.default_value(clap::builder::OsStr::from(value));
                // No variable has an empty name: who names a context on the command line means that, whatever the environment says.
                if is_argument { argument.env("") } else { argument }
            });
        }
    }
    command.mut_subcommands(|below| fill_all(below, values, is_argument))
}

fn origins(given: &ArgMatches, chosen: Option<&Chosen>) -> Origins {
    let of = |id: &str, variable| match (given.value_source(id), chosen) {
        (Some(ValueSource::CommandLine), _) => Some(Origin::Argument),
        (Some(ValueSource::EnvVariable), _) => Some(Origin::Variable(variable)),
        (Some(_), Some(chosen)) => Some(chosen.origin.clone()),
        (Some(_), None) => Some(Origin::Default),
        (None, _) => None,
    };
    Origins {
        address: of(ADDR, "ANNALS_ADDR"),
        addresses: given
            .get_one::<Addresses>(ADDR)
            .map(|all| all.iter().map(|address| address.to_string()).collect())
            .unwrap_or_default(),
        files: [
            (CA, "ANNALS_CA"),
            (PAIR[0], "ANNALS_CERT"),
            (PAIR[1], "ANNALS_KEY"),
        ]
        .into_iter()
        .filter_map(|(id, variable)| Some((id, of(id, variable)?)))
        .collect(),
    }
}
