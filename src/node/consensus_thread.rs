//! The thread that consensus and its connections to peers run on, and nothing else.
//!
//! An append passes the connection, openraft's core and the connection again. On a pool of threads each of these steps wakes another
//! one, which costs more than the step; here they follow one another. Clients are served by the pool, which they may
//! fill without holding up a heartbeat (ADR 0012).

use std::{io, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// See the module. Ends when dropped; what runs on it then is dropped too.
#[derive(Debug)]
pub(super) struct ConsensusThread {
    handle: Handle,
    _end: oneshot::Sender<()>,
}

impl ConsensusThread {
    /// Starts it.
    ///
    /// Errors: the system gives no more threads or descriptors.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let run = move || {
            let _dropped = runtime.block_on(ended);
            // What its tasks have the blocking pool do may be stuck in the disk, which is why the node ends.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("consensus".to_owned()).spawn(run)?;
        Ok(Self { handle, _end: end })
    }

    /// Where to put tasks.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}
