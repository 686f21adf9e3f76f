//! From a client's request to a committed batch, and back.

pub mod check;
pub mod gather;

pub mod answers;
mod in_flight;
pub mod stream;
pub mod unary;

#[cfg(test)]
mod tests;
