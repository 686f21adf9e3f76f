//! What a node logs.

#[path = "../../support/log_lines.rs"]
mod log_lines;

pub type Lines = log_lines::LogLines;
