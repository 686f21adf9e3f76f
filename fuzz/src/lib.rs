//! What fuzz targets share: a disk in memory, the formats of `docs/format.md` once more, and seeds.
//!
//! The formats are written down here a second time, from the document and not from the code: so targets can put a right
//! checksum over a wrong content, and can say what the code should have found.

pub mod disk;
pub mod format;
pub mod seeds;

pub mod index;
pub mod slots;
pub mod store;
pub mod two_segments;

#[path = "../../tests/support"]
mod support {
    #[allow(dead_code, unused_imports, reason = "tests use more of it")]
    pub(crate) mod sim_fs;
}
