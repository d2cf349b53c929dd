//! What is made from a program's rows of options: is it committed as it is made?

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::daemon::run;

/// The programs, as marks in Markdown name them.
const PROGRAMS: [&str; 10] =
    ["daemons", "echod", "pop3d", "smtpd", "smtpq", "tftpd", "echoc", "pop3c", "smtpc", "tftpc"];

/// Compares what is committed with what the rows of a program's options make: its manual page, the
/// tables of the guide where it has any, the completions for bash and zsh.
///
/// # Panics
/// They differ: run `make options`.
pub fn check_documents(binary: &str, page: &str) {
    let (name, _) = page.split_once('.').expect("NAME.SECTION");
    let committed = |path: String| {
        let path = repository(&path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let page = format!("docs/man/{page}");
    let text = committed(page.clone());
    assert!(text.contains("\n.\\\" options: synopsis\n"), "{page}: no mark of the synopsis");
    assert!(text.contains("\n.\\\" options: manual\n"), "{page}: no mark of the options");
    assert_same(&page, &text, &filled(binary, &text));
    let guide = "docs/guide.md";
    if repository(guide).exists() {
        let text = committed(guide.into());
        assert_same(guide, &text, &filled(binary, &text));
    }
    for (shell, path) in [("bash", format!("bash/{name}")), ("zsh", format!("zsh/_{name}"))] {
        let path = format!("docs/completions/{path}");
        assert_same(&path, &committed(path.clone()), &asked(binary, shell, ""));
    }
}

/// Returns a document with this program's parts made again.
#[must_use]
pub fn filled(binary: &str, document: &str) -> String {
    asked(binary, "fill", document)
}

/// Every mark of the guide names a program: a slip of the keyboard would leave its table empty for ever.
///
/// # Panics
/// One does not.
pub fn check_marks_of_guide() {
    let Ok(guide) = std::fs::read_to_string(repository("docs/guide.md")) else { return };
    for line in guide.lines() {
        let mark = line.strip_prefix("<!-- options: ").and_then(|line| line.strip_suffix(" -->"));
        assert!(mark.is_none_or(|name| PROGRAMS.contains(&name)), "no program: {line}");
    }
}

/// `--help` and `--version` end without a word when their reader has gone.
///
/// # Panics
/// They say something, or fail.
pub fn check_closed_output(binary: &str) {
    for flag in ["--help", "-V"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader); // as `head -1` ends when it has its line
        let mut command = Command::new(binary);
        command.arg(flag).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let output =
            command.spawn().and_then(std::process::Child::wait_with_output).expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{flag}: {}: {said}", output.status);
    }
}

/// What bash offers for the last word of a command line, by the committed completion.
///
/// # Panics
/// bash fails, or says anything on standard error.
#[must_use]
pub fn completed(program: &str, words: &[&str]) -> Vec<String> {
    let script = repository(&format!("docs/completions/bash/{program}"));
    let mut command = Command::new("bash");
    let code = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \"_$1\"; \
                printf '%s\\n' \"${COMPREPLY[@]}\"";
    command.args(["--norc", "-c", code]).arg(script).arg(program).args(words);
    let output = run(command, b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{words:?}: {}: {said}", output.status);
    let offered = String::from_utf8(output.stdout).expect("a text");
    offered.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn asked(binary: &str, form: &str, stdin: &str) -> String {
    let mut command = Command::new(binary);
    command.args(["--options", form]);
    let output = run(command, stdin.as_bytes());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{binary} --options {form}: {said}");
    String::from_utf8(output.stdout).expect("a text")
}

fn assert_same(what: &str, committed: &str, made: &str) {
    let differs = committed.lines().zip(made.lines()).find(|(left, right)| left != right);
    assert!(committed == made, "{what} is not what `make options` makes: {differs:?}");
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
