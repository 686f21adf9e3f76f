//! Compiles `proto/` without `protoc`.
//!
//! Two views of one schema are made. The public one is for clients. In the server's, every field that holds encoded
//! records is raw `bytes`: a message field and a bytes field have the same wire type, so nothing changes on the wire,
//! and the server takes a producer's bytes through to disk and to consumers without decoding them.
//!
//! What nodes say to each other is compiled apart: clients do not see it, and a node is both its client and its server.

use std::path::PathBuf;

use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

/// (message, field) of the fields that the server keeps encoded.
const RAW_FIELDS: [(&str, &str); 3] = [
    ("ProduceRequest", "records"),
    ("Batch", "records"),
    ("ProduceRequest", "record"),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = protox::compile(
        [
            "log/v1/log.proto",
            "annals/v1/log.proto",
            "annals/v1/cursor.proto",
            "annals/v1/cluster.proto",
        ],
        ["proto"],
    )?;
    std::fs::write(out.join("descriptors.bin"), prost_types_encode(&descriptors))?;

    let raw = with_raw_records(descriptors.clone());
    tonic_prost_build::configure()
        .bytes(".")
        .build_server(false)
        .compile_fds(descriptors)?;
    let raw_out = out.join("raw");
    std::fs::create_dir_all(&raw_out)?;
    // As `cfg!(feature)` in the crate.
    let serves = std::env::var_os("CARGO_FEATURE_SERVER").is_some();
    tonic_prost_build::configure()
        .bytes(".")
        .build_client(false)
        .build_server(serves)
        // What cannot be decoded is the client's fault here.
        .codec_path("crate::net::codec::ServerCodec")
        .out_dir(raw_out)
        .compile_fds(raw)?;

    if !serves {
        return Ok(());
    }
    let peer_out = out.join("peer");
    std::fs::create_dir_all(&peer_out)?;
    tonic_prost_build::configure()
        .bytes(".")
        // For `client::Grpc` a channel of ours takes the place of tonic's.
        .build_transport(false)
        .out_dir(peer_out)
        .compile_fds(protox::compile(["annals/v1/peer.proto"], ["proto"])?)?;
    Ok(())
}

fn with_raw_records(mut descriptors: FileDescriptorSet) -> FileDescriptorSet {
    let messages = descriptors
        .file
        .iter_mut()
        .flat_map(|file| &mut file.message_type);
    for message in messages {
        let message_name = message.name().to_owned();
        for field in &mut message.field {
            if RAW_FIELDS.contains(&(message_name.as_str(), field.name())) {
                field.set_type(Type::Bytes);
                field.type_name = None;
                // A message field knows whether it was sent; its bytes must too, or a missing record and an empty one
                // would look the same.
                field.proto3_optional = Some(true);
            }
        }
    }
    descriptors
}

fn prost_types_encode(descriptors: &FileDescriptorSet) -> Vec<u8> {
    use prost::Message;
    descriptors.encode_to_vec()
}
