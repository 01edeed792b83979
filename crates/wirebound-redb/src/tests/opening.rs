//! What an operator meets: a folder in use, a damaged file, a file from elsewhere.

use std::fs;
use std::path::Path;

use redb::{Database, TableDefinition};

use crate::{OpenError, Options, RedbStore};

fn open(folder: &Path) -> Result<RedbStore, OpenError> {
    RedbStore::open(folder, Options::default())
}

#[test]
fn a_folder_in_use_is_locked_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(
        error
            .to_string()
            .contains("another process holds the store")
    );
    drop(first);
    open(folder.path()).unwrap();
}

#[test]
fn a_damaged_file_is_refused_untouched_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let file = folder.path().join("store.redb");
    for damage in [&b"not a database at all"[..], &[0; 8192], &[]] {
        fs::write(&file, damage).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("move it away"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), damage);
    }
    fs::remove_file(&file).unwrap();
    open(folder.path()).unwrap();
}

#[test]
fn another_format_and_another_database_are_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let file = folder.path().join("store.redb");
    let write = |table: &str, key: &str, value: u64| {
        let database = Database::create(&file).unwrap();
        let write = database.begin_write().unwrap();
        let definition = TableDefinition::<&str, u64>::new(table);
        write
            .open_table(definition)
            .unwrap()
            .insert(key, value)
            .unwrap();
        write.commit().unwrap();
    };
    write("meta", "format", 2);
    let before = fs::read(&file).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Format { found: 2, .. }));
    assert!(error.to_string().contains("use the version that wrote it"));
    assert_eq!(fs::read(&file).unwrap(), before);

    fs::remove_file(&file).unwrap();
    write("somebody else's", "x", 1);
    let before = fs::read(&file).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_look_finds_what_opening_would_and_changes_nothing() {
    let look = |folder: &Path| RedbStore::look(folder, Options::default());
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(look(folder.path()).unwrap(), None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let store = open(folder.path()).unwrap();
    assert!(matches!(look(folder.path()), Err(OpenError::Locked { .. })));
    drop(store);
    let file = folder.path().join("store.redb");
    let sound = fs::read(&file).unwrap();
    assert_eq!(look(folder.path()).unwrap(), Some(0));
    assert!(fs::read(&file).unwrap() == sound, "a look changed the file");
    fs::write(&file, &sound[..sound.len() / 2]).unwrap();
    let error = look(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    assert!(fs::read(&file).unwrap() == sound[..sound.len() / 2]);
}

#[test]
fn what_was_left_of_an_interrupted_creation_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("store.redb.new"), b"half").unwrap();
    open(folder.path()).unwrap();
    assert!(!folder.path().join("store.redb.new").exists());
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("deep/store");
    drop(open(&inner).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(&inner.join("store.redb")), 0o600);
    assert_eq!(mode(&inner.join("lock")), 0o600);
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = open(&file.join("store")).unwrap_err();
    assert!(error.to_string().contains("cannot use"), "{error}");
}
