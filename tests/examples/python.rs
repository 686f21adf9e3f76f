//! `examples/python/`, with its packages from the registry that `pip` is set to.

use std::{fs, path::PathBuf, process::Command, sync::LazyLock};

use crate::{
    outside::{Example, Missing, if_there, in_tree, kept, step},
    stories,
};

/// One for all tests; made at the first.
static EXAMPLE: LazyLock<Result<Example, Missing>> = LazyLock::new(make);

fn example() -> Option<&'static Example> {
    if_there("the example in Python", &EXAMPLE)
}

fn make() -> Result<Example, Missing> {
    let python = environment()?;
    let generated = kept("python-generated");
    let generate = in_tree("examples/python/generate.py");
    // Beside the old ones: nothing but what is made of `proto/` as it is now.
    drop(fs::remove_dir_all(&generated));
    step(Command::new(&python).arg(generate).arg(&generated)).map_err(Missing::Broken)?;
    let path = format!("PYTHONPATH={}", generated.display());
    let example = in_tree("examples/python/example.py").display().to_string();
    let python = python.display().to_string();
    Ok(Example {
        command: ["env", &path, "PYTHONDONTWRITEBYTECODE=1", &python, &example]
            .map(str::to_owned)
            .to_vec(),
        page: in_tree("examples/python/README.md"),
        position: "--position",
        follow: "--follow",
    })
}

/// The interpreter of an environment that has what `requirements.txt` says; made anew when that changes.
fn environment() -> Result<PathBuf, Missing> {
    let requirements = in_tree("examples/python/requirements.txt");
    let wanted = fs::read_to_string(&requirements).map_err(|error| Missing::Broken(error.to_string()))?;
    let directory = kept("python");
    let (python, has) = (directory.join("bin/python"), directory.join("has"));
    if fs::read_to_string(&has).is_ok_and(|has| has == wanted) {
        return Ok(python);
    }
    drop(fs::remove_dir_all(&directory));
    step(Command::new("python3").args(["-m", "venv"]).arg(&directory)).map_err(Missing::Outside)?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--timeout",
        "20",
        "--retries",
        "2",
        "-r",
    ];
    step(Command::new(&python).args(pip).arg(requirements)).map_err(Missing::Outside)?;
    // Last of all: it says that the environment is whole.
    fs::write(has, wanted).map_err(|error| Missing::Outside(error.to_string()))?;
    Ok(python)
}

#[tokio::test]
async fn the_example_in_python_does_what_its_page_shows() {
    if let Some(example) = example() {
        stories::does_what_its_page_shows(example).await;
    }
}

#[tokio::test]
async fn the_example_in_python_goes_on_when_its_node_is_back() {
    if let Some(example) = example() {
        stories::goes_on_when_its_node_is_back(example).await;
    }
}

/// The story: its patience counted from the last record, so that one who had been idle for as long gave up at the first connection that it
/// lost.
#[test]
fn the_example_in_python_is_patient_from_the_first_failure_on() {
    if let Some(example) = example() {
        let (_, command) = example
            .command
            .split_last()
            .expect("the last word of it is the example");
        let mut python = Command::new(&command[0]);
        python.args(&command[1..]);
        python.arg(in_tree("tests/examples/patience.py"));
        python.arg(in_tree("examples/python"));
        step(&mut python).unwrap_or_else(|said| panic!("{said}"));
    }
}

#[test]
fn the_example_in_python_shows_the_certificates_of_annals_init() {
    if let Some(example) = example() {
        stories::shows_the_certificates_of_annals_init(example);
    }
}

#[tokio::test]
async fn the_example_in_python_takes_no_position_of_another_log() {
    if let Some(example) = example() {
        stories::takes_no_position_of_another_log(example).await;
    }
}
