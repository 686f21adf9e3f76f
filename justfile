# `just` without arguments lists what there is. Each recipe is a plain command, so that just itself is a convenience.

_list:
    @just --list

# Reads only: formatting, lints, tests, documentation.
verify:
    .ci/run

# Changes files: formatting, and what clippy can mend by itself.
fix:
    cargo clippy --fix --allow-dirty --allow-staged --all-targets
    cargo fmt

# All tests, or those whose names contain FILTER.
test FILTER="":
    cargo test -- {{ FILTER }}

# The documentation of the code, as a browser shows it.
docs:
    RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --open

# Appends and reads of the log without a network, on the disk that TMPDIR is on.
bench:
    cargo bench --bench storage

# 100 MB of real text through a node that is killed in the middle; see the script for its arguments.
proof-real-input *ARGS:
    .ci/proof-real-input {{ ARGS }}

# A real node whose disk fails a sync; see the script for what it needs.
proof-disk-fault:
    .ci/proof-disk-fault

# Three real nodes, the leader killed again and again: how long until another one leads; see the script for its arguments.
proof-elections:
    .ci/proof-elections

# Silent, slow and lying clients, and readers that never read: good ones hardly notice
proof-hostile:
    .ci/proof-hostile

# Clients of three real nodes that are killed, stopped, frozen and cut off: pauses, and nothing else; see the script for its arguments.
proof-client *ARGS:
    .ci/proof-client {{ ARGS }}

# Any bytes for whatever reads bytes, ten minutes a target; see the script for its arguments.
fuzz *ARGS:
    .ci/fuzz {{ ARGS }}

# A working node with nothing configured.
dev:
    cargo run --release -- dev

# Licences, banned crates, sources and advisories; needs cargo-deny, and the network for advisories.
deny:
    cargo deny check
