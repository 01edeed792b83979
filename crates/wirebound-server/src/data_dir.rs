//! The data folder: who owns it, who else may look, and the node secret in it.
//!
//! One process at a time owns the folder. Node secrets seal the store and derive every session's keys, so
//! their file is made once, whole, for this user alone; a file that somebody else could read is refused
//! rather than repaired, because nobody knows who read it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use wirebound::{Entropy, Secret};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The first line of the node secret's file.
const SECRET_HEADER: &str = "wirebound-node-secret 1";

/// The file of the node secret, in the data folder.
pub const SECRET_FILE: &str = "node.secret";

/// The file whose lock says who owns the folder.
pub const LOCK_FILE: &str = "lock";

/// No file of ours that is read whole is longer.
const MOST_BYTES: u64 = 1 << 20;

/// The data folder, owned by this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Who has the folder.
#[derive(Debug)]
pub(crate) enum Taken {
    /// This process, from now on.
    Ours(DataDir),
    /// Another one: `process 7`.
    Held(String),
}

impl DataDir {
    /// Makes the folder if it is missing (mode 0700) and takes it for this process.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written, when others may write to it, or when another process owns it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        match Self::take(path)? {
            Taken::Ours(dir) => Ok(dir),
            Taken::Held(owner) => Err(Failure::start(
                format!("the data folder {} is in use by {owner}", path.display()),
                "stop that one, or give this one a folder of its own: --data-dir DIR",
            )),
        }
    }

    /// As [`DataDir::open`], where that another process owns it is an answer.
    pub(crate) fn take(path: &Path) -> Result<Taken, Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| {
                Failure::start(
                    format!("the data folder {} cannot be made: {error}", path.display()),
                    "name a folder that this user may write to: --data-dir DIR",
                )
            })?;
        refuse_foreign_writers(path)?;
        Ok(match lock(path)? {
            Ok(lock) => Taken::Ours(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(owner) => Taken::Held(owner),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a node secret was made here before.
    #[must_use]
    pub fn has_node_secret(&self) -> bool {
        self.path.join(SECRET_FILE).exists()
    }

    /// The node secret, made at the first start.
    ///
    /// # Errors
    ///
    /// When the file has another mode than 0600, another owner or another shape, or cannot be made.
    pub fn node_secret(&self, entropy: &dyn Entropy) -> Result<NodeSecret, Failure> {
        let path = self.path.join(SECRET_FILE);
        match read_private(&path) {
            Ok(text) => {
                NodeSecret::parse(&text).ok_or_else(|| bad_secret(&path, "is not a node secret"))
            }
            Err(Unread::Missing) => {
                let secret = NodeSecret::draw(entropy)?;
                write_new(&path, secret.to_text().as_bytes(), 0o600).map_err(|error| {
                    Failure::start(
                        format!("{} cannot be made: {error}", path.display()),
                        "look at free space and permissions: wirebound doctor",
                    )
                })?;
                Ok(secret)
            }
            Err(other) => Err(bad_secret(&path, &other.to_string())),
        }
    }
}

/// The folder when none is named: `$XDG_STATE_HOME/wirebound`, else `~/.local/state/wirebound`.
#[must_use]
pub fn default_path(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |text: String| Some(PathBuf::from(text)).filter(|path| path.is_absolute());
    variable("XDG_STATE_HOME")
        .and_then(absolute)
        .or_else(|| {
            variable("HOME")
                .and_then(absolute)
                .map(|home| home.join(".local/state"))
        })
        .map(|state| state.join("wirebound"))
}

/// The keys from which sessions, records and the vault are sealed: one per epoch, the newest first, two at most.
#[derive(Debug)]
pub struct NodeSecret {
    epochs: Vec<(u32, Secret)>,
}

impl NodeSecret {
    fn draw(entropy: &dyn Entropy) -> Result<Self, Failure> {
        let secret = Secret::draw(entropy).map_err(|error| {
            Failure::start(
                error.to_string(),
                "the system gives no randomness; nothing safe can start",
            )
        })?;
        Ok(Self {
            epochs: vec![(1, secret)],
        })
    }

    /// The newest: what is made now is made with it.
    #[must_use]
    pub fn current(&self) -> Option<(u32, &Secret)> {
        self.epochs.first().map(|(epoch, secret)| (*epoch, secret))
    }

    /// The one of this epoch, if it is still kept.
    #[must_use]
    pub fn of_epoch(&self, wanted: u32) -> Option<&Secret> {
        self.epochs
            .iter()
            .find_map(|(epoch, secret)| (*epoch == wanted).then_some(secret))
    }

    /// Reads the file's text; nothing but exactly this shape is taken.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != SECRET_HEADER {
            return None;
        }
        let mut epochs: Vec<(u32, Secret)> = Vec::new();
        for line in lines {
            let (epoch, secret) = line.split_once(' ')?;
            let number: u32 = epoch.parse().ok()?;
            let falls = epochs.last().is_none_or(|(newer, _)| number < *newer);
            if number == 0 || number.to_string() != epoch || !falls || epochs.len() == 2 {
                return None;
            }
            epochs.push((number, Secret::parse(secret.as_bytes())?));
        }
        (!epochs.is_empty()).then_some(Self { epochs })
    }

    fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(format!("{SECRET_HEADER}\n"));
        for (epoch, secret) in &self.epochs {
            text.push_str(&epoch.to_string());
            text.push(' ');
            text.push_str(&Zeroizing::new(secret.expose_text()));
            text.push('\n');
        }
        text
    }
}

/// Why a private file was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    Missing,
    Mode(u32),
    Owner(u32),
    NoFile,
    Failed(io::Error),
}

impl core::fmt::Display for Unread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::Mode(mode) => write!(
                f,
                "has mode {mode:04o}, so others may have read it; it must be 0600"
            ),
            Self::Owner(uid) => write!(f, "belongs to user {uid}, not to the one that runs this"),
            Self::NoFile => f.write_str("is no ordinary file, or is too large"),
            Self::Failed(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

/// Reads a file that only its owner may read. The mode is that of the open file, not of a name that may move.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, Unread> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unread::Missing),
        Err(error) => return Err(Unread::Failed(error)),
    };
    let facts = file.metadata().map_err(Unread::Failed)?;
    if !facts.is_file() || facts.len() > MOST_BYTES {
        return Err(Unread::NoFile);
    }
    let mode = facts.mode() & 0o7777;
    if mode != 0o600 {
        return Err(Unread::Mode(mode));
    }
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return Err(Unread::Owner(facts.uid()));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(Unread::Failed)?;
    Ok(text)
}

/// Makes a file that must not exist yet: whole and on the disk, or not at all.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let draft = write_draft(path, bytes, mode)?;
    let linked = fs::hard_link(&draft, path);
    let removed = fs::remove_file(&draft);
    linked.and(removed)?;
    sync_parent(path)
}

/// Puts a file in the place of the one that is there: a reader sees the old or the new, never a part.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let draft = write_draft(path, bytes, mode)?;
    fs::rename(&draft, path)?;
    sync_parent(path)
}

fn write_draft(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = path.with_file_name(name);
    // A draft of an earlier process with our number, that was killed in between.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(draft)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn refuse_foreign_writers(path: &Path) -> Result<(), Failure> {
    let facts = fs::metadata(path).map_err(|error| {
        Failure::start(
            format!(
                "the data folder {} cannot be looked at: {error}",
                path.display()
            ),
            "name another folder: --data-dir DIR",
        )
    })?;
    let (owner, ours) = (facts.uid(), rustix::process::geteuid().as_raw());
    if owner != ours {
        return Err(Failure::start(
            format!(
                "the data folder {} belongs to user {owner}, who may put files into it; this runs as user {ours}",
                path.display()
            ),
            format!("chown -R {ours} {0}, or --data-dir DIR", path.display()),
        ));
    }
    let mode = facts.mode() & 0o7777;
    if facts.is_dir() && mode & 0o022 == 0 {
        return Ok(());
    }
    Err(Failure::start(
        format!(
            "the data folder {} has mode {mode:04o}, so others may put files into it",
            path.display()
        ),
        format!("chmod 700 {}", path.display()),
    ))
}

/// The lock, or who has it.
fn lock(path: &Path) -> Result<Result<File, String>, Failure> {
    let name = path.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(|error| {
            Failure::start(
                format!("{} cannot be opened: {error}", name.display()),
                "name a folder that this user may write to: --data-dir DIR",
            )
        })?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut owner = String::new();
        let known = file.read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
        return Ok(Err(if known {
            format!("process {}", owner.trim())
        } else {
            "another process".to_owned()
        }));
    }
    // Whose it is, for the error of the next one; the lock itself is what counts.
    let written = file
        .set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(|error| {
        Failure::start(
            format!("{} cannot be written: {error}", name.display()),
            "wirebound doctor",
        )
    })?;
    Ok(Ok(file))
}

fn bad_secret(path: &Path, problem: &str) -> Failure {
    Failure::start(
        format!("{} {problem}", path.display()),
        format!(
            "if nobody else could read it: chmod 600 {0}; otherwise remove it, and everybody signs in again",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::system::SystemEntropy;

    fn folder() -> (tempfile::TempDir, DataDir) {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&parent.path().join("data")).unwrap();
        (parent, dir)
    }

    #[test]
    fn the_node_secret_is_made_once_and_for_this_user_alone() {
        let (_parent, dir) = folder();
        let first = dir.node_secret(&SystemEntropy::new()).unwrap();
        let again = dir.node_secret(&SystemEntropy::new()).unwrap();
        let bytes = |secret: &NodeSecret| *secret.current().unwrap().1.expose();
        assert_eq!(bytes(&first), bytes(&again));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&dir.path().join(SECRET_FILE)), 0o600);
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(first.current().unwrap().0, 1);
        assert!(first.of_epoch(1).is_some() && first.of_epoch(2).is_none());
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), 2, "no draft is left: {left:?}");
    }

    #[test]
    fn a_node_secret_that_others_may_read_is_refused_with_the_way_out() {
        let (_parent, dir) = folder();
        dir.node_secret(&SystemEntropy::new()).unwrap();
        let path = dir.path().join(SECRET_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let failure = dir.node_secret(&SystemEntropy::new()).unwrap_err();
        assert!(failure.message.contains("has mode 0644"), "{failure}");
        assert!(
            failure
                .hint
                .unwrap()
                .starts_with("if nobody else could read it: chmod 600 ")
        );
    }

    #[test]
    fn a_node_secret_of_another_shape_is_refused() {
        let (_parent, dir) = folder();
        let good = dir.node_secret(&SystemEntropy::new()).unwrap().to_text();
        let line = good.lines().nth(1).unwrap().to_owned();
        let secret = line.strip_prefix("1 ").unwrap();
        assert!(NodeSecret::parse(&good).is_some());
        assert!(NodeSecret::parse(&format!("{SECRET_HEADER}\n2 {secret}\n1 {secret}\n")).is_some());
        for bad in [
            String::new(),
            format!("{SECRET_HEADER}\n"),
            good.trim_end().to_owned(),
            format!("{SECRET_HEADER}\n0 {secret}\n"),
            format!("{SECRET_HEADER}\n01 {secret}\n"),
            format!("{SECRET_HEADER}\n1 {secret}\n2 {secret}\n"),
            format!("{SECRET_HEADER}\n3 {secret}\n2 {secret}\n1 {secret}\n"),
            format!("{SECRET_HEADER}\n1 {}\n", secret.split_at(42).0),
            format!("wirebound-node-secret 2\n{line}\n"),
            format!("{}\n", *good),
        ] {
            assert!(NodeSecret::parse(&bad).is_none(), "{bad}");
        }
        replace(&dir.path().join(SECRET_FILE), b"short", 0o600).unwrap();
        let failure = dir.node_secret(&SystemEntropy::new()).unwrap_err();
        assert!(
            failure.message.ends_with("is not a node secret"),
            "{failure}"
        );
    }

    #[test]
    fn a_node_secret_does_not_print() {
        let (_parent, dir) = folder();
        let secret = dir.node_secret(&SystemEntropy::new()).unwrap();
        let text = secret.current().unwrap().1.expose_text();
        assert!(!format!("{secret:?}{dir:?}").contains(&text));
    }

    #[test]
    fn a_folder_has_one_owner() {
        let (_parent, dir) = folder();
        let failure = DataDir::open(dir.path()).unwrap_err();
        let expected = format!("is in use by process {}", std::process::id());
        assert!(failure.message.ends_with(&expected), "{failure}");
        let path = dir.path().to_owned();
        drop(dir);
        drop(DataDir::open(&path).unwrap());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let failure = DataDir::open(parent.path()).unwrap_err();
        assert!(failure.message.contains("has mode 0777"), "{failure}");
        assert!(failure.hint.unwrap().starts_with("chmod 700 "));
    }

    #[test]
    fn a_folder_of_somebody_elses_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        // Root can give a folder away; whoever is not root finds one of root's.
        let theirs = if rustix::process::geteuid().is_root() {
            let folder = parent.path().join("theirs");
            fs::create_dir(&folder).unwrap();
            std::os::unix::fs::chown(&folder, Some(12_345), None).unwrap();
            folder
        } else {
            PathBuf::from("/usr")
        };
        let failure = DataDir::open(&theirs).unwrap_err();
        assert!(failure.message.contains("belongs to user"), "{failure}");
        assert!(failure.hint.unwrap().starts_with("chown -R "));
    }

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("x");
        write_new(&path, b"one", 0o600).unwrap();
        assert_eq!(
            write_new(&path, b"two", 0o600).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_default_folder_follows_xdg() {
        let with = |pairs: &'static [(&str, &str)]| {
            default_path(move |name| {
                pairs
                    .iter()
                    .find_map(|(key, value)| (*key == name).then(|| (*value).to_owned()))
            })
        };
        assert_eq!(
            with(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]),
            Some("/s/wirebound".into())
        );
        assert_eq!(
            with(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]),
            Some("/h/.local/state/wirebound".into())
        );
        assert_eq!(with(&[]), None);
    }
}
