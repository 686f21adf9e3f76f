//! The program as its users run it: its output to the letter, and whole round trips.

mod support;

mod bench;
mod certs;
mod completions;
mod consume;
mod contact;
mod context;
mod cursors;
mod golden;
mod init;
mod produce;
mod reconnect;
mod storage;
