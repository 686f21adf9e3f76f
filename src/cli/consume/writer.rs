//! What was read is written out here, until nothing more comes, nobody reads it, or the process is asked to end.

use std::time::Duration;

use tokio::{
    sync::{
        mpsc::{self, error::TryRecvError},
        watch,
    },
    time::timeout,
};

use super::{outlet::Outlet, page::Page};
use crate::{
    cli::{error::CliError, output::RecordFormat, stop::Stop},
    proto::raw::annals::v1::Batch,
    types::Offset,
};

/// Bytes gathered before they are written, where more is there at once.
const WRITE_BYTES: usize = 256 << 10;

/// Who is asked to end waits so long for a reader that takes nothing to take the rest of a record: half a line would be worse than
/// none, and whoever asked wants to see the end.
const FINISHED_WITHIN: Duration = Duration::from_secs(5);

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// All that came is out.
    All,
    /// It was asked to; what is out ends with a whole record.
    Stopped,
}

/// Writes records out, and says how far.
pub(super) struct Writer {
    chunks: mpsc::Receiver<Vec<Batch>>,
    format: RecordFormat,
    /// The offset behind the last record that is out as a whole; `None`: none is.
    written: watch::Sender<Option<Offset>>,
    stop: Stop,
    outlet: Outlet,
    page: Page,
    /// What came and cannot be printed, to be told once all before it is out.
    failed: Option<CliError>,
}

impl Writer {
    /// To standard output. Nothing is written yet.
    ///
    /// Inside a runtime. Errors: `Write`.
    pub(super) fn new(
        chunks: mpsc::Receiver<Vec<Batch>>,
        format: RecordFormat,
        written: watch::Sender<Option<Offset>>,
        stop: Stop,
    ) -> Result<Self, CliError> {
        Ok(Self {
            chunks,
            format,
            written,
            stop,
            outlet: Outlet::of_stdout().map_err(CliError::Write)?,
            page: Page::default(),
            failed: None,
        })
    }

    /// Writes to the end.
    ///
    /// Errors: `Write`, `BrokenPipe`, `Protocol`. Cancel: what `written` says is out, and perhaps some more. Blocking: on files.
    pub(super) async fn run(mut self) -> Result<Ending, CliError> {
        loop {
            let more_comes = self.gather();
            if !self.page.rest().is_empty() {
                if self.write_out().await? == Ending::Stopped {
                    return Ok(Ending::Stopped);
                }
            } else if let Some(error) = self.failed.take() {
                return Err(error);
            } else if !more_comes {
                return Ok(Ending::All);
            } else {
                let batches = tokio::select! {
                    biased;
                    () = self.stop.asked() => return Ok(Ending::Stopped),
                    () = self.outlet.closed() => return Err(CliError::BrokenPipe),
                    batches = self.chunks.recv() => batches,
                };
                self.print(batches.unwrap_or_default());
            }
        }
    }

    /// Prints what is there already, up to a page; says whether more may come.
    fn gather(&mut self) -> bool {
        while self.page.rest().len() < WRITE_BYTES && self.failed.is_none() {
            match self.chunks.try_recv() {
                Ok(batches) => self.print(batches),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn print(&mut self, batches: Vec<Batch>) {
        let printed = batches
            .iter()
            .try_for_each(|batch| self.page.add(batch, self.format));
        self.failed = printed.err();
    }

    /// Writes the page out; when the process is asked to end, only up to the end of the record that has begun.
    async fn write_out(&mut self) -> Result<Ending, CliError> {
        while !self.page.rest().is_empty() {
            let written = tokio::select! {
                biased;
                () = self.stop.asked() => {
                    self.page.cut();
                    // What is not taken in time is not out, and not said to be.
                    return timeout(FINISHED_WITHIN, self.finish()).await.unwrap_or(Ok(Ending::Stopped));
                }
                written = self.outlet.write(self.page.rest()) => written,
            };
            self.note(written.map_err(CliError::from_write)?);
        }
        Ok(Ending::All)
    }

    async fn finish(&mut self) -> Result<Ending, CliError> {
        while !self.page.rest().is_empty() {
            let written = self.outlet.write(self.page.rest()).await;
            self.note(written.map_err(CliError::from_write)?);
        }
        Ok(Ending::Stopped)
    }

    fn note(&mut self, count: usize) {
        if let Some(next) = self.page.wrote(count) {
            self.written
                .send_if_modified(|known| known.replace(next) != Some(next));
        }
    }
}
