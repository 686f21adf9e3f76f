//! What is said about mistakes: each has its place, its line and its remedy, and all come at once.

use annals::{config, error::Disposition};

use crate::{complaint, load, variables};

#[test]
fn all_mistakes_of_a_file_are_reported_at_once_in_its_order() {
    assert_eq!(
        complaint(include_str!("wrong.toml"), &[]),
        include_str!("wrong.txt").trim_end()
    );
}

#[test]
fn values_without_quotes_are_reported_together_and_nothing_is_concluded_from_them() {
    let text = "[log]\nsegmnet_age=7d\nbatch_bytes_max = 8 MiB\nsegment_bytes = \"2MiB\"\n";
    let expected = "\
the configuration has 3 errors

annals.toml:2:1: unknown key `segmnet_age` in [log]
  |
2 | segmnet_age=7d
  | ^^^^^^^^^^^
help: did you mean `segment_age`?

annals.toml:2:13: not TOML: string values must be quoted, expected literal string
  |
2 | segmnet_age=7d
  |             ^^
help: sizes, lengths of time and texts stand in quotes, as in segmnet_age = \"7d\"

annals.toml:3:19: not TOML: string values must be quoted, expected literal string
  |
3 | batch_bytes_max = 8 MiB
  |                   ^^^^^
help: sizes, lengths of time and texts stand in quotes, as in batch_bytes_max = \"8MiB\"";
    assert_eq!(complaint(text, &[]), expected);
}

#[test]
fn a_broken_header_is_reported_once_and_not_again_for_each_key_below_it() {
    for header in ["[log", "[lo g]", "[]"] {
        let printed = complaint(&format!("{header}\nsegment_bytes = \"64MiB\"\n"), &[]);
        assert!(
            printed.starts_with("the configuration has 1 error\n"),
            "{printed}"
        );
        assert!(printed.contains("annals.toml:1:"), "{printed}");
    }
}

#[test]
fn a_key_that_the_parser_had_to_make_up_is_not_called_unknown() {
    let printed = complaint("[log]\n= 3\n", &[]);
    assert!(
        printed.starts_with("the configuration has 1 error\n"),
        "{printed}"
    );
    assert!(printed.contains("annals.toml:2:1: not TOML"), "{printed}");
}

#[test]
fn mistakes_in_file_and_environment_are_reported_together() {
    let environment = [
        ("ANNALS__LOG__SEGMENT_BYTE", "64MiB"),
        ("ANNALS__LIMITS__CONNECTIONS_MAX", "many"),
        ("ANNALS__COLOUR__OF__SKY", "blue"),
    ];
    let expected = "\
the configuration has 4 errors

annals.toml:2:1: unknown key `nmae` in [node]
  |
2 | nmae = \"a\"
  | ^^^^
help: did you mean `name`?

ANNALS__COLOUR__OF__SKY: no option belongs to this variable
help: variables are named ANNALS__SECTION__KEY; `annals config show` lists every option

ANNALS__LIMITS__CONNECTIONS_MAX: limits.connections_max must be a whole number such as 1024, not `many`
help: for example ANNALS__LIMITS__CONNECTIONS_MAX=1024

ANNALS__LOG__SEGMENT_BYTE: no option belongs to this variable
help: did you mean ANNALS__LOG__SEGMENT_BYTES?";
    assert_eq!(complaint("[node]\nnmae = \"a\"\n", &environment), expected);
}

#[test]
fn a_segment_smaller_than_four_batches_names_both_options_and_both_places() {
    let expected = "\
the configuration has 1 error

annals.toml:2:17: log.segment_bytes is 4MiB, less than 4 times log.batch_bytes_max, which is 2MiB
  |
2 | segment_bytes = \"4MiB\"
  |                 ^^^^^^
note: log.segment_bytes is 4MiB by annals.toml:2:17
note: log.batch_bytes_max is 2MiB by ANNALS__LOG__BATCH_BYTES_MAX
help: raise log.segment_bytes to at least 8MiB, or lower log.batch_bytes_max";
    let environment = [("ANNALS__LOG__BATCH_BYTES_MAX", "2MiB")];
    assert_eq!(
        complaint("[log]\nsegment_bytes = \"4MiB\"\n", &environment),
        expected
    );
}

#[test]
fn a_contradiction_with_a_default_is_blamed_on_the_option_that_was_set() {
    let expected = "\
the configuration has 1 error

annals.toml:2:25: limits.admission_bytes is 128MiB, less than limits.stream_inflight_bytes, which is 1GiB
  |
2 | stream_inflight_bytes = \"1GiB\"
  |                         ^^^^^^
note: limits.admission_bytes is 128MiB by default
note: limits.stream_inflight_bytes is 1GiB by annals.toml:2:25
help: raise limits.admission_bytes to at least 1GiB, or lower limits.stream_inflight_bytes";
    assert_eq!(
        complaint("[limits]\nstream_inflight_bytes = \"1GiB\"\n", &[]),
        expected
    );
}

#[test]
fn an_exposed_listener_names_the_option_that_would_allow_it() {
    let expected = "\
the configuration has 1 error

annals.toml:2:7: listen.rpc is 0.0.0.0:8400, which other machines can reach, but nothing is encrypted and \
listen.insecure is false
  |
2 | rpc = \"0.0.0.0:8400\"
  |       ^^^^^^^^^^^^^^
note: listen.rpc is 0.0.0.0:8400 by annals.toml:2:7
note: listen.insecure is false by default
help: listen on 127.0.0.1:8400, set tls.certificate, or set listen.insecure = true if only trusted machines can reach it";
    assert_eq!(complaint("[listen]\nrpc = \"0.0.0.0:8400\"\n", &[]), expected);
}

#[test]
fn two_listeners_on_one_address_are_a_contradiction() {
    let printed = complaint("[listen]\nadmin = \"127.0.0.1:8400\"\n", &[]);
    assert!(
        printed.contains("listen.rpc and listen.admin are both 127.0.0.1:8400"),
        "{printed}"
    );
    assert!(load("[listen]\nadmin = \"127.0.0.1:0\"\nrpc = \"127.0.0.1:0\"\n", &[]).is_ok());
}

#[test]
fn one_option_may_contradict_two_others_and_both_are_reported() {
    let text = "[log]\nbatch_bytes_max = \"8MiB\"\nsegment_bytes = \"16MiB\"\ntail_cache_bytes = \"4MiB\"\n";
    let printed = complaint(text, &[]);
    assert!(printed.starts_with("the configuration has 2 errors"), "{printed}");
    assert!(
        printed.contains("log.segment_bytes is 16MiB, less than 4 times log.batch_bytes_max"),
        "{printed}"
    );
    assert!(
        printed.contains("log.tail_cache_bytes is 4MiB, less than log.batch_bytes_max"),
        "{printed}"
    );
}

#[test]
fn a_value_that_is_wrong_by_itself_causes_no_contradictions() {
    let printed = complaint("[log]\nbatch_bytes_max = \"1GiB\"\n", &[]);
    assert!(
        printed.starts_with("the configuration has 1 error\n"),
        "{printed}"
    );
    assert!(
        printed.contains("log.batch_bytes_max is 1GiB, which is not between 1KiB and 8MiB"),
        "{printed}"
    );
}

#[test]
fn a_line_with_tabs_and_wide_letters_is_marked_at_the_right_character() {
    let printed = complaint("[node]\n\tname\t=\t\"größe\"\n", &[]);
    assert!(printed.contains("annals.toml:2:9:"), "{printed}");
    assert!(
        printed.contains("\n2 |  name = \"größe\"\n  |         ^^^^^^^\n"),
        "{printed}"
    );
}

#[test]
fn every_mistake_asks_for_the_same_thing_to_be_rejected_as_it_stands() {
    let errors = load(include_str!("wrong.toml"), &[]).unwrap_err();
    assert_eq!(errors.as_slice().len(), 22);
    assert!(
        errors
            .as_slice()
            .iter()
            .all(|error| error.disposition() == Disposition::Reject)
    );
}

#[test]
fn an_unreadable_file_does_not_hide_a_mistake_in_the_environment() {
    let environment = variables(&[("ANNALS__NODE__NAEM", "a")]);
    let error = config::load(Some("/nowhere/annals.toml".as_ref()), environment)
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot read the configuration"), "{error}");
    assert!(error.contains("did you mean ANNALS__NODE__NAME?"), "{error}");
}
