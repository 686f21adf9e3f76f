//! What must hold between options: each value may be right by itself and the whole still be impossible.

use std::net::SocketAddr;

use super::{
    acl_checks, cluster_checks,
    error::Problem,
    layers::{Layers, bare},
    options::{Config, Key, keys},
    origin::Origin,
    tls_checks,
    units::ByteSize,
    value::Value,
};

/// Segments hold at least this many batches of the largest size: with fewer, most of a segment could be the unused
/// rest that the next batch did not fit into.
const BATCHES_IN_SEGMENT_MIN: u32 = 4;

/// Notes every contradiction in `layers`.
pub(super) fn check(config: &Config, layers: &mut Layers<'_>) {
    let (log, limits) = (&config.log, &config.limits);
    let batch = (keys::log::batch_bytes_max, log.batch_bytes_max);
    let needed = batch.1.bytes().saturating_mul(u64::from(BATCHES_IN_SEGMENT_MIN));
    at_least_times(
        layers,
        (keys::log::segment_bytes, log.segment_bytes),
        BATCHES_IN_SEGMENT_MIN,
        batch,
        ByteSize::from_bytes(needed),
    );
    at_least(layers, (keys::log::tail_cache_bytes, log.tail_cache_bytes), batch);
    at_least(
        layers,
        (keys::limits::stream_inflight_bytes, limits.stream_inflight_bytes),
        batch,
    );
    at_least(
        layers,
        (keys::limits::admission_bytes, limits.admission_bytes),
        (keys::limits::stream_inflight_bytes, limits.stream_inflight_bytes),
    );
    at_least(
        layers,
        (keys::limits::keepalive_interval, limits.keepalive_interval),
        (keys::limits::keepalive_timeout, limits.keepalive_timeout),
    );
    // Only whole sealed segments are dropped, so a bound below one segment could not be kept.
    if let Some(bytes) = log.retention_bytes {
        at_least(
            layers,
            (keys::log::retention_bytes, bytes),
            (keys::log::segment_bytes, log.segment_bytes),
        );
    }
    if let Some(age) = log.retention_age {
        at_least(
            layers,
            (keys::log::retention_age, age),
            (keys::log::segment_age, log.segment_age),
        );
    }
    check_listeners(config, layers);
    cluster_checks::check(config, layers);
    tls_checks::check(config, layers);
    acl_checks::check(config, layers);
}

fn check_listeners(config: &Config, layers: &mut Layers<'_>) {
    let listen = &config.listen;
    if !listen.insecure && !layers.is_faulty(keys::listen::insecure) {
        if config.tls.files().is_none() {
            exposed(
                layers,
                keys::listen::rpc,
                listen.rpc,
                Some(keys::tls::certificate),
            );
        }
        exposed(layers, keys::listen::admin, listen.admin, None);
    }
    same_address(
        layers,
        (keys::listen::rpc, listen.rpc),
        (keys::listen::admin, listen.admin),
    );
}

/// Notes two listeners at one address.
pub(super) fn same_address(layers: &mut Layers<'_>, first: (Key, SocketAddr), second: (Key, SocketAddr)) {
    // Port 0 asks the system for a free port, which is another one each time.
    if first.1 != second.1 || first.1.port() == 0 || layers.is_faulty(first.0) || layers.is_faulty(second.0) {
        return;
    }
    let problem = Problem::SameAddress {
        first: first.0,
        second: second.0,
        address: first.1.to_string(),
    };
    blame(
        layers,
        &[(second.0, bare(&second.1)), (first.0, bare(&first.1))],
        problem,
        || format!("give {} a port of its own", second.0),
    );
}

/// Notes an address that others can reach although nothing is encrypted; `key_option` would encrypt it.
pub(super) fn exposed(layers: &mut Layers<'_>, key: Key, address: SocketAddr, key_option: Option<Key>) {
    if layers.is_faulty(key) || address.ip().to_canonical().is_loopback() {
        return;
    }
    let problem = Problem::Exposed {
        key,
        address: address.to_string(),
        permission: keys::listen::insecure,
    };
    let loopback = if address.is_ipv4() { "127.0.0.1" } else { "[::1]" };
    let encrypt = key_option.map_or_else(String::new, |option| format!(" set {option},"));
    blame(
        layers,
        &[(key, bare(&address)), (keys::listen::insecure, bare(&false))],
        problem,
        || {
            format!(
                "listen on {loopback}:{},{encrypt} or set {} = true if only trusted machines can reach it",
                address.port(),
                keys::listen::insecure
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
pub(super) fn blame(
    layers: &mut Layers<'_>,
    keys: &[(Key, String)],
    problem: Problem,
    help: impl FnOnce() -> String,
) {
    let set = |key: &&(Key, String)| *layers.origin(key.0) != Origin::Default;
    if let Some((place, _)) = keys.iter().find(set).or(keys.first()) {
        blame_at(layers, *place, keys, problem, help);
    }
}

/// The same at one of them, where it is that one which is to be mended, set or not.
pub(super) fn blame_at(
    layers: &mut Layers<'_>,
    place: Key,
    keys: &[(Key, String)],
    problem: Problem,
    help: impl FnOnce() -> String,
) {
    let notes = keys
        .iter()
        .map(|(key, value)| match layers.origin(*key) {
            Origin::Default => format!("{key} is {value} by default"),
            origin @ (Origin::File { .. } | Origin::Environment { .. }) => {
                format!("{key} is {value} by {origin}")
            }
        })
        .collect();
    layers.report(place, problem, notes, help());
}
