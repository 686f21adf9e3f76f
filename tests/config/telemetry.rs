//! Logging in a process of its own, as `main` starts it.

use std::{
    panic,
    process::{Command, Output},
    thread,
};

use annals::{
    config::{LogFormat, LogLevel},
    telemetry::logging::{self, StartError},
};

/// Set in the processes that the tests start: the form of lines that is asked for.
const CHILD: &str = "TELEMETRY_CHILD_FORMAT";

/// Runs this test again, alone in a process of its own, as the child.
fn run_as_child(test: &str, format: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, format)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
}

fn child(format: LogFormat) {
    let logging = logging::start(LogLevel::Info, format).unwrap();
    slog::info!(logging.logger, "from ourselves"; "records" => 3);
    slog::debug!(logging.logger, "below the level");
    tracing::warn!(target: "tonic", tries = 2, "from tracing");
    log::error!(target: "actix", "from log");
    assert!(matches!(
        logging::start(LogLevel::Info, format),
        Err(StartError::Tracing(_))
    ));
    let doomed = thread::Builder::new().name("doomed".to_owned());
    doomed
        .spawn(|| panic!("from a panic"))
        .unwrap()
        .join()
        .unwrap_err();
    drop(logging);
    tracing::warn!("after the end");
    // The child's process goes on to print the result of its test, without our hook.
    drop(panic::take_hook());
}

#[test]
fn a_process_logs_itself_its_libraries_and_its_panics_as_json_lines_each_once() {
    match std::env::var(CHILD).as_deref() {
        Ok("auto") => return child(LogFormat::Auto),
        Ok(other) => panic!("{other}"),
        Err(_) => {}
    }
    let output = run_as_child(
        "telemetry::a_process_logs_itself_its_libraries_and_its_panics_as_json_lines_each_once",
        "auto",
    );
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let mut lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    // A panic does not wait for the queue, so it may come first.
    lines.sort_by_key(|line| line["msg"].to_string());
    let said: Vec<_> = lines
        .iter()
        .map(|line| (line["level"].as_str().unwrap(), line["msg"].as_str().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            ("ERROR", "from log"),
            ("INFO", "from ourselves"),
            ("WARNING", "from tracing"),
            ("CRITICAL", "panic: from a panic"),
        ]
    );
    assert_eq!(lines[1]["records"], 3);
    assert_eq!(lines[2]["target"], "tonic");
    assert_eq!(lines[3]["thread"], "doomed");
}

#[test]
fn the_terminal_form_has_no_colours_when_standard_error_is_a_pipe() {
    match std::env::var(CHILD).as_deref() {
        Ok("terminal") => return child(LogFormat::Terminal),
        Ok(other) => panic!("{other}"),
        Err(_) => {}
    }
    let output = run_as_child(
        "telemetry::the_terminal_form_has_no_colours_when_standard_error_is_a_pipe",
        "terminal",
    );
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("INFO from ourselves, records: 3"), "{text}");
    assert!(
        text.contains("WARN from tracing, target: tonic, tries: 2"),
        "{text}"
    );
    assert!(text.contains("CRIT panic: from a panic"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}
