//! A child process that never outlives its test.

use std::{
    ffi::OsStr,
    io::Write,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use super::{DEADLINE, output::Output};

/// A command line to start.
pub struct Line(Command);

/// `annals`, as it was built for this test, with nothing set in the environment.
pub fn annals() -> Line {
    Line::new(env!("CARGO_BIN_EXE_annals"))
}

impl Line {
    /// Any program.
    pub fn new(program: &str) -> Self {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANNALS_")) {
            command.env_remove(name);
        }
        // Whoever runs the tests may have contexts.
        command.env("ANNALS_CONFIG_DIR", "/nowhere");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command)
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(args);
        self
    }

    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.0.stdin(from);
        self
    }

    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.0.stdout(to);
        self
    }

    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.0.stderr(to);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Process {
        let mut child = self.0.spawn().expect("the program is there");
        let out = child.stdout.take().map_or_else(Output::ended, Output::of);
        let err = child.stderr.take().map_or_else(Output::ended, Output::of);
        Process { child, out, err }
    }

    /// Starts it with an input that the test writes.
    pub fn start_with_input(mut self) -> (Process, ChildStdin) {
        self.0.stdin(Stdio::piped());
        let mut process = self.start();
        let input = process.child.stdin.take().expect("it is piped");
        (process, input)
    }

    /// Runs it to its end.
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// Runs it to its end with this input.
    pub fn run_with(self, input: &str) -> Ended {
        let (process, mut stdin) = self.start_with_input();
        let input = input.to_owned();
        // A program that ends early does not read it all.
        let feeding = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let ended = process.wait();
        feeding.join().expect("feeding does not panic");
        ended
    }
}

/// A running process; killed and reaped when it is dropped.
pub struct Process {
    child: Child,
    pub out: Output,
    pub err: Output,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ended {
    /// The standard output of a run that went well and had nothing to complain about.
    pub fn done(self) -> Vec<u8> {
        assert_eq!(
            (self.status.code(), self.err.as_str()),
            (Some(0), ""),
            "the run went wrong"
        );
        self.out
    }

    /// The same as text.
    pub fn text(self) -> String {
        String::from_utf8(self.done()).expect("the output is text")
    }

    /// Its last words, when it ended with this code.
    pub fn refused(&self, code: i32) -> &str {
        assert_eq!(self.status.code(), Some(code), "{}", self.err);
        let start = self.err.find("error: ").expect("it says what is wrong");
        &self.err[start..]
    }
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, named as `kill` names it.
    pub fn signal(&self, name: &str) {
        let signalled = Command::new("kill")
            .args([format!("-{name}"), self.id().to_string()])
            .status();
        assert!(signalled.expect("`kill` is there").success());
    }

    /// Waits for its end.
    pub fn wait(self) -> Ended {
        self.wait_within(DEADLINE)
    }

    /// Waits for its end, which must come within `limit`.
    pub fn wait_within(mut self, limit: Duration) -> Ended {
        // Outputs that end, since their only writer has, can be waited for with a deadline; an exit cannot.
        let ended = self.out.wait_for_end(limit) && self.err.wait_for_end(limit);
        assert!(
            ended,
            "it did not end within {limit:?}; its log:\n{}",
            self.err.text()
        );
        let status = self.child.wait().expect("it can be waited for");
        Ended {
            status,
            out: self.out.take(),
            err: String::from_utf8_lossy(&self.err.take()).into_owned(),
        }
    }

    /// Ends it as a power switch would, and waits until it is gone.
    pub fn kill(self) -> Ended {
        self.signal("KILL");
        self.wait()
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("process {} said:\n{}", self.id(), self.err.text());
        }
        // It fails only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
