//! The state directory as a whole.

use super::*;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn directory_and_files_are_for_their_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/state");
    let store = Store::open(&directory).unwrap();
    assert_eq!(mode(&directory), 0o700);
    for file in ["outlink.db", "outlink.db-wal", "outlink.lock"] {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
    drop(store);
    std::fs::set_permissions(directory.join("outlink.db"), Permissions::from_mode(0o644)).unwrap();
    let _store = Store::open(&directory).unwrap();
    assert_eq!(mode(&directory.join("outlink.db")), 0o600);
}

#[test]
fn what_is_no_database_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("outlink.db");
    std::fs::write(&file, "not a database, but long enough to look like one".repeat(100)).unwrap();
    let text = Store::open(directory.path()).unwrap_err().to_string();
    assert!(text.contains("outlink.db") && text.contains("not a database"), "{text}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("not a database, but"));
}

#[test]
fn a_path_that_is_no_directory_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("file");
    std::fs::write(&path, "").unwrap();
    let text = Store::open(&path.join("state")).unwrap_err().to_string();
    assert!(text.contains("file/state") && text.contains("state-directory"), "{text}");
}
