//! Signals that ask a verb to end: at the first it finishes what it is at, and at the second the process is over.

use std::{
    io::{self, Write},
    thread,
};

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use super::{error::CliError, exit::Exit};

/// Whether the process was asked to end, by SIGTERM or Ctrl-C.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// From now on the first of these signals is told here, and the second ends the process at once. SIGHUP stays as it was: `nohup` has it
    /// ignored.
    ///
    /// Errors: `Start`.
    pub(super) fn listen() -> Result<Self, CliError> {
        let (asked, receiver) = watch::channel(false);
        let signals = Signals::catch().map_err(CliError::Start)?;
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.hear(&asked))
            .map_err(CliError::Start)?;
        Ok(Self(receiver))
    }

    /// Ends once the process was asked to end.
    ///
    /// Cancel: safe.
    pub(super) async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // Nobody hears signals any more; then nobody asks.
            std::future::pending::<()>().await;
        }
    }
}

/// Signals, and what they are waited for with. On a thread of their own they are heard whatever else blocks.
struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(entered);
        Ok(Self {
            runtime,
            terminate,
            interrupt,
        })
    }

    fn hear(mut self, asked: &watch::Sender<bool>) {
        self.runtime.block_on(async {
            for is_second in [false, true] {
                tokio::select! {
                    _ = self.terminate.recv() => {}
                    _ = self.interrupt.recv() => {}
                }
                if is_second {
                    // When standard error is closed, the exit code still tells.
                    drop(writeln!(io::stderr(), "error: {}", CliError::Interrupted));
                    std::process::exit(i32::from(Exit::Failed as u8));
                }
                asked.send_replace(true);
            }
        });
    }
}
