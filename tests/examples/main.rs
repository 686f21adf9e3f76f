//! The examples, made and run as their pages say, against real nodes.
//!
//! Those in other languages need more than Rust: `python3` or `go`, and the registry of its packages. Where that is not there they are left out, and
//! this says so where nobody overlooks it; with `ANNALS_EXAMPLES=required`, as in CI, it is a failure.

#[path = "../process/support/mod.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "tests of single processes use the rest of it"
)]
mod one_process;

mod go;
mod outside;
mod python;
mod rust;
mod stories;
