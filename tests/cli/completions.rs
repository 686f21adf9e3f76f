//! `annals completions`: scripts that their shells take, with all verbs in them.

use std::process::Command;

use crate::support::Program;

#[test]
fn each_shell_gets_a_script_with_every_verb_in_it() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Program::new(&format!("completions {shell}")).run(b"").done();
        for word in ["produce", "transfer-leader", "exit-when-healthy", "context"] {
            assert!(script.text().contains(word), "{shell} is not told of {word}");
        }
    }
}

#[test]
fn bash_completes_verbs_and_arguments_by_it() {
    let script = Program::new("completions bash").run(b"").done();
    let completes = |words: &str, at: usize| {
        let line = format!(
            "COMP_WORDS=({words}); COMP_CWORD={at}; _annals annals \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{at}-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let ran = Command::new("bash")
            .args(["-c", &format!("{}\n{line}", script.text())])
            .output();
        let ran = ran.expect("bash is there");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
    };
    assert_eq!(completes("annals prod", 1), "produce");
    assert_eq!(completes("annals storage ver", 2), "verify");
    assert_eq!(completes("annals consume --cont", 2), "--context");
}
