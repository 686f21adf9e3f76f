//! The terminal: taken whole, drawn on, and given back as it was, however this ends.

use std::{
    io::{self, Read, Write, stdin, stdout},
    panic,
    sync::{Mutex, PoisonError},
    thread,
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use super::frame::Sort;

/// The other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// The screen and the cursor as they were.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
/// Whatever is behind the cursor in the line, and below it.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
/// Of a terminal that does not say how large it is.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// How the terminal was, while it is taken. A static, for the panic hook.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Gives the terminal back, once.
fn give_back() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // Where there is no terminal any more, there is nothing to give back.
        drop(
            stdout()
                .write_all(LEAVE.as_bytes())
                .and_then(|()| stdout().flush()),
        );
        drop(tcsetattr(stdin(), OptionalActions::Now, &before).map_err(io::Error::from));
    }
}

/// The terminal, taken until dropped. A panic gives it back before it is told.
#[derive(Debug)]
pub(super) struct Terminal(());

impl Terminal {
    /// Takes it.
    pub(super) fn take() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let taken = Self(());
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            told(panic);
        }));
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        stdout().write_all(ENTER.as_bytes())?;
        stdout().flush()?;
        Ok(taken)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (usize::from(size.ws_col), usize::from(size.ws_row))
            }
            _ => USUAL_SIZE,
        }
    }

    /// Draws the lines, from the top on.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let lines: Vec<_> = lines.iter().map(|line| format!("{line}{CLEAR_LINE}")).collect();
        let mut out = stdout().lock();
        write!(out, "{HOME}{}{CLEAR_BELOW}", lines.join("\r\n"))?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// A key that means something, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Sort(Sort),
    Other,
}

impl From<u8> for Key {
    fn from(byte: u8) -> Self {
        /// In raw mode Ctrl-C is a byte.
        const CTRL_C: u8 = 3;
        match byte {
            b'q' | b'Q' | CTRL_C => Self::Quit,
            b'n' => Self::Sort(Sort::Name),
            b'r' => Self::Sort(Sort::Rate),
            b'l' => Self::Sort(Sort::Lag),
            _ => Self::Other,
        }
    }
}

/// The keys that are pressed.
#[derive(Debug)]
pub(super) struct Keys(mpsc::Receiver<Key>);

impl Keys {
    /// Reads them from now on. The thread that does is left behind: it ends with the process.
    pub(super) fn read() -> Self {
        let (sender, keys) = mpsc::channel(16);
        let reader = thread::Builder::new().name("keys".to_owned()).spawn(move || {
            let mut byte = [0];
            while let Ok(1) = stdin().read(&mut byte) {
                if sender.blocking_send(Key::from(byte[0])).is_err() {
                    break;
                }
            }
        });
        // Without one, signals still end it.
        drop(reader);
        Self(keys)
    }

    /// The next one; `None`: nobody is at the keyboard any more.
    ///
    /// Cancel: safe.
    pub(super) async fn next(&mut self) -> Option<Key> {
        self.0.recv().await
    }
}
