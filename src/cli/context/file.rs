//! `contexts.toml`: addresses and certificates by name.
//!
//! ```toml
//! current = "orders"
//!
//! [contexts.orders]
//! addr = "log-0.example.com:8400,log-1.example.com:8400"
//! ca = "/home/me/orders/ca.pem"
//! cert = "/home/me/orders/me.pem"
//! key = "/home/me/orders/me.key"
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{config::nearest, storage::fs::NotAFile, types::is_name};

use super::{super::addresses::Addresses, ContextFailure};

/// The file, in its directory.
const FILE_NAME: &str = "contexts.toml";
/// Names another directory.
pub(super) const DIRECTORY_VARIABLE: &str = "ANNALS_CONFIG_DIR";

/// What a context may say, in the words of the arguments.
const KEYS: [&str; 4] = ["addr", "ca", "cert", "key"];

/// Where nodes are, and how they are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Context {
    /// As --addr has it.
    pub(super) addr: String,
    /// As --ca, --cert and --key have them; `cert` and `key` are there together, and with `ca`.
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// All contexts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contexts {
    /// The file, whether it is there or not.
    pub(super) path: PathBuf,
    /// The one that is used when none is named.
    pub(super) current: Option<String>,
    pub(super) all: BTreeMap<String, Context>,
}

/// Where the file is: in `ANNALS_CONFIG_DIR`, else in `annals` of `XDG_CONFIG_HOME`, else of `~/.config`.
pub(super) fn path() -> Result<PathBuf, ContextFailure> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let in_home = || Some(set("HOME")?.join(".config"));
    let directory = set(DIRECTORY_VARIABLE)
        .or_else(|| Some(set("XDG_CONFIG_HOME").or_else(in_home)?.join("annals")))
        .ok_or(ContextFailure::NoPlace)?;
    Ok(directory.join(FILE_NAME))
}

impl Contexts {
    /// Those of the file at that path; none when it is not there.
    ///
    /// Blocking.
    pub(super) fn load(path: PathBuf) -> Result<Self, ContextFailure> {
        match text_of(&path) {
            Ok(text) => Reader {
                path: &path,
                text: &text,
            }
            .contexts(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self {
                path,
                current: None,
                all: BTreeMap::new(),
            }),
            Err(error) => Err(ContextFailure::io("read", &path)(error)),
        }
    }

    /// The context of that name.
    pub(super) fn get(&self, name: &str, origin: &'static str) -> Result<&Context, ContextFailure> {
        self.all.get(name).ok_or_else(|| ContextFailure::Unknown {
            name: name.to_owned(),
            path: self.path.clone(),
            origin,
            help: self.help_with(name),
        })
    }

    fn help_with(&self, name: &str) -> String {
        if let Some(near) = nearest(name, self.all.keys().map(String::as_str)) {
            return format!("did you mean {near:?}?");
        }
        if self.all.is_empty() {
            return "there is none yet; `annals context add NAME --addr HOST:PORT` makes one".to_owned();
        }
        let names: Vec<_> = self.all.keys().map(String::as_str).collect();
        format!("there are {}", names.join(", "))
    }

    /// Changes those of the file at that path: reads it, has `change` do so, and writes it anew, whole or not at all. Others who change it wait
    /// meanwhile, so that nothing of theirs is lost.
    ///
    /// Blocking: also on them.
    pub(super) fn change(
        path: PathBuf,
        mut change: impl FnMut(&mut Self) -> Result<(), ContextFailure>,
    ) -> Result<Self, ContextFailure> {
        let directory = path.parent().unwrap_or(Path::new("."));
        if !directory.exists() {
            // Nothing is made for a change that is refused.
            change(&mut Self::load(path.clone())?)?;
            fs::create_dir_all(directory).map_err(ContextFailure::io("make", directory))?;
        }
        let lock = lock(&path)?;
        let mut contexts = Self::load(path)?;
        change(&mut contexts)?;
        contexts.save()?;
        drop(lock);
        Ok(contexts)
    }

    fn save(&self) -> Result<(), ContextFailure> {
        let failed = |action| ContextFailure::io(action, &self.path);
        let path = led_to(&self.path);
        let draft = path.with_extension(format!("toml.{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        let written = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| {
                file.write_all(self.text().as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&draft, &path));
        written.map_err(|error| {
            drop(fs::remove_file(&draft));
            failed("write")(error)
        })
    }

    fn text(&self) -> String {
        let mut text = "# Written by `annals context`, which keeps no comments.\n".to_owned();
        let quoted = |value: &str| toml::Value::String(value.to_owned()).to_string();
        let line = |text: &mut String, key: &str, value: &str| {
            text.push_str(&format!("{key} = {}\n", quoted(value)));
        };
        if let Some(current) = &self.current {
            line(&mut text, "current", current);
        }
        for (name, context) in &self.all {
            text.push_str(&format!("\n[contexts.{}]\n", quoted(name)));
            line(&mut text, "addr", &context.addr);
            for (key, path) in [
                ("ca", &context.ca),
                ("cert", &context.cert),
                ("key", &context.key),
            ] {
                if let Some(path) = path {
                    line(&mut text, key, &path.to_string_lossy());
                }
            }
        }
        text
    }
}

/// What stands in a file, or in the one that a link leads to.
///
/// Errors: what the system says; `NotAFile`, of which a FIFO would be waited for to this day.
fn text_of(path: &Path) -> io::Result<String> {
    let mut options = fs::OpenOptions::new();
    let no_wait = OFlags::NONBLOCK.bits().to_ne_bytes();
    options.read(true).custom_flags(i32::from_ne_bytes(no_wait));
    let file = options.open(path)?;
    match NotAFile::of(file.metadata()?.file_type()) {
        None => io::read_to_string(file),
        Some(other) => Err(other.into()),
    }
}

/// Where the file itself is: a link stays one, and what it leads to is replaced.
fn led_to(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Waits until nobody else changes the file, and keeps others from it until it is dropped. The lock is that of a file beside it, which stays:
/// the file itself is replaced.
fn lock(path: &Path) -> Result<fs::File, ContextFailure> {
    let beside = led_to(path).with_extension("toml.lock");
    let mut options = fs::OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let file = options
        .open(&beside)
        .map_err(ContextFailure::io("open", &beside))?;
    file.lock().map_err(ContextFailure::io("lock", &beside))?;
    Ok(file)
}

/// Reads a file of contexts: strictly, so that what is mistyped is not passed over.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn wrong(&self, at: usize, what: String, help: impl Into<String>) -> ContextFailure {
        let before = self.text.get(..at).unwrap_or(self.text);
        ContextFailure::Wrong {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            what,
            help: help.into(),
        }
    }

    fn contexts(&self) -> Result<Contexts, ContextFailure> {
        let document = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().unwrap_or_default().start;
            let help = "write a context as `[contexts.NAME]` and its values as `addr = \"HOST:PORT\"`, each on a line of its own";
            self.wrong(at, error.message().to_owned(), help)
        })?;
        let mut contexts = Contexts {
            path: self.path.to_owned(),
            current: None,
            all: BTreeMap::new(),
        };
        let mut current_at = 0;
        for (key, value) in document.into_inner() {
            let (key, at) = (key.get_ref().to_string(), key.span().start);
            match key.as_str() {
                "current" => {
                    current_at = at;
                    contexts.current = Some(self.string(&key, value)?);
                }
                "contexts" => contexts.all = self.all(at, value)?,
                _ => return Err(self.unknown(&key, at, &["current", "contexts"])),
            }
        }
        match contexts
            .current
            .as_ref()
            .filter(|current| !contexts.all.contains_key(*current))
        {
            None => Ok(contexts),
            Some(current) => {
                let what = format!("`current` names {current:?}, and there is no such context");
                Err(self.wrong(current_at, what, contexts.help_with(current)))
            }
        }
    }

    fn unknown(&self, key: &str, at: usize, known: &[&str]) -> ContextFailure {
        let help = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        self.wrong(at, format!("unknown key `{key}`"), help)
    }

    fn string(&self, key: &str, value: Spanned<DeValue<'_>>) -> Result<String, ContextFailure> {
        let at = value.span().start;
        match value.into_inner() {
            DeValue::String(text) => Ok(text.into_owned()),
            _ => Err(self.wrong(at, format!("`{key}` is no text"), "put the value in quotes")),
        }
    }

    fn all(
        &self,
        at: usize,
        value: Spanned<DeValue<'_>>,
    ) -> Result<BTreeMap<String, Context>, ContextFailure> {
        let DeValue::Table(table) = value.into_inner() else {
            return Err(self.wrong(at, "`contexts` is no table".to_owned(), "write `[contexts.NAME]`"));
        };
        let mut all = BTreeMap::new();
        for (name, value) in table {
            let (name, at) = (name.get_ref().to_string(), name.span().start);
            if !is_name(&name) {
                let help = ContextFailure::Name { name: name.clone() }
                    .hint()
                    .unwrap_or_default();
                return Err(self.wrong(at, format!("{name:?} cannot name a context"), help));
            }
            let context = self.context(&name, at, value)?;
            all.insert(name, context);
        }
        Ok(all)
    }

    fn context(&self, name: &str, at: usize, value: Spanned<DeValue<'_>>) -> Result<Context, ContextFailure> {
        let DeValue::Table(table) = value.into_inner() else {
            let help = format!("write `[contexts.{name}]`, and below it `addr = \"HOST:PORT\"`");
            return Err(self.wrong(at, format!("`{name}` is no table"), help));
        };
        let mut found = BTreeMap::new();
        for (key, value) in table {
            let (key, at) = (key.get_ref().to_string(), key.span().start);
            if !KEYS.contains(&key.as_str()) {
                return Err(self.unknown(&key, at, &KEYS));
            }
            found.insert(key.clone(), self.string(&key, value)?);
        }
        let Some(addr) = found.remove("addr") else {
            let what = format!("context {name:?} says no address");
            return Err(self.wrong(
                at,
                what,
                "add `addr = \"HOST:PORT\"`, several with commas between them",
            ));
        };
        if let Err(error) = addr.parse::<Addresses>() {
            return Err(self.wrong(at, format!("{addr:?} is no address"), error.to_string()));
        }
        // A path that begins nowhere is meant from where the file is.
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let mut file = |key: &str| found.remove(key).map(|path| directory.join(path));
        let context = Context {
            addr,
            ca: file("ca"),
            cert: file("cert"),
            key: file("key"),
        };
        let is_whole = context.cert.is_some() == context.key.is_some()
            && (context.ca.is_some() || context.cert.is_none());
        if is_whole {
            Ok(context)
        } else {
            let what = format!("context {name:?} has not all that TLS takes");
            Err(self.wrong(at, what, "give `ca` alone, or `ca`, `cert` and `key` together"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Contexts, ContextFailure> {
        Reader {
            path: Path::new("/etc/contexts.toml"),
            text,
        }
        .contexts()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let context = |addr: &str, ca: Option<&str>| Context {
            addr: addr.to_owned(),
            ca: ca.map(PathBuf::from),
            cert: ca.map(|_| "/it's \"here\"/me.pem".into()),
            key: ca.map(|_| "/me.key".into()),
        };
        let contexts = Contexts {
            path: "/etc/contexts.toml".into(),
            current: Some("prod.eu".to_owned()),
            all: BTreeMap::from([
                ("here".to_owned(), context("127.0.0.1:8400", None)),
                ("prod.eu".to_owned(), context("a:1,b:2", Some("/ca.pem"))),
            ]),
        };
        assert_eq!(read(&contexts.text()).expect("it is right"), contexts);
    }

    #[test]
    fn each_mistake_is_told_with_its_line_and_what_to_write() {
        let table = [
            ("curent = \"a\"\n", 1, "did you mean `current`?"),
            ("[contexts.a]\nadr = \"b:1\"\n", 2, "did you mean `addr`?"),
            ("[contexts.a]\naddr = 8400\n", 2, "put the value in quotes"),
            ("[contexts.a]\nca = \"c\"\n", 1, "add `addr = \"HOST:PORT\"`"),
            ("[contexts.a]\naddr = \"b:x\"\n", 1, "write host:port"),
            (
                "[contexts.a]\naddr = \"b\"\ncert = \"c\"\nkey = \"k\"\n",
                1,
                "give `ca` alone",
            ),
            (
                "current = \"b\"\n[contexts.bb]\naddr = \"b\"\n",
                1,
                "did you mean \"bb\"?",
            ),
            ("\n[contexts.\"a b\"]\naddr = \"b\"\n", 2, "use 1 to 63 letters"),
            ("contexts = 1\n", 1, "write `[contexts.NAME]`"),
            ("\nwhat\n", 2, "each on a line of its own"),
        ];
        for (text, line, help) in table {
            let error = read(text).expect_err(text);
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("/etc/contexts.toml:{line}: ")),
                "{text}: {error}"
            );
            assert!(
                error.hint().is_some_and(|hint| hint.contains(help)),
                "{text}: {:?}",
                error.hint()
            );
        }
    }

    #[test]
    fn a_path_that_begins_nowhere_is_meant_from_the_file() {
        let contexts = read("[contexts.a]\naddr = \"b\"\nca = \"tls/ca.pem\"\n").expect("it is right");
        assert_eq!(contexts.all["a"].ca, Some(PathBuf::from("/etc/tls/ca.pem")));
    }
}
