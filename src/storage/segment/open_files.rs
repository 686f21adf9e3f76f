//! A bound on the files that sealed segments keep open: a terabyte is thousands of segments.

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwapOption;

use crate::storage::fs::{File, FileSystem, OpenMode};

/// Where a reader keeps its file while it is open.
#[derive(Debug, Default)]
pub(in crate::storage) struct FileSlot {
    file: ArcSwapOption<OpenFile>,
    /// Set by each use; a file in use since it was last looked at gets a second chance.
    used: AtomicBool,
}

impl FileSlot {
    /// The file, if it is open.
    pub(in crate::storage) fn if_open(&self) -> Option<Arc<dyn File>> {
        self.used.store(true, Ordering::Relaxed);
        self.file.load().as_ref().map(|open| open.0.clone())
    }
}

#[derive(Debug)]
struct OpenFile(Arc<dyn File>);

/// The files that are open, oldest first.
#[derive(Debug)]
pub(in crate::storage) struct OpenFiles {
    open_max: usize,
    open: Mutex<VecDeque<Weak<FileSlot>>>,
}

impl OpenFiles {
    /// At most `open_max` files stay open; at least one does.
    pub(in crate::storage) fn new(open_max: usize) -> Self {
        Self {
            open_max: open_max.max(1),
            open: Mutex::new(VecDeque::new()),
        }
    }

    /// The file of `slot`, opened when it is not. Whoever still reads a file that is closed here keeps it open as long.
    ///
    /// No lock is taken when the file is open already.
    pub(in crate::storage) fn get(
        &self,
        slot: &Arc<FileSlot>,
        file_system: &dyn FileSystem,
        path: &Path,
    ) -> io::Result<Arc<dyn File>> {
        slot.used.store(true, Ordering::Relaxed);
        if let Some(open) = slot.file.load_full() {
            return Ok(open.0.clone());
        }
        let file = file_system.open(path, OpenMode::Read)?;
        slot.file.store(Some(Arc::new(OpenFile(file.clone()))));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back(Arc::downgrade(slot));
        while open.len() > self.open_max {
            let Some(oldest) = open.pop_front() else { break };
            let Some(slot) = oldest.upgrade() else { continue };
            if slot.used.swap(false, Ordering::Relaxed) && open.iter().any(is_unused) {
                open.push_back(oldest);
            } else {
                slot.file.store(None);
            }
        }
        Ok(file)
    }
}

fn is_unused(slot: &Weak<FileSlot>) -> bool {
    slot.upgrade()
        .is_none_or(|slot| !slot.used.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::RealFileSystem;

    #[test]
    fn no_more_files_stay_open_than_the_limit_and_a_closed_one_opens_again() {
        let directory = tempfile::tempdir().unwrap();
        let files = OpenFiles::new(3);
        let paths: Vec<_> = (0..10)
            .map(|number| directory.path().join(format!("{number}")))
            .collect();
        let slots: Vec<_> = (0..10).map(|_| Arc::new(FileSlot::default())).collect();
        for path in &paths {
            std::fs::write(path, b"x").unwrap();
        }
        for _ in 0..2 {
            for (path, slot) in paths.iter().zip(&slots) {
                files.get(slot, &RealFileSystem, path).unwrap();
            }
        }
        assert_eq!(slots.iter().filter(|slot| slot.file.load().is_some()).count(), 3);
        assert!(slots[9].file.load().is_some());
    }
}
