//! The `annals` program.

use std::{ffi::c_long, process::ExitCode};

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

// Client and server move many small buffers between threads, where this allocator beats the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's C header, which the crate leaves out.
const PURGE_DELAY: mi_option_t = 15;
/// Memory that was freed goes back to the system when it was not used again for so many milliseconds; mimalloc's own 10 are less than a stall
/// of the disk, and then every buffer of a busy log costs page faults (docs/performance.md).
const KEEP_FREED_MS: c_long = 1000;

/// The environment (`MIMALLOC_PURGE_DELAY`) goes before this.
fn keep_freed_memory_for_a_while() {
    #[expect(unsafe_code, reason = "a call into C; it takes two numbers and sets one")]
    unsafe {
        mi_option_set_default(PURGE_DELAY, KEEP_FREED_MS);
    }
}

fn main() -> ExitCode {
    keep_freed_memory_for_a_while();
    annals::cli::main()
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[test]
    fn the_number_is_that_of_the_delay() {
        #[expect(unsafe_code, reason = "a call into C, which only reads")]
        let get = || unsafe { mi_option_get(PURGE_DELAY) };
        // The options beside it are 0 or have other defaults.
        assert_eq!(get(), 10, "mimalloc's default");
        keep_freed_memory_for_a_while();
        assert_eq!(get(), KEEP_FREED_MS);
    }
}
