//! `examples/go/`, with its modules from the proxy that `go` is set to.

use std::{fs, process::Command, sync::LazyLock};

use crate::{
    outside::{Example, Missing, copy_files, if_there, in_tree, kept, step},
    stories,
};

/// One for all tests; made at the first.
static EXAMPLE: LazyLock<Result<Example, Missing>> = LazyLock::new(make);

fn example() -> Option<&'static Example> {
    if_there("the example in Go", &EXAMPLE)
}

/// Made in a copy, since `go generate` writes beside the sources.
fn make() -> Result<Example, Missing> {
    let copy = kept("go");
    drop(fs::remove_dir_all(&copy));
    let sources = in_tree("examples/go");
    copy_files(&sources, &copy, &["go", "mod", "sum"]).map_err(|error| Missing::Broken(error.to_string()))?;
    drop(fs::remove_dir_all(copy.join("gen")));
    let go = |args: &[&str]| step(Command::new("go").args(args).current_dir(&copy));
    go(&["mod", "download"]).map_err(Missing::Outside)?;
    let proto = in_tree("proto").display().to_string();
    go(&["run", "./generate", "-proto", &proto]).map_err(Missing::Broken)?;
    go(&["vet", "./..."]).map_err(Missing::Broken)?;
    go(&["build", "-o", "example", "."]).map_err(Missing::Broken)?;
    Ok(Example {
        command: vec![copy.join("example").display().to_string()],
        page: sources.join("README.md"),
        position: "-position",
        follow: "-follow",
    })
}

#[tokio::test]
async fn the_example_in_go_does_what_its_page_shows() {
    if let Some(example) = example() {
        stories::does_what_its_page_shows(example).await;
    }
}

#[tokio::test]
async fn the_example_in_go_goes_on_when_its_node_is_back() {
    if let Some(example) = example() {
        stories::goes_on_when_its_node_is_back(example).await;
    }
}

#[test]
fn the_example_in_go_shows_the_certificates_of_annals_init() {
    if let Some(example) = example() {
        stories::shows_the_certificates_of_annals_init(example);
    }
}

#[tokio::test]
async fn the_example_in_go_takes_no_position_of_another_log() {
    if let Some(example) = example() {
        stories::takes_no_position_of_another_log(example).await;
    }
}
