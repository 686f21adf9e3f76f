//! `annals acl check`: may they?

use std::{
    borrow::Cow,
    io::{self, Write},
    path::PathBuf,
};

use clap::Subcommand;
use serde::Serialize;

use crate::{
    acl::{Action, Decision, NamedObject, Wanted, Who},
    config::{self, PolicyFiles},
};

use super::{
    error::CliError,
    output::{Format, write_json},
};

/// Say who may do what, by a policy
#[derive(Debug, Subcommand)]
pub(super) enum AclCommand {
    /// Say whether a subject may do something, and by which line of the policy
    ///
    /// No node is asked: it is the policy in the files. Ends with exit code 0 when it is allowed, 1 when it is denied, and 2 when
    /// the policy or the question is wrong. `annals config check` finds the mistakes of a policy too.
    #[command(after_long_help = "\
Examples:
  annals acl check annals://orders/client/app log produce --config /etc/annals/annals.toml
  annals acl check anonymous server describe --policy policy.csv
  annals acl check annals://orders/client/app cluster admin --policy policy.csv -o json | jq .rule

SUBJECT is what `annals certs list` shows as IDENTITY, another URI or DNS name of a certificate, or
`anonymous`, who comes without one.")]
    Check(CheckArgs),
}

/// Arguments of `annals acl check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Who asks, as in annals://CLUSTER/client/NAME
    subject: String,
    /// What is acted upon: log, cluster, server or cursor/NAME
    object: NamedObject,
    /// What is done to it: produce, consume, describe or admin
    action: Action,
    /// The policy
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    policy: Option<PathBuf>,
    /// The model, where it is not the built-in one
    #[arg(long, value_name = "FILE", requires = "policy")]
    model: Option<PathBuf>,
    /// The configuration that names the policy; without it and --policy, ANNALS__ACL__POLICY does
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// Prints what the policy says.
///
/// Errors: `Denied`, when that is no; the policy or the question is wrong. Blocking: reads files.
pub(super) fn run(command: &AclCommand) -> Result<(), CliError> {
    let AclCommand::Check(args) = command;
    let wanted = Wanted::of(&args.object, args.action).ok_or(CliError::Usage {
        text: "there is no such action on that object",
        hint: "on log there is produce, consume, describe and admin, on cluster describe and admin, on server describe, on cursor/NAME consume",
    })?;
    let who = Who::from_policy(&args.subject);
    if !who.may_be_meant() {
        return Err(CliError::Usage {
            text: "nobody is called that",
            hint: "a subject is what a certificate says, as `annals certs list` shows it; role:NAME is a role, which somebody has",
        });
    }
    let files = files(args)?;
    let acl = files.open().map_err(CliError::Policy)?;
    let decision = acl.decide_on(who, &wanted);
    let verdict = Verdict::new(&args.subject, &wanted, &decision, &files);
    let mut out = io::stdout().lock();
    let written = match args.output {
        Format::Text => verdict.write(&mut out),
        Format::Json => write_json(&mut out, &verdict),
    };
    written.and_then(|()| out.flush()).map_err(CliError::from_write)?;
    if decision.allowed {
        Ok(())
    } else {
        Err(CliError::Denied)
    }
}

fn files(args: &CheckArgs) -> Result<PolicyFiles, CliError> {
    if let Some(policy) = args.policy.clone() {
        return Ok(PolicyFiles {
            policy,
            model: args.model.clone(),
        });
    }
    let loaded =
        config::load(args.config.as_deref(), config::process_environment()).map_err(CliError::Config)?;
    loaded.config.acl.files().ok_or(CliError::Usage {
        text: "there is no policy to ask",
        hint: "name it with --policy, or a configuration that does with --config",
    })
}

/// What the policy says.
#[derive(Serialize)]
struct Verdict<'a> {
    allowed: bool,
    subject: &'a str,
    object: Cow<'static, str>,
    action: &'static str,
    rule: Option<Rule<'a>>,
}

/// The line that says so.
#[derive(Serialize)]
struct Rule<'a> {
    file: String,
    line: usize,
    text: &'a str,
}

impl<'a> Verdict<'a> {
    fn new(subject: &'a str, wanted: &Wanted, decision: &'a Decision, files: &PolicyFiles) -> Self {
        Self {
            allowed: decision.allowed,
            subject,
            object: wanted.object(),
            action: wanted.action().as_str(),
            rule: decision.rule.as_ref().map(|rule| Rule {
                file: files.name(),
                line: rule.line,
                text: &rule.text,
            }),
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Self {
            subject,
            object,
            action,
            ..
        } = self;
        let verdict = if self.allowed { "allowed" } else { "denied" };
        writeln!(out, "{verdict}  {subject} {action} on {object}")?;
        match &self.rule {
            Some(rule) => writeln!(out, "by       {}:{}: {}", rule.file, rule.line, rule.text),
            None if self.allowed => writeln!(out, "by       the model, without any line"),
            None => writeln!(
                out,
                "by       no line; this one would allow it: p, {subject}, {object}, {action}"
            ),
        }
    }
}
