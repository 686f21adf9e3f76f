//! The `annals` program.

use std::process::ExitCode;

// Client and server move many small buffers between threads, where this allocator beats the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    annals::cli::main()
}
