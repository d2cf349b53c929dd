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
