//! Help and errors, to the letter. `TRYCMD=overwrite` writes them anew.

#[test]
fn help_and_errors_are_what_the_files_say() {
    trycmd::TestCases::new()
        .env("ANNALS_ADDR", "127.0.0.1:1")
        .env("NO_COLOR", "1")
        .env("ANNALS_CONFIG_DIR", "/nowhere")
        .case("tests/cli/output/*.trycmd");
}
