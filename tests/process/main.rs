//! The program as an operating system sees it: real processes that are signalled, killed, started again, and told to
//! write where nobody reads.

mod support;

mod agent;
mod cluster;
mod cursors;
mod dev;
mod examples;
mod gossip_keys;
mod health;
mod hostile;
mod init;
mod kill;
mod limits;
mod other_log;
mod pipes;
mod secrets;
mod stuck;
mod top;
mod wrong_port;
