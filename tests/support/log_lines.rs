//! What a node logs, for tests to look at: the kit's.

pub(crate) use annals::testing::LogLines;
