//! From a position in the log to the records a client gets.

pub mod pace;
pub mod portion;

pub mod cursor;
pub mod start;

#[cfg(test)]
mod tests;
