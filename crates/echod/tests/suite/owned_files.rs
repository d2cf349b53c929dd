//! The pid file and the transcript are never files that another user has put there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{ECHOD, echod, talk};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use testkit::{Daemon, TempDir, command, root_can_judge, run};

/// The option, how its file is called in errors, and the mode of one that is made.
const FILES: [(&str, &str, u32); 2] =
    [("--pid-file", "pid file", 0o644), ("--transcript", "transcript", 0o600)];

/// A folder where every user may write, as /tmp.
fn common_folder() -> TempDir {
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    dir
}

/// A start with this file ends with these words, and at once.
fn refused(option: &str, file: &Path, words: &str) {
    let args = ["-l", "127.0.0.1:0", option, file.to_str().unwrap()];
    let failed = run(command(ECHOD, &args), b"");
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(said, format!("echod: {words}\n"));
    assert_eq!(failed.status.code(), Some(1), "{said}");
}

fn at(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

#[test]
fn a_link_in_a_common_folder_is_not_followed() {
    for (option, name, _) in FILES {
        let dir = common_folder();
        let victim = dir.file("victim", "precious\n");
        for to in [&victim, &at(&dir, "not-there")] {
            let link = at(&dir, "link");
            symlink(to, &link).unwrap();
            refused(option, &link, &format!("{name} {}: is a symbolic link", link.display()));
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link is left alone");
            fs::remove_file(&link).unwrap();
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
        assert!(!at(&dir, "not-there").exists());
        let second = at(&dir, "second");
        fs::hard_link(&victim, &second).unwrap();
        refused(option, &second, &format!("{name} {}: has 2 links", second.display()));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
    }
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    for (option, name, _) in FILES {
        let dir = common_folder();
        mkfifo(&at(&dir, "fifo"), Mode::S_IRWXU).unwrap();
        fs::create_dir(at(&dir, "folder")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at(&dir, "socket")).unwrap();
        for (odd, why) in [
            ("fifo", "not a regular file"),
            ("folder", "Is a directory"),
            ("socket", "not a regular file"),
        ] {
            let odd = at(&dir, odd);
            refused(option, &odd, &format!("{name} {}: {why}", odd.display()));
        }
    }
    refused("--pid-file", Path::new("/dev/null"), "pid file /dev/null: not a regular file");
    assert!(fs::metadata("/dev/null").is_ok(), "and it is still there");
}

#[test]
fn a_file_that_others_may_write_to_is_refused() {
    for (option, name, _) in FILES {
        let dir = common_folder();
        let file = dir.file("file", "");
        for mode in [0o666, 0o664, 0o602] {
            fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            refused(option, &file, &format!("{name} {}: is writable by others", file.display()));
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
    }
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !root_can_judge() {
        return;
    }
    for (option, name, _) in FILES {
        let dir = common_folder();
        let file = dir.file("file", "another's\n");
        chown(&file, Some(1000), None).unwrap();
        refused(option, &file, &format!("{name} {}: belongs to user 1000", file.display()));
        assert_eq!(fs::read_to_string(&file).unwrap(), "another's\n");
        // The user of -u may have the transcript, but not the pid file: root kills the pid in it.
        let args = ["-l", "127.0.0.1:0", "-u", "1000", option, file.to_str().unwrap()];
        if option == "--pid-file" {
            let failed = run(command(ECHOD, &args), b"");
            assert_eq!(failed.status.code(), Some(1));
        } else {
            let daemon = echod(&args);
            drop(talk(daemon.addr()));
            assert_eq!(daemon.stop().code(), Some(0));
            assert!(fs::read_to_string(&file).unwrap().contains(" C: hello"));
        }
    }
}

#[test]
fn files_that_are_made_are_the_owners_to_write_whatever_the_umask() {
    for (option, name, mode) in FILES {
        let dir = common_folder();
        let file = at(&dir, "file");
        for umask in ["0", "077"] {
            let mut shell = Command::new("sh");
            shell.args(["-c", "umask \"$0\"; exec \"$@\"", umask, ECHOD]);
            let daemon = Daemon::spawn(shell, &[option, file.to_str().unwrap()]);
            let expected = if umask == "0" { mode } else { mode & 0o700 };
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, expected, "{name} {umask}");
            assert_eq!(daemon.stop().code(), Some(0));
            let _ = fs::remove_file(&file); // the pid file has gone already
        }
    }
}

/// What a server leaves that was killed.
#[test]
fn an_old_file_of_ours_is_taken_over() {
    let dir = common_folder();
    let (pid_file, transcript) = (dir.file("pid", "4711\nand more\n"), dir.file("t", "before\n"));
    let args = ["-p", pid_file.to_str().unwrap(), "--transcript", transcript.to_str().unwrap()];
    let daemon = echod(&args);
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), format!("{}\n", daemon.pid()));
    drop(talk(daemon.addr()));
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!pid_file.exists());
    let text = fs::read_to_string(&transcript).unwrap();
    assert!(text.starts_with("before\n") && text.contains(" C: hello\n"), "{text}");
}

#[test]
fn dev_null_will_do_as_transcript_and_so_will_where_the_log_goes() {
    let daemon = echod(&["--transcript", "/dev/null"]);
    drop(talk(daemon.addr()));
    assert_eq!(daemon.stop().code(), Some(0));
    // Standard error is a pipe here.
    let daemon = echod(&["--transcript", "/dev/stderr"]);
    drop(talk(daemon.addr()));
    daemon.wait_log(" C: hello\n");
    assert_eq!(daemon.stop().code(), Some(0));
    let dir = TempDir::new();
    let file = at(&dir, "output");
    let mut command = command(ECHOD, &["-l", "127.0.0.1:0", "--transcript", "/dev/stdout"]);
    command.stdout(fs::File::create(&file).unwrap()).stderr(Stdio::piped());
    let daemon = Daemon::adopt(command.spawn().unwrap());
    drop(talk(daemon.addr()));
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(fs::read_to_string(&file).unwrap().contains(" S: hello\n"));
}

#[test]
fn a_transcript_is_not_said_to_the_client_and_does_not_hold_the_starter() {
    let refused_with = |args: &[&str]| {
        let failed = run(command(ECHOD, args), b"");
        assert_eq!(failed.status.code(), Some(1), "{args:?}");
        String::from_utf8(failed.stderr).unwrap()
    };
    let said = refused_with(&["-i", "--transcript", "/dev/stdout"]);
    assert_eq!(said, "echod: transcript /dev/stdout: is the client under --inetd\n");
    let said = refused_with(&["-d", "-l", "127.0.0.1:0", "--transcript", "/dev/stderr"]);
    assert_eq!(said, "echod: transcript /dev/stderr: is given up under --daemon\n");
}
