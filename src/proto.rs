//! What `build.rs` makes of `proto/`: the public view for clients, and the server's, in which records stay encoded. Without the feature `server`
//! there are no services, and nothing of peers.

#![allow(
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/, where each message is documented"
)]

/// All files of `proto/` that clients use, as an encoded `FileDescriptorSet`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The public view: messages, and the clients of the services.
pub mod log {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/log.v1.rs"));
    }
}

/// The public view: messages, and the clients of the services.
pub mod annals {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/annals.v1.rs"));
    }
}

/// The server's view of the same wire: `RecordSet` (and log.v1's produced `Record`) as raw bytes. Clients of many records have its
/// messages too.
pub mod raw {
    pub mod log {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/raw/log.v1.rs"));
        }
    }
    pub mod annals {
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/raw/annals.v1.rs"));
        }
    }
}

/// What nodes of one cluster say to each other: client and server. Batches of records stay encoded.
#[cfg(feature = "server")]
pub mod peer {
    include!(concat!(env!("OUT_DIR"), "/peer/annals.v1.rs"));
}
