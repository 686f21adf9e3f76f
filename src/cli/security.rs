//! How a verb proves who calls, and whom it believes: `--ca`, `--cert` and `--key`.

use std::{borrow::Cow, path::PathBuf};

use crate::{
    client::ClientBuilder,
    tls::{Refusal, TlsFailure},
};

use super::argument::shell_quoted;

/// What the environment says instead of the arguments.
const CA_VARIABLE: &str = "ANNALS_CA";
const CERT_VARIABLE: &str = "ANNALS_CERT";
const KEY_VARIABLE: &str = "ANNALS_KEY";

/// The files of TLS. Given none of them, the node is spoken to without. That none lacks another is seen to where the arguments are read, as each may
/// come from another place (`context/arguments.rs`).
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Security {
    /// Speak TLS, and believe a node that the authorities in this file vouch for (ca.pem of `annals certs`)
    #[arg(long, env = CA_VARIABLE, hide_env_values = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Who you are to the node: a certificate (NAME.pem of `annals certs client NAME`)
    #[arg(long, env = CERT_VARIABLE, hide_env_values = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The private key of that certificate (NAME.key beside it)
    #[arg(long, env = KEY_VARIABLE, hide_env_values = true, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Security {
    /// A client that speaks TLS with these files, where they are given.
    pub(super) fn applied(&self, client: ClientBuilder) -> ClientBuilder {
        let client = match &self.ca {
            Some(ca) => client.tls(ca),
            None => client,
        };
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => client.identity(cert, key),
            _ => client,
        }
    }

    /// These files.
    pub(super) fn of(ca: PathBuf, cert: PathBuf, key: PathBuf) -> Self {
        Self {
            ca: Some(ca),
            cert: Some(cert),
            key: Some(key),
        }
    }

    /// The same again, as a shell takes it; with a space before each.
    pub(super) fn arguments(&self) -> String {
        self.given()
            .map(|(name, _, path)| format!(" --{name} {}", shell_quoted(&path)))
            .collect()
    }

    /// The same again, as the environment has it.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.given()
            .map(|(_, variable, path)| (variable, path.into_owned()))
    }

    /// Argument, variable and path of each.
    fn given(&self) -> impl Iterator<Item = (&'static str, &'static str, Cow<'_, str>)> {
        let all = [
            ("ca", CA_VARIABLE, &self.ca),
            ("cert", CERT_VARIABLE, &self.cert),
            ("key", KEY_VARIABLE, &self.key),
        ];
        all.into_iter()
            .filter_map(|(name, variable, path)| Some((name, variable, path.as_ref()?.to_string_lossy())))
    }
}

/// What to do about a failure of TLS.
pub(super) fn hint(failure: &TlsFailure) -> &'static str {
    match failure {
        TlsFailure::NotTls => {
            "leave out --ca, --cert and --key (and ANNALS_CA, ANNALS_CERT, ANNALS_KEY), or set [tls] in the node's configuration"
        }
        TlsFailure::UnknownAuthority => {
            "give with --ca the certificate of the authority that signed the node's: ca.pem, as its tls.authorities has it"
        }
        TlsFailure::Expired => {
            "renew the node's certificate, where the authority's key is: `annals certs renew`"
        }
        TlsFailure::NotYetValid => "are the clocks of this machine and of the node right?",
        TlsFailure::OtherHost { .. } => {
            "give --addr a name or address that the node's certificate has, or make it one for this: \
             `annals certs node NAME --dns HOST --ip ADDRESS`"
        }
        TlsFailure::OtherUse | TlsFailure::NoCertificate => {
            "is that an Annals node? its certificate is made with `annals certs node NAME`"
        }
        TlsFailure::Refused(Refusal::WantsCertificate) => {
            "show who you are: --cert FILE and --key FILE; `annals certs client NAME` makes them"
        }
        TlsFailure::Refused(Refusal::UnknownAuthority) => {
            "is --cert signed by an authority that the node believes (its tls.authorities)?"
        }
        TlsFailure::Refused(Refusal::Expired) => {
            "renew the certificate of --cert: `annals certs renew`, where the authority's key is"
        }
        TlsFailure::Refused(Refusal::Unwelcome | Refusal::Unusable) => {
            "the node's log says why it refuses the certificate of --cert; `annals certs client NAME` makes one that will do"
        }
        TlsFailure::Unwelcome(_) | TlsFailure::NothingInCommon { .. } => {
            "is that an Annals node, and of this version?"
        }
        TlsFailure::Deadline | TlsFailure::Broken { .. } => {
            "is the node running, and is that its port for clients? its log tells more"
        }
    }
}
