use super::*;
use std::os::unix::fs::{chown, symlink};
use testkit::TempDir;

/// A folder whose way is root's alone, which one below /tmp is not; none for an ordinary user.
fn roots_own() -> Option<TempDir> {
    nix::unistd::geteuid().is_root().then(|| TempDir::below(Path::new("/run")))
}

/// What both ways to a folder find, which is the same.
fn walk(path: &Path) -> Result<Walked> {
    let (walked, found) = (Folder::walk(path, |_| Ok(())), Folder::find(path));
    match (&walked, &found) {
        (Ok(walked), Ok(found)) => {
            assert_eq!(walked.missing, found.missing);
            let stats = [walked, found].map(|it| it.folder.stat().unwrap());
            assert_eq!(stats.map(|it| it.st_ino)[0], stats[1].st_ino);
        }
        (walked, found) => {
            assert_eq!(
                walked.as_ref().unwrap_err().to_string(),
                found.as_ref().unwrap_err().to_string()
            );
        }
    }
    found
}

#[test]
fn a_walk_ends_at_the_folder_or_tells_what_is_missing() {
    let dir = TempDir::new();
    std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
    let mut seen = Vec::new();
    let walked = Folder::walk(&dir.path().join("a/./b/c/d"), |folder| {
        seen.push(folder.path().to_owned());
        Ok(())
    });
    let walked = walked.unwrap();
    assert_eq!(walked.folder.path(), dir.path().join("a/b"));
    assert_eq!(walked.missing, ["c", "d"]);
    assert_eq!(seen.first().map(PathBuf::as_path), Some(Path::new("/")));
    assert_eq!(seen.last(), Some(&dir.path().join("a/b")));
    for wrong in ["a", "", "/a/../b"] {
        assert!(matches!(walk(Path::new(wrong)), Err(Error::Refused(_))), "{wrong}");
    }
    std::fs::write(dir.path().join("file"), "").unwrap();
    let error = walk(&dir.path().join("file/x")).unwrap_err();
    assert!(error.to_string().ends_with("file: Not a directory"), "{error}");
}

#[test]
fn a_folder_is_empty_if_it_has_neither_folders_nor_files() {
    let dir = TempDir::new();
    let folder = Folder::open(dir.path()).unwrap();
    assert!(folder.is_empty().unwrap());
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(!folder.is_empty().unwrap());
    std::fs::remove_file(dir.path().join("file")).unwrap();
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    assert!(!folder.is_empty().unwrap());
}

#[test]
fn a_link_that_another_user_could_have_put_there_is_not_followed() {
    let dir = TempDir::new();
    std::fs::create_dir(dir.path().join("there")).unwrap();
    symlink("there", dir.path().join("link")).unwrap();
    let error = walk(&dir.path().join("link")).unwrap_err(); // all users may write to /tmp
    assert!(error.to_string().ends_with("link: Too many levels of symbolic links"), "{error}");
}

#[test]
fn a_folder_is_made_for_its_owner_in_a_folder_of_roots_alone() {
    let Some(dir) = roots_own() else { return };
    let parent = Folder::open(dir.path()).unwrap();
    let make =
        |name: &str| parent.make_for(OsStr::new(name), Uid::from_raw(4242), Gid::from_raw(4243));
    make("levy").unwrap();
    make("levy").unwrap();
    let made = parent.enter(OsStr::new("levy")).unwrap();
    assert_eq!(made.owner().unwrap(), (Uid::from_raw(4242), Gid::from_raw(4243)));
    assert_eq!(made.stat().unwrap().st_mode & 0o7777, 0o700);
    for (owner, mode) in [(0, 0o777), (0, 0o1777), (0, 0o775), (4242, 0o755)] {
        chown(dir.path(), Some(owner), None).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        assert!(matches!(make("bob"), Err(Error::Refused(_))));
    }
    assert_eq!(testkit::names(dir.path()), ["levy"]);
}

#[test]
fn a_link_of_roots_in_folders_of_roots_is_followed() {
    let Some(dir) = roots_own() else { return };
    std::fs::create_dir_all(dir.path().join("real/levy")).unwrap();
    symlink("real", dir.path().join("relative")).unwrap();
    symlink(dir.path().join("real"), dir.path().join("absolute")).unwrap();
    symlink("circle", dir.path().join("circle")).unwrap();
    for link in ["relative", "absolute"] {
        let walked = walk(&dir.path().join(link).join("levy")).unwrap();
        assert!(walked.missing.is_empty());
        assert_eq!(walked.folder.path(), dir.path().join("real/levy"));
    }
    assert!(walk(&dir.path().join("circle")).is_err());
    // The same link in a folder that is another user's, or that others may write to.
    let real = dir.path().join("real");
    symlink("levy", real.join("link")).unwrap();
    assert!(walk(&real.join("link")).is_ok());
    chown(&real, Some(65_534), None).unwrap();
    assert!(walk(&real.join("link")).is_err());
}

#[test]
fn a_file_is_opened_that_only_its_owner_or_root_may_write_and_nothing_else() {
    let dir = TempDir::new();
    let folder = Folder::open(dir.path()).unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    let open = |name: &str| folder.open_own(OsStr::new(name), uid);
    assert!(open("none").unwrap().is_none());
    let path = dir.file("own", "text");
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&path, mode).unwrap();
    };
    for good in [0o600, 0o644, 0o755] {
        mode(good);
        assert!(open("own").unwrap().is_some(), "{good:o}");
    }
    for bad in [0o620, 0o602, 0o666] {
        mode(bad);
        let why = open("own").unwrap_err().to_string();
        assert!(why.ends_with("own: others than its owner may write to it"), "{bad:o}: {why}");
    }
    mode(0o600);
    let other = folder.open_own(OsStr::new("own"), uid + 1);
    match uid {
        0 => assert!(other.unwrap().is_some(), "root's is good for every user"),
        _ => assert!(other.unwrap_err().to_string().ends_with("belongs to another user")),
    }
    symlink("own", dir.path().join("link")).unwrap();
    assert!(open("link").unwrap_err().to_string().contains("Too many levels"));
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("fifo"), Mode::S_IRWXU).unwrap();
    for odd in ["folder", "fifo"] {
        let why = open(odd).unwrap_err().to_string();
        assert!(why.ends_with("is not a regular file"), "{odd}: {why}"); // and nothing is waited for
    }
    if uid == 0 {
        chown(&path, Some(4242), None).unwrap();
        assert!(open("own").is_err(), "another user's is not root's");
        assert!(folder.open_own(OsStr::new("own"), 4242).unwrap().is_some());
    }
}

#[test]
fn a_folder_that_may_be_new_is_made_safe_also_where_its_parent_cannot_be_read() {
    let dir = TempDir::new();
    let parent = Folder::open(dir.path()).unwrap();
    let made = parent.make(OsStr::new("new")).unwrap();
    made.parent_of_new(&parent).unwrap().expect("it is new").sync().unwrap();
    // Of a parent that may be passed and not read, the file system is synced.
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(dir.path(), mode).unwrap();
    };
    mode(0o300);
    let passed = Folder::find(dir.path()).unwrap().folder;
    made.parent_of_new(&passed).unwrap();
    mode(0o700);
    // An old one waits for nothing: /usr was made before this test, its parent is never opened for reading.
    let old = Folder::find(Path::new("/usr")).unwrap().folder;
    let root = Folder::find(Path::new("/")).unwrap().folder;
    old.parent_of_new(&root).unwrap();
}
