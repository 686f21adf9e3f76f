//! The way to a node: `--addr`, and how it is spoken to.

use std::time::Duration;

use crate::client::{Address, Client, IntoAddress};

use super::{addresses::Addresses, argument::shell_quoted, error::CliError, security::Security};

/// For the verbs that have no `--timeout`: much longer than any node takes that is up.
pub(super) const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Which node to talk to.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Target {
    /// The node's address, as host:port; several nodes of a cluster, with commas between them, are tried in turn
    #[arg(
        long,
        env = "ANNALS_ADDR",
        hide_env_values = true,
        default_value = "127.0.0.1:8400",
        value_name = "ADDR"
    )]
    addr: Addresses,
    #[command(flatten)]
    security: Security,
}

impl Target {
    /// A client of those nodes, and of no others: who names a node means that one. Its calls are given up after that time.
    ///
    /// Blocking: reads the files of TLS. Errors: `TlsFiles`.
    pub(super) fn client(&self, within: Duration) -> Result<Client, CliError> {
        client(&self.addr, &self.security, within)
    }

    /// A client of each of those nodes alone, with its address.
    ///
    /// Blocking, Errors: as [`Target::client`].
    pub(super) fn clients(&self, within: Duration) -> Result<Vec<(String, Client)>, CliError> {
        let one = |address: Address| Ok((address.to_string(), self.client_at(address, within)?));
        self.addr.iter().map(one).collect()
    }

    /// A client of the node there alone, spoken to as those are that were named.
    ///
    /// Blocking, Errors: as [`Target::client`]; it is no address.
    pub(super) fn client_at(&self, address: impl IntoAddress, within: Duration) -> Result<Client, CliError> {
        let builder = Client::builder().address(address).only_these_addresses();
        Ok(self.security.applied(builder.within(within)).build()?)
    }

    /// How many nodes it names.
    pub(super) fn count(&self) -> usize {
        self.addr.count()
    }

    /// The same again, as a shell takes it.
    pub(super) fn arguments(&self) -> String {
        let addr = self.addr.to_string();
        format!("--addr {}{}", shell_quoted(&addr), self.security.arguments())
    }
}

/// See [`Target::client`].
pub(super) fn client(addrs: &Addresses, security: &Security, within: Duration) -> Result<Client, CliError> {
    let builder = Client::builder()
        .addresses(addrs.iter())
        .only_these_addresses()
        .within(within);
    Ok(security.applied(builder).build()?)
}
