use super::*;
use nix::sys::stat::Mode;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use testkit::TempDir;

fn root() -> (TempDir, Root) {
    let dir = TempDir::new();
    let inside = dir.path().join("root");
    fs::create_dir(&inside).unwrap();
    fs::create_dir(inside.join("sub")).unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    fs::write(inside.join("plain"), "plain").unwrap();
    fs::write(inside.join("a..b"), "dots").unwrap();
    fs::write(inside.join("sub/deep"), "deep").unwrap();
    let root = Root::open(&inside, None).unwrap();
    (dir, root)
}

fn read(root: &Root, name: &str) -> String {
    match root.open_source(name.as_bytes()) {
        Ok(mut file) => {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            text
        }
        Err(Error::Denied { code, .. }) => (code as u16).to_string(),
        Err(other) => panic!("{other}"),
    }
}

fn place(root: &Root, name: &str) -> String {
    match root.upload_target(name.as_bytes(), IfExists::Replace) {
        Ok(target) => {
            let there = if target.existing.is_some() { "old" } else { "new" };
            format!("{there} {}", target.name.escape_ascii())
        }
        Err(Error::Denied { code, .. }) => (code as u16).to_string(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_spelling_of_a_name_is_resolved_below_the_root() {
    let (_dir, root) = root();
    for name in ["plain", "/plain", "//plain", "./plain", "sub/../plain", "sub//.././plain"] {
        assert_eq!(read(&root, name), "plain", "{name}");
        assert_eq!(place(&root, name), "old plain", "{name}");
    }
    assert_eq!(read(&root, "a..b"), "dots");
    assert_eq!(read(&root, "/sub/deep"), "deep");
}

#[test]
fn a_name_that_leaves_the_root_is_an_access_violation() {
    let (_dir, root) = root();
    for name in ["..", "../secret", "/../secret", "sub/../../secret", "../root/plain"] {
        assert_eq!(read(&root, name), "2", "{name}");
        assert_eq!(place(&root, name), "2", "{name}");
    }
}

#[test]
fn links_are_followed_inside_the_root_only() {
    let (dir, root) = root();
    let inside = dir.path().join("root");
    symlink("sub/deep", inside.join("fine")).unwrap();
    symlink("../plain", inside.join("sub/up")).unwrap();
    symlink("../secret", inside.join("out")).unwrap();
    symlink(dir.path().join("secret"), inside.join("absolute")).unwrap();
    symlink("..", inside.join("folder")).unwrap();
    symlink("loop", inside.join("loop")).unwrap();
    symlink("sub/fresh", inside.join("dangling")).unwrap();
    assert_eq!((read(&root, "fine"), place(&root, "fine")), ("deep".into(), "old deep".into()));
    assert_eq!(read(&root, "sub/up"), "plain");
    assert_eq!(place(&root, "sub/up"), "old plain");
    for name in ["out", "absolute", "folder/secret", "loop"] {
        assert_eq!(read(&root, name), "2", "{name}");
        assert_eq!(place(&root, name), "2", "{name}");
    }
    assert_eq!(
        (read(&root, "dangling"), place(&root, "dangling")),
        ("1".into(), "new fresh".into())
    );
}

#[test]
fn a_missing_file_or_folder_is_error_1() {
    let (_dir, root) = root();
    for name in ["none", "none/x", "plain/x"] {
        assert_eq!(read(&root, name), "1", "{name}");
    }
    assert_eq!(place(&root, "none"), "new none");
    assert_eq!(place(&root, "none/x"), "1");
}

#[test]
fn file_exists_is_reported_before_permissions_are_checked() {
    let (dir, root) = root();
    fs::set_permissions(dir.path().join("root/plain"), Permissions::from_mode(0o444)).unwrap();
    let error = root.upload_target(b"plain", IfExists::Fail).unwrap_err();
    assert_eq!(error.to_string(), "File exists (ERROR 6)");
    assert!(root.upload_target(b"none", IfExists::Fail).unwrap().existing.is_none());
}

#[test]
fn only_regular_files_are_opened_and_nothing_blocks() {
    let (dir, root) = root();
    let inside = dir.path().join("root");
    nix::unistd::mkfifo(&inside.join("fifo"), Mode::from_bits_truncate(0o666)).unwrap();
    let _bound = std::os::unix::net::UnixListener::bind(inside.join("socket")).unwrap();
    for name in ["fifo", "socket", "sub", "sub/", ".", "/"] {
        assert_eq!(read(&root, name), "2", "{name}");
        assert_eq!(place(&root, name), "2", "{name}");
    }
}

#[test]
fn root_serves_only_files_that_others_may_read() {
    let (dir, root) = root();
    fs::set_permissions(dir.path().join("root/plain"), Permissions::from_mode(0o000)).unwrap();
    assert_eq!(read(&root, "plain"), "2");
    fs::set_permissions(dir.path().join("root/plain"), Permissions::from_mode(0o444)).unwrap();
    assert_eq!(read(&root, "plain"), "plain");
    assert_eq!(place(&root, "plain"), "2", "no permission to write");
}

#[test]
fn temporary_files_are_hidden() {
    let (dir, root) = root();
    let name = [TEMP_PREFIX, b"1-0"].concat();
    let name = String::from_utf8(name).unwrap();
    fs::write(dir.path().join("root").join(&name), "half").unwrap();
    assert_eq!((read(&root, &name), place(&root, &name)), ("2".into(), "2".into()));
    assert_eq!(read(&root, &format!("sub/../{name}")), "2");
}

#[test]
fn opening_a_missing_root_or_a_file_as_root_fails() {
    let (dir, _root) = root();
    let missing = dir.path().join("missing");
    let error = Root::open(&missing, None).unwrap_err().to_string();
    assert_eq!(error, format!("root {}: No such file or directory", missing.display()));
    let error = Root::open(&dir.path().join("secret"), None).unwrap_err().to_string();
    assert!(error.ends_with(": Not a directory"), "{error}");
}

#[test]
fn a_root_that_can_be_searched_passes_the_check() {
    let (_dir, root) = root();
    root.check().unwrap();
}

/// Ends the swapping when the test ends, well or not.
struct Stop<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn names_that_change_while_they_are_resolved_never_leave_the_root() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    for has_openat2 in [true, false] {
        let (dir, mut root) = root();
        root.has_openat2 &= has_openat2;
        let inside = dir.path().join("root");
        fs::create_dir(dir.path().join("private")).unwrap();
        fs::write(dir.path().join("private/x"), "secret").unwrap();
        fs::create_dir(inside.join("real")).unwrap();
        fs::write(inside.join("real/x"), "public").unwrap();
        symlink("real", inside.join("d")).unwrap();
        let targets = [
            "real".into(),
            "../private".into(),
            inside.join("real").display().to_string(),
            dir.path().join("private").display().to_string(),
            inside.join("../private").display().to_string(),
        ];
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop = Stop(&stop);
            scope.spawn(|| {
                for target in targets.iter().cycle().take_while(|_| !stop.load(Relaxed)) {
                    symlink(target, inside.join("fresh")).unwrap();
                    fs::rename(inside.join("fresh"), inside.join("d")).unwrap();
                    std::thread::yield_now();
                }
            });
            let (mut served, mut refused) = (0, 0);
            for round in 0..50_000 {
                if round >= 2000 && served > 0 && refused > 0 {
                    break; // both were met with
                }
                match read(&root, "d/x").as_str() {
                    "public" => served += 1,
                    "2" => refused += 1,
                    other => panic!("{other}"),
                }
                if let Ok(target) = root.upload_target(b"d/x", IfExists::Replace) {
                    let folder = File::from(target.folder).metadata().unwrap();
                    let real = inside.join("real").metadata().unwrap();
                    assert_eq!(folder.ino(), real.ino(), "an upload would leave the root");
                }
            }
            assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
        });
    }
}
