//! What must hold between options: each value may be right by itself and the whole still be impossible.

use std::net::SocketAddr;

use super::{
    error::Problem,
    layers::{Layers, bare},
    options::{Config, Key},
    origin::Origin,
    units::ByteSize,
    value::Value,
};

/// Segments hold at least this many batches of the largest size: with fewer, most of a segment could be the unused
/// rest that the next batch did not fit into.
const BATCHES_IN_SEGMENT_MIN: u32 = 4;

const LISTEN_RPC: Key = Key {
    section: "listen",
    name: "rpc",
};
const LISTEN_ADMIN: Key = Key {
    section: "listen",
    name: "admin",
};
const LISTEN_INSECURE: Key = Key {
    section: "listen",
    name: "insecure",
};
const SEGMENT_BYTES: Key = Key {
    section: "log",
    name: "segment_bytes",
};
const SEGMENT_AGE: Key = Key {
    section: "log",
    name: "segment_age",
};
const BATCH_BYTES_MAX: Key = Key {
    section: "log",
    name: "batch_bytes_max",
};
const TAIL_CACHE_BYTES: Key = Key {
    section: "log",
    name: "tail_cache_bytes",
};
const RETENTION_BYTES: Key = Key {
    section: "log",
    name: "retention_bytes",
};
const RETENTION_AGE: Key = Key {
    section: "log",
    name: "retention_age",
};
const ADMISSION_BYTES: Key = Key {
    section: "limits",
    name: "admission_bytes",
};
const STREAM_INFLIGHT_BYTES: Key = Key {
    section: "limits",
    name: "stream_inflight_bytes",
};
const KEEPALIVE_INTERVAL: Key = Key {
    section: "limits",
    name: "keepalive_interval",
};
const KEEPALIVE_TIMEOUT: Key = Key {
    section: "limits",
    name: "keepalive_timeout",
};

/// Notes every contradiction in `layers`.
pub(super) fn check(config: &Config, layers: &mut Layers<'_>) {
    let (log, limits) = (&config.log, &config.limits);
    let batch = (BATCH_BYTES_MAX, log.batch_bytes_max);
    let needed = batch.1.bytes().saturating_mul(u64::from(BATCHES_IN_SEGMENT_MIN));
    at_least_times(
        layers,
        (SEGMENT_BYTES, log.segment_bytes),
        BATCHES_IN_SEGMENT_MIN,
        batch,
        ByteSize::from_bytes(needed),
    );
    at_least(layers, (TAIL_CACHE_BYTES, log.tail_cache_bytes), batch);
    at_least(
        layers,
        (STREAM_INFLIGHT_BYTES, limits.stream_inflight_bytes),
        batch,
    );
    at_least(
        layers,
        (ADMISSION_BYTES, limits.admission_bytes),
        (STREAM_INFLIGHT_BYTES, limits.stream_inflight_bytes),
    );
    at_least(
        layers,
        (KEEPALIVE_INTERVAL, limits.keepalive_interval),
        (KEEPALIVE_TIMEOUT, limits.keepalive_timeout),
    );
    // Only whole sealed segments are dropped, so a bound below one segment could not be kept.
    if let Some(bytes) = log.retention_bytes {
        at_least(
            layers,
            (RETENTION_BYTES, bytes),
            (SEGMENT_BYTES, log.segment_bytes),
        );
    }
    if let Some(age) = log.retention_age {
        at_least(layers, (RETENTION_AGE, age), (SEGMENT_AGE, log.segment_age));
    }
    check_listeners(config, layers);
}

fn check_listeners(config: &Config, layers: &mut Layers<'_>) {
    let listen = &config.listen;
    if !listen.insecure && !layers.is_faulty(LISTEN_INSECURE) {
        exposed(layers, LISTEN_RPC, listen.rpc);
        exposed(layers, LISTEN_ADMIN, listen.admin);
    }
    // Port 0 asks the system for a free port, which is another one each time.
    if listen.rpc == listen.admin
        && listen.rpc.port() != 0
        && !layers.is_faulty(LISTEN_RPC)
        && !layers.is_faulty(LISTEN_ADMIN)
    {
        let problem = Problem::SameAddress {
            first: LISTEN_RPC,
            second: LISTEN_ADMIN,
            address: listen.rpc.to_string(),
        };
        blame(
            layers,
            &[
                (LISTEN_ADMIN, bare(&listen.admin)),
                (LISTEN_RPC, bare(&listen.rpc)),
            ],
            problem,
            || format!("give {LISTEN_ADMIN} a port of its own"),
        );
    }
}

fn exposed(layers: &mut Layers<'_>, key: Key, address: SocketAddr) {
    if layers.is_faulty(key) || address.ip().to_canonical().is_loopback() {
        return;
    }
    let problem = Problem::Exposed {
        key,
        address: address.to_string(),
        permission: LISTEN_INSECURE,
    };
    let loopback = if address.is_ipv4() { "127.0.0.1" } else { "[::1]" };
    blame(
        layers,
        &[(key, bare(&address)), (LISTEN_INSECURE, bare(&false))],
        problem,
        || {
            format!(
                "listen on {loopback}:{}, or set {LISTEN_INSECURE} = true if only trusted machines can reach it",
                address.port()
            )
        },
    );
}

/// Notes a contradiction when `larger` is below `smaller`.
fn at_least<V: Value + PartialOrd + Copy>(layers: &mut Layers<'_>, larger: (Key, V), smaller: (Key, V)) {
    at_least_times(layers, larger, 1, smaller, smaller.1);
}

/// Notes a contradiction when `larger` is below `needed`, which is `factor` times `smaller`.
fn at_least_times<V: Value + PartialOrd + Copy>(
    layers: &mut Layers<'_>,
    larger: (Key, V),
    factor: u32,
    smaller: (Key, V),
    needed: V,
) {
    if larger.1 >= needed || layers.is_faulty(larger.0) || layers.is_faulty(smaller.0) {
        return;
    }
    let (value, other) = (bare(&larger.1), bare(&smaller.1));
    let problem = Problem::TooSmall {
        larger: larger.0,
        value: value.clone(),
        factor,
        smaller: smaller.0,
        other: other.clone(),
    };
    blame(layers, &[(larger.0, value), (smaller.0, other)], problem, || {
        format!(
            "raise {} to at least {}, or lower {}",
            larger.0,
            bare(&needed),
            smaller.0
        )
    });
}

/// Notes a contradiction at the first of these options that somebody set, and where the value of each comes from.
fn blame(layers: &mut Layers<'_>, keys: &[(Key, String)], problem: Problem, help: impl FnOnce() -> String) {
    let set = |key: &&(Key, String)| *layers.origin(key.0) != Origin::Default;
    let Some((place, _)) = keys.iter().find(set).or(keys.first()) else {
        return;
    };
    let notes = keys
        .iter()
        .map(|(key, value)| match layers.origin(*key) {
            Origin::Default => format!("{key} is {value} by default"),
            origin @ (Origin::File { .. } | Origin::Environment { .. }) => {
                format!("{key} is {value} by {origin}")
            }
        })
        .collect();
    layers.report(*place, problem, notes, help());
}
