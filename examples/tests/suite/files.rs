//! `files`: open, read, write and close, and what each of them may return.

use std::path::Path;
use std::process::{Command, Output};

use testkit::{Program, TempDir, run, wait_until};

const FILES: &str = env!("CARGO_BIN_EXE_files");

fn files(from: &Path, to: &Path) -> Output {
    let mut command = Command::new(FILES);
    command.arg("-v").arg(from).arg(to);
    run(command, b"")
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn fails_with(from: &Path, to: &Path, errno: &str, perror: &str) {
    let output = files(from, to);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("= -1, errno = {errno}\n")), "{told}");
    assert!(told.ends_with(&format!(": {perror}\n")), "{told}");
}

#[test]
fn a_copy_is_the_same_whatever_its_length() {
    let dir = TempDir::new();
    for length in [0, 1, 99, 100, 101, 1000, 70_001] {
        let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let from = dir.file("from", &content);
        let to = dir.file("to", vec![b'x'; 500]); // what was there before goes
        let output = files(&from, &to);
        assert!(output.status.success(), "{}", told(&output));
        assert!(std::fs::read(&to).unwrap() == content, "{length} octets");
    }
}

#[test]
fn the_last_read_fills_the_buffer_in_part_and_the_next_is_the_end() {
    let dir = TempDir::new();
    let output = files(&dir.file("from", [b'x'; 150]), &dir.path().join("to"));
    let calls = "read(3, buffer, 100) = 100\nwrite(4, buffer, 100) = 100\n\
                 read(3, buffer, 100) = 50\nwrite(4, buffer, 50) = 50\n\
                 read(3, buffer, 100) = 0\nclose(3) = 0\nclose(4) = 0\n";
    assert!(told(&output).ends_with(calls), "{}", told(&output));
}

#[test]
fn a_read_from_a_pipe_gives_what_is_there_and_does_not_wait_for_a_full_buffer() {
    let dir = TempDir::new();
    let to = dir.path().join("to");
    let mut program = Program::start(FILES, &["-v", "/dev/stdin", to.to_str().unwrap()]);
    for piece in ["one", "three"] {
        program.send(piece);
        program.wait_errors(&format!("read(3, buffer, 100) = {}\n", piece.len()));
    }
    assert!(program.wait().success());
    assert_eq!(std::fs::read(to).unwrap(), b"onethree");
}

#[test]
fn a_write_may_take_less_than_it_is_given() {
    let dir = TempDir::new();
    let from = dir.file("from", [b'x'; 4000]);
    let to = dir.path().join("to");
    let mut command = Command::new("sh"); // ulimit counts in blocks of 512 or of 1024 octets
    command.args(["-c", "ulimit -f 1; exec \"$0\" -v \"$1\" \"$2\"", FILES]).arg(&from).arg(&to);
    let output = run(command, b"");
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let limit = std::fs::metadata(&to).unwrap().len();
    assert!(limit == 512 || limit == 1024, "{limit}");
    let short = limit % 100;
    let calls = format!(
        "write(4, buffer, 100) = {short}\nwrite(4, buffer, {}) = -1, errno = EFBIG\n",
        100 - short
    );
    assert!(told.contains(&calls), "{told}");
    assert!(told.ends_with(": File too large\n"), "{told}");
}

#[test]
fn errors_are_told_as_errno_has_them() {
    let dir = TempDir::new();
    let (here, nowhere) = (dir.file("here", "x"), dir.path().join("no/where"));
    let free = dir.path().join("free");
    fails_with(&nowhere, &free, "ENOENT", "No such file or directory");
    fails_with(&here, &nowhere, "ENOENT", "No such file or directory");
    fails_with(&here.join("below"), &free, "ENOTDIR", "Not a directory");
    fails_with(dir.path(), &free, "EISDIR", "Is a directory");
    fails_with(&here, dir.path(), "EISDIR", "Is a directory");
    fails_with(&here, Path::new("/dev/full"), "ENOSPC", "No space left on device");
}

#[test]
fn a_file_without_the_right_to_read_it_is_eacces() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let from = dir.file("from", "x");
    std::fs::set_permissions(&from, PermissionsExt::from_mode(0o0)).unwrap();
    if std::fs::File::open(&from).is_err() {
        fails_with(&from, &dir.path().join("to"), "EACCES", "Permission denied");
    } // root may read everything
}

#[test]
fn a_file_is_not_copied_over_itself() {
    let dir = TempDir::new();
    let from = dir.file("from", "precious");
    let also = dir.path().join("also");
    std::fs::hard_link(&from, &also).unwrap();
    for to in [&from, &also] {
        assert_eq!(files(&from, to).status.code(), Some(1));
        assert_eq!(std::fs::read(&from).unwrap(), b"precious");
    }
}

#[test]
fn a_reader_that_has_gone_is_epipe_and_no_silent_death() {
    let dir = TempDir::new();
    let from = dir.file("from", vec![b'x'; 1 << 20]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new(FILES);
    command.arg("-v").arg(&from).arg("/dev/stdout").stdout(writer);
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(command); // with its copy of the pipe's end
    wait_until("the pipe is full", || testkit::state(child.id() as i32) == Some('S'));
    drop(reader);
    let mut told = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut told).unwrap();
    assert_eq!(testkit::wait_child(&mut child, "the copy ends").code(), Some(1));
    assert!(told.contains("errno = EPIPE"), "{}", told.lines().last().unwrap());
}
