//! Defaults, file and environment on top of each other.

use std::time::Duration;

use annals::config::{self, ByteSize, Config, Key, LogFormat, LogLevel, Origin};

use crate::{complaint, load, variables};

const SEGMENT_BYTES: Key = Key {
    section: "log",
    name: "segment_bytes",
};
const BATCH_BYTES_MAX: Key = Key {
    section: "log",
    name: "batch_bytes_max",
};
const NAME: Key = Key {
    section: "node",
    name: "name",
};

#[test]
fn without_a_file_and_variables_everything_is_default() {
    let loaded = config::load(None, std::iter::empty()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(
        Config::KEYS
            .iter()
            .all(|key| *loaded.origins.of(*key) == Origin::Default)
    );
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let text = "[log]\nsegment_bytes = \"128MiB\"\nbatch_bytes_max = \"2MiB\"\n";
    let loaded = load(
        text,
        &[("ANNALS__LOG__SEGMENT_BYTES", "256MiB"), ("HOME", "/root")],
    )
    .unwrap();
    assert_eq!(loaded.config.log.segment_bytes, ByteSize::mib(256));
    assert_eq!(loaded.config.log.batch_bytes_max, ByteSize::mib(2));
    assert_eq!(loaded.config.node, Config::default().node);
    assert_eq!(
        *loaded.origins.of(SEGMENT_BYTES),
        Origin::Environment {
            variable: "ANNALS__LOG__SEGMENT_BYTES".to_owned()
        }
    );
    let Origin::File { line, column, .. } = loaded.origins.of(BATCH_BYTES_MAX) else {
        panic!("batch_bytes_max was set in the file")
    };
    assert_eq!((*line, *column), (3, 19));
    assert_eq!(*loaded.origins.of(NAME), Origin::Default);
}

#[test]
fn every_option_can_be_set_by_its_variable() {
    let values = Config::default().values();
    let environment = values.iter().map(|(key, value)| {
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(values) if values.is_empty() => String::new(),
            other => other.to_string(),
        };
        (config::variable(*key), text)
    });
    let loaded = config::load(None, environment).unwrap();
    assert_eq!(loaded.config, Config::default());
    for key in Config::KEYS {
        assert_eq!(
            *loaded.origins.of(*key),
            Origin::Environment {
                variable: config::variable(*key)
            }
        );
    }
}

#[test]
fn values_of_every_type_are_read_from_file_and_environment() {
    let text = r#"
        [node]
        name = "shard_7.eu-west"
        [listen]
        rpc = "[::1]:0"
        insecure = true
        [log]
        retention_age = "30d"
        open_files_max = 1_000
        [limits]
        request_timeout = "500ms"
        [telemetry]
        log_level = "debug"
        log_format = "json"
    "#;
    let config = load(
        text,
        &[
            ("ANNALS__LIMITS__CONNECTIONS_MAX", "12"),
            ("ANNALS__LISTEN__INSECURE", "false"),
        ],
    )
    .unwrap()
    .config;
    assert_eq!(config.node.name.as_str(), "shard_7.eu-west");
    assert_eq!(config.listen.rpc, "[::1]:0".parse().unwrap());
    assert!(!config.listen.insecure);
    assert_eq!(
        config.log.retention_age,
        Some(Duration::from_secs(30 * 24 * 3600))
    );
    assert_eq!(config.log.retention_bytes, None);
    assert_eq!(config.log.open_files_max, 1000);
    assert_eq!(config.limits.request_timeout, Duration::from_millis(500));
    assert_eq!(config.limits.connections_max, 12);
    assert_eq!(config.telemetry.log_level, LogLevel::Debug);
    assert_eq!(config.telemetry.log_format, LogFormat::Json);
}

#[test]
fn a_wrong_value_in_the_file_is_reported_although_the_environment_overrides_it() {
    let printed = complaint(
        "[log]\nsegment_bytes = 5\n",
        &[("ANNALS__LOG__SEGMENT_BYTES", "64MiB")],
    );
    assert!(
        printed.contains("annals.toml:2:17: log.segment_bytes must be a size"),
        "{printed}"
    );
}

#[test]
fn a_listener_for_everybody_needs_leave_to_be_insecure() {
    let exposed = "[listen]\nrpc = \"0.0.0.0:8400\"\n";
    assert!(load(exposed, &[]).is_err());
    assert!(load(exposed, &[("ANNALS__LISTEN__INSECURE", "true")]).is_ok());
}

#[test]
fn every_form_of_the_loopback_address_needs_no_leave() {
    for address in [
        "127.0.0.1:8400",
        "127.8.8.8:8400",
        "[::1]:8400",
        "[::ffff:127.0.0.1]:8400",
    ] {
        assert!(load("", &[("ANNALS__LISTEN__RPC", address)]).is_ok(), "{address}");
    }
    for address in [
        "0.0.0.0:8400",
        "10.0.0.1:8400",
        "[::]:8400",
        "[::ffff:10.0.0.1]:8400",
    ] {
        assert!(
            load("", &[("ANNALS__LISTEN__RPC", address)]).is_err(),
            "{address}"
        );
        assert!(
            load("", &[("ANNALS__LISTEN__ADMIN", address)]).is_err(),
            "{address}"
        );
    }
}

#[test]
fn a_file_that_does_not_exist_is_named() {
    let error = config::load(Some("/nowhere/annals.toml".as_ref()), variables(&[])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("/nowhere/annals.toml: cannot read the configuration"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_text_is_refused_with_the_place() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"[node]\nname = \"\xff\"\n").unwrap();
    let error = config::load(Some(file.path()), variables(&[])).unwrap_err();
    assert!(
        error.to_string().contains(":2:9: this is not UTF-8 text"),
        "{error}"
    );
}
