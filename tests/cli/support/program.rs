//! The program under test.

use std::{
    ffi::OsStr,
    io::Write,
    process::{Child, Command, Output, Stdio},
};

/// One run of `annals`.
pub struct Program(Command);

/// How a run ended.
pub struct Ended {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ended {
    /// Standard output as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("the output is text")
    }

    /// The output of a run that went well.
    pub fn done(self) -> Self {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "the run went wrong");
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it was not killed"),
            out: output.stdout,
            err: String::from_utf8(output.stderr).expect("errors are text"),
        }
    }
}

impl Program {
    /// `annals` with these arguments, as one text.
    pub fn new(args: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
        command.args(args.split_whitespace());
        Self::piped(command)
    }

    /// A command line that begins with `annals`, as a shell takes it.
    pub fn pasted(line: &str) -> Self {
        let mut command = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_annals");
        command.args(["-c", &format!("annals() {{ '{program}' \"$@\"; }}; {line}")]);
        Self::piped(command)
    }

    fn piped(mut command: Command) -> Self {
        command
            .env_remove("ANNALS_ADDR")
            // Whoever runs the tests may have contexts.
            .env("ANNALS_CONFIG_DIR", "/nowhere")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(command)
    }

    /// With one more argument, which may have spaces in it.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Child {
        self.0.spawn().expect("the program was built for this test")
    }

    /// Runs it to its end, with this input.
    pub fn run(self, input: &[u8]) -> Ended {
        let mut child = self.start();
        let mut stdin = child.stdin.take().expect("it is piped");
        let input = input.to_vec();
        // A program that ends early does not read it all.
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("it can be waited for");
        feeding.join().expect("feeding does not panic");
        output.into()
    }
}
