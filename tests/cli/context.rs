//! Contexts: kept in their file, chosen by the rules of precedence, and named where something is wrong with what they say.

use std::{fs, path::PathBuf};

use crate::support::{Ended, Program, Server};

/// A directory for contexts, and the server that they lead to.
struct World {
    directory: tempfile::TempDir,
    server: Server,
}

impl World {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("there is room for a directory"),
            server: Server::start(),
        }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("contexts.toml")
    }

    fn program(&self, args: &str) -> Program {
        Program::new(args).env("ANNALS_CONFIG_DIR", self.directory.path())
    }

    fn run(&self, args: &str) -> Ended {
        self.program(args).run(b"")
    }

    /// The name of the log at the server is only had by who reaches that.
    fn reaches(&self, program: Program) -> bool {
        let ended = program.run(b"");
        assert!(ended.code == 0 || ended.code == 3, "{}", ended.err);
        ended.code == 0
    }
}

/// How a verb that talks to a node is done without contexts.
const WAY_OUT: &str = "hint: to do without contexts, and without their certificates, add --context ''\n";
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

#[test]
fn a_context_is_made_chosen_and_forgotten() {
    let world = World::new();
    let addr = world.server.addr();
    let made = world.run(&format!("context add here --addr {addr}")).done();
    let file = world.file();
    let wanted = format!(
        "context \"here\" is in {}; it is the current one\n",
        file.display()
    );
    assert_eq!(made.text(), wanted);
    world
        .run(&format!("context add other --addr {NOWHERE},b:2"))
        .done();
    let list = world.run("context list").done();
    let words: Vec<Vec<&str>> = list
        .text()
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let (addr_text, other) = (addr.to_string(), format!("{NOWHERE},b:2"));
    let wanted = [
        vec!["NAME", "ADDR", "CERT"],
        vec!["*", "here", &addr_text, "-"],
        vec!["other", &other, "-"],
    ];
    assert_eq!(words, wanted);
    assert_eq!(world.run("log describe").code, 0);
    let used = world.run("context use other").done();
    assert_eq!(used.text(), "context \"other\" is the current one\n");
    let failed = world.run("log describe");
    assert_eq!(failed.code, 3);
    let note = format!(
        "note: the address is from context \"other\", {}\n",
        file.display()
    );
    assert!(failed.err.ends_with(&note), "{}", failed.err);
    let forgotten = world.run("context remove other").done();
    assert_eq!(
        forgotten.text(),
        "context \"other\" is forgotten; none is the current one now\n"
    );
    let shown = world.run("context show");
    assert_eq!((shown.code, shown.text()), (4, ""));
    let shown = world.run("context show here -o json").done();
    assert_eq!(
        shown.text(),
        format!("{{\"name\":\"here\",\"addr\":\"{addr}\",\"ca\":null,\"cert\":null,\"key\":null}}\n")
    );
}

#[test]
fn an_argument_goes_before_a_named_context_that_before_the_environment_and_that_before_the_rest() {
    let world = World::new();
    let addr = world.server.addr();
    world.run(&format!("context add there --addr {NOWHERE}")).done();
    world.run(&format!("context add here --addr {addr}")).done();
    let program = |args: &str| world.program(&format!("log describe {args}"));
    assert!(!world.reaches(program("")), "the current one leads nowhere");
    assert!(world.reaches(program("--context here")));
    assert!(world.reaches(program("").env("ANNALS_CONTEXT", "here")));
    assert!(world.reaches(program("").env("ANNALS_ADDR", addr.to_string())));
    assert!(!world.reaches(program("--context there").env("ANNALS_ADDR", addr.to_string())));
    assert!(
        !world.reaches(
            program("")
                .env("ANNALS_CONTEXT", "here")
                .env("ANNALS_ADDR", NOWHERE)
        )
    );
    assert!(world.reaches(program(&format!("--context there --addr {addr}"))));
    assert!(!world.reaches(program("--context there").env("ANNALS_CONTEXT", "here")));
    // An empty name is no context: then it is the default, where nobody listens whom this test knows.
    let none = program("")
        .env("ANNALS_CONTEXT", "")
        .env("ANNALS_ADDR", NOWHERE)
        .run(b"");
    assert!(
        none.err.ends_with("note: the address is from ANNALS_ADDR\n"),
        "{}",
        none.err
    );
}

#[test]
fn files_of_tls_come_from_one_place_together() {
    let world = World::new();
    let certs = world.directory.path().join("certs");
    Program::new("certs ca --cluster orders --dir")
        .arg(&certs)
        .run(b"")
        .done();
    Program::new("certs client me --dir").arg(&certs).run(b"").done();
    let path = |name: &str| certs.join(name).display().to_string();
    let (ca, cert, key) = (path("ca.pem"), path("me.pem"), path("me.key"));
    let addr = world.server.addr();
    world
        .run(&format!(
            "context add orders --addr {addr} --ca {ca} --cert {cert} --key {key}"
        ))
        .done();
    let file = world.file();
    let refused = world.run("log describe");
    // The server speaks no TLS, so that who uses the certificates is found out.
    assert!(refused.err.contains("no TLS with"), "{}", refused.err);
    let notes = format!(
        "note: the address is from context \"orders\", {0}\nnote: the certificates are from context \"orders\", {0}\n",
        file.display()
    );
    assert!(refused.err.ends_with(&notes), "{}", refused.err);
    // One that is given alone does not get those of the context.
    fs::remove_file(&cert).expect("it is there");
    let refused = world.run(&format!("log describe --ca {ca}"));
    assert!(refused.err.contains("no TLS with"), "{}", refused.err);
    let missing = world.run("log describe");
    assert_eq!(missing.code, 4, "{}", missing.err);
    assert!(
        missing.err.contains("note: the certificates are from context"),
        "{}",
        missing.err
    );
    let refused = world.run(&format!(
        "context add again --addr {addr} --ca {ca} --cert {cert} --key {key}"
    ));
    assert_eq!(
        refused.code, 4,
        "what cannot be used is not kept: {}",
        refused.err
    );
}

/// It was told that --ca is missing, which the context has; of half a pair, where the other half should be from was for the reader to find out.
#[test]
fn who_shows_other_certificates_believes_whom_the_context_does() {
    let world = World::new();
    let certs = world.directory.path().join("certs");
    let make = |args: &str| Program::new(args).arg(&certs).run(b"").done();
    make("certs ca --cluster orders --dir");
    make("certs client me --dir");
    make("certs client other --dir");
    let path = |name: &str| certs.join(name).display().to_string();
    let addr = world.server.addr();
    let files = format!(
        "--ca {} --cert {} --key {}",
        path("ca.pem"),
        path("me.pem"),
        path("me.key")
    );
    world
        .run(&format!("context add orders --addr {addr} {files}"))
        .done();
    let (cert, key) = (path("other.pem"), path("other.key"));
    // The server speaks no TLS, so that who uses the certificates is found out.
    let ended = world.run(&format!("log describe --cert {cert} --key {key}"));
    assert!(ended.err.contains("no TLS with"), "{}", ended.err);
    let note = format!(
        "note: --ca is from context \"orders\", {}\n",
        world.file().display()
    );
    assert!(ended.err.ends_with(&note), "{}", ended.err);
    let ended = world
        .program("log describe")
        .env("ANNALS_CERT", &cert)
        .env("ANNALS_KEY", &key)
        .run(b"");
    assert!(ended.err.contains("no TLS with"), "{}", ended.err);
    let half = world.run(&format!("log describe --cert {cert}"));
    let wanted = format!(
        "error: --ca is from context \"orders\", {}, --cert is from the command line; there is no --key (or ANNALS_KEY), the private \
         key of that certificate\n",
        world.file().display()
    );
    assert_eq!(half.code, 2, "{}", half.err);
    assert!(
        half.err.starts_with(&wanted) && half.err.contains("Usage: annals log describe"),
        "{}",
        half.err
    );
    let lacking = Program::new(&format!("log describe --cert {cert}"))
        .env("ANNALS_KEY", &key)
        .run(b"");
    let wanted =
        "error: --cert is from the command line, --key is from ANNALS_KEY; there is no --ca (or ANNALS_CA)";
    assert!(
        lacking.code == 2 && lacking.err.starts_with(wanted),
        "{}",
        lacking.err
    );
}

/// Whatever was wrong with a key, the certificates were said to be from ANNALS_CA; and `ANNALS_CA=` was an empty path.
#[test]
fn each_file_is_said_to_be_from_its_own_variable_and_an_empty_variable_says_nothing() {
    let world = World::new();
    let addr = world.server.addr().to_string();
    let certs = world.directory.path().join("certs");
    for args in ["certs ca --cluster orders --dir", "certs client me --dir"] {
        Program::new(args).arg(&certs).run(b"").done();
    }
    let wrong = world
        .program(&format!("log describe --addr {addr}"))
        .env("ANNALS_CA", certs.join("ca.pem"))
        .env("ANNALS_CERT", certs.join("me.pem"))
        .env("ANNALS_KEY", "/nowhere/me.key")
        .run(b"");
    let notes =
        "note: --ca is from ANNALS_CA\nnote: --cert is from ANNALS_CERT\nnote: --key is from ANNALS_KEY\n";
    assert!(wrong.code == 4 && wrong.err.ends_with(notes), "{}", wrong.err);
    let empty = |program: Program| {
        ["ANNALS_CA", "ANNALS_CERT", "ANNALS_KEY"]
            .into_iter()
            .fold(program, |program, name| program.env(name, ""))
            .run(b"")
    };
    empty(world.program(&format!("log describe --addr {addr}"))).done();
    world.run(&format!("context add here --addr {addr}")).done();
    empty(world.program("log describe").env("ANNALS_ADDR", "")).done();
}

#[test]
fn what_is_wrong_with_contexts_is_told_with_its_place_and_a_remedy() {
    let world = World::new();
    let file = world.file();
    let unknown = world.run("log describe --context prod");
    assert_eq!(unknown.code, 4);
    let none = "hint: there is none yet; `annals context add NAME --addr HOST:PORT` makes one";
    assert!(unknown.err.contains(none), "{}", unknown.err);
    world.run("context add prod --addr a:1").done();
    let unknown = world.run("log describe --context prdo");
    let wanted = format!(
        "error: there is no context \"prdo\" in {} (from the command line)\nhint: did you mean \"prod\"?\n",
        file.display()
    );
    assert_eq!((unknown.code, unknown.err), (4, wanted));
    let unknown = world.program("log describe").env("ANNALS_CONTEXT", "x").run(b"");
    assert!(unknown.err.contains("(from ANNALS_CONTEXT)"), "{}", unknown.err);
    let exists = world.run("context add prod --addr a:2");
    assert_eq!(exists.code, 5, "{}", exists.err);
    world.run("context add prod --addr a:2 --replace").done();
    assert_eq!(world.run("context add ../x --addr a:2").code, 2);
    fs::write(&file, "[contexts.a]\nadr = \"b:1\"\n").expect("it can be written");
    let wrong = world.run("log describe");
    let wanted = format!(
        "error: {}:2: unknown key `adr`\nhint: did you mean `addr`?\n{WAY_OUT}",
        file.display()
    );
    assert_eq!((wrong.code, wrong.err), (2, wanted));
    assert!(
        world.reaches(
            world
                .program(&format!("log describe --addr {} --context", world.server.addr()))
                .arg("")
        )
    );
    // The environment says everything as well as arguments do.
    let by_environment = world.program("log describe").env("ANNALS_ADDR", NOWHERE);
    let missing = by_environment.env("ANNALS_CA", "/nowhere/ca.pem").run(b"");
    assert!(missing.err.contains("/nowhere/ca.pem"), "{}", missing.err);
    // Who says everything needs no contexts, and other verbs have nothing to do with them.
    let certs = "--ca /nowhere/ca.pem";
    let missing = world.run(&format!("log describe --addr {NOWHERE} {certs}"));
    assert!(missing.err.contains("/nowhere/ca.pem"), "{}", missing.err);
    world.run("config check").done();
}

/// The story: each verb waited for whoever writes to a FIFO, and of a directory only the system's word was told.
#[test]
fn what_is_no_file_of_contexts_is_told_and_not_waited_for() {
    let world = World::new();
    let file = world.file();
    let told = |what: &str| {
        let wrong = world.run("log describe");
        let begins = format!(
            "error: cannot read {}: it is a {what}, and no file\nhint: move it away",
            file.display()
        );
        assert!(wrong.err.starts_with(&begins), "{}", wrong.err);
        assert!(wrong.err.ends_with(WAY_OUT), "{}", wrong.err);
        let listed = world.run("context list");
        assert!(
            listed.err.starts_with(&begins) && !listed.err.contains("--context"),
            "{}",
            listed.err
        );
    };
    fs::create_dir(&file).expect("it can be made");
    told("directory");
    fs::remove_dir(&file).expect("it is empty");
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("`mkfifo` is there").success());
    told("FIFO");
}

#[test]
fn the_file_is_for_its_owner_alone_and_replaced_as_a_whole() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.run("context add a --addr a:1").done();
    let mode = fs::metadata(world.file())
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let names: Vec<_> = fs::read_dir(world.directory.path())
        .expect("it is there")
        .map(|entry| entry.expect("it can be listed").file_name())
        .collect();
    let mut names = names;
    names.sort_unstable();
    assert_eq!(names, ["contexts.toml", "contexts.toml.lock"], "no draft is left");
}

/// Ten that were added at the same time were three or four afterwards: each read the file, and wrote it without those of the others.
#[test]
fn whatever_is_changed_at_the_same_time_is_changed() {
    let world = World::new();
    world.run("context add gone --addr gone:1").done();
    let started: Vec<_> = (0..10)
        .map(|number| world.program(&format!("context add c{number} --addr a:{}", number + 1)))
        .chain([
            world.program("context remove gone"),
            world.program("context use --none"),
        ])
        .map(Program::start)
        .collect();
    for child in started {
        Ended::from(child.wait_with_output().expect("it can be waited for")).done();
    }
    let list = world.run("context list -o json").done();
    let list: serde_json::Value = serde_json::from_str(list.text()).expect("it is JSON");
    let all = list["contexts"].as_array().expect("it is a list");
    let names: Vec<_> = all
        .iter()
        .filter_map(|context| context["name"].as_str())
        .collect();
    let wanted: Vec<_> = (0..10).map(|number| format!("c{number}")).collect();
    assert_eq!(names, wanted);
}
