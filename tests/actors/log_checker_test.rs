//! The checker of histories finds nothing wrong with a good one, and the breach in each bad one.

mod batches;
mod mutations;
mod nodes;
mod order;
mod reads;
mod script;
mod values;
mod verdicts;
