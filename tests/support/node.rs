//! A real node in a System on a thread of its own, at ports of its own: the kit's.

pub(crate) use annals::testing::{DEADLINE, Place, TestNode, in_time, until};
