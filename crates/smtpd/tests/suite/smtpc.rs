//! The client against the server.

use crate::common::*;

use std::fs::File;
use std::process::{Command, Output, Stdio};

use testkit::{Daemon, run};

const SMTPC: &str = env!("CARGO_BIN_EXE_smtpc");

/// Sends `letter` from hedrick@topaz.test.
fn smtpc(daemon: &Daemon, more: &[&str], letter: impl AsRef<[u8]>) -> Output {
    let mut command = Command::new(SMTPC);
    command.args(["-s", &daemon.addr().to_string(), "--helo", "topaz.test", "-f", "hedrick"]);
    command.args(more);
    run(command, letter.as_ref())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into()
}

#[test]
fn the_letter_of_the_slides_arrives() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let output = smtpc(&daemon, &["levy@red.test"], LETTER);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(fixture.letter("levy"), LETTER.replace("\r\n", "\n"));
    assert!(fixture.letters("levy")[0].starts_with("Return-Path: <hedrick@topaz.test>\n"));
}

#[test]
fn every_shape_of_text_arrives_as_the_lines_it_has() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    for (sent, arrived) in [
        ("", ""),
        ("\n", "\n"),
        ("no end", "no end\n"),
        ("a\nb\n", "a\nb\n"),
        ("a\r\nb\n", "a\nb\n"),
        (".\n..\n...x\n.", ".\n..\n...x\n.\n"),
        ("a\n.\nQUIT\n", "a\n.\nQUIT\n"),
        ("a\rb\n.\rc\n", "a\nb\n.\nc\n"),
        ("x\r\n.\r\ny", "x\n.\ny\n"),
        ("nul \0 and \x1b", "nul \0 and \x1b\n"),
    ] {
        let output = smtpc(&daemon, &["levy@red.test"], sent);
        assert!(output.status.success(), "{sent:?}: {output:?}");
        assert_eq!(fixture.letter("levy"), arrived, "{sent:?}");
        std::fs::remove_dir_all(fixture.maildir("levy")).unwrap();
    }
}

#[test]
fn a_large_letter_arrives_from_a_pipe_and_from_a_file() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let letter: String = (0..50_000).map(|n| format!(".{n} {}\n", "x".repeat(n % 80))).collect();
    let output = smtpc(&daemon, &["levy@red.test"], &letter);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fixture.letter("levy"), letter);

    let path = fixture.dir.file("letter", &letter);
    let mut command = Command::new(SMTPC);
    command.args(["-s", &daemon.addr().to_string(), "bob@red.test"]);
    command.stdin(File::open(path).unwrap()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    assert_eq!(fixture.letter("bob"), letter);
}

#[test]
fn octets_over_127_are_declared() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let output = smtpc(&daemon, &["-v", "levy@red.test"], "gr\u{fc}n\n");
    assert!(output.status.success(), "{output:?}");
    let mail = "C: MAIL FROM:<hedrick@topaz.test> SIZE=7 BODY=8BITMIME\n";
    assert!(stderr(&output).contains(mail), "{}", stderr(&output));
    assert_eq!(fixture.letter("levy"), "gr\u{fc}n\n");
}

#[test]
fn the_dialogue_is_shown_on_wish() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let output = smtpc(&daemon, &["-v", "levy@red.test"], LETTER);
    let shown = stderr(&output);
    for line in [
        "S: 220 red.test ",
        "C: EHLO topaz.test\n",
        "S: 250 HELP\n",
        "C: MAIL FROM:<hedrick@topaz.test>",
        "C: RCPT TO:<levy@red.test>\n",
        "C: DATA\n",
        "S: 354 ",
        "C: Subject: meeting\nC: \nC: Let's",
        "C: .\nS: 250 2.0.0 ",
        "C: QUIT\nS: 221 ",
    ] {
        assert!(shown.contains(line), "{line:?} is not in\n{shown}");
    }
}

#[test]
fn refused_recipients_are_named_and_the_others_get_the_letter() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let to = ["x@red.test", "levy@red.test", "y@blue.test", "bob@red.test"];
    let output = smtpc(&daemon, &to, LETTER);
    assert_eq!(output.status.code(), Some(67));
    let text = stderr(&output);
    assert!(text.contains("recipient <x@red.test>: 550 5.1.1 "), "{text}");
    assert!(text.contains("recipient <y@blue.test>: 550 5.7.1 "), "{text}");
    assert!(text.ends_with("smtpc: 2 of 4 recipients were refused\n"), "{text}");
    assert!(!text.contains("levy") && !text.contains("bob"), "{text}");
    assert_eq!((fixture.letters("levy").len(), fixture.letters("bob").len()), (1, 1));
}

#[test]
fn hundreds_of_recipients_are_pipelined() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let to = vec!["levy@red.test"; 950];
    let output = smtpc(&daemon, &to, LETTER);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fixture.letters("levy").len(), 1);
}

#[test]
fn nobody_left_is_an_error_and_nothing_is_sent() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let output = smtpc(&daemon, &["x@red.test"], LETTER);
    assert_eq!(output.status.code(), Some(67));
    assert!(stderr(&output).contains("every recipient was refused"), "{output:?}");
    fixture.assert_nothing();
}

#[test]
fn a_letter_over_the_servers_size_is_not_even_offered() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&["--max-size", "1000"]);
    let output = smtpc(&daemon, &["levy@red.test"], "x".repeat(999));
    assert_eq!(output.status.code(), Some(65));
    assert!(stderr(&output).contains("1001 octets, the server takes 1000"), "{output:?}");
    assert!(smtpc(&daemon, &["levy@red.test"], "x".repeat(998)).status.success());
}

#[test]
fn a_wrong_command_line_is_exit_64_and_says_what_is_wrong() {
    for (args, says) in [
        (&["--resolver", "localhost", "a@b"][..], "--resolver 'localhost'"),
        (&["--resolver", "127.0.0.1:1", "--port", "0", "a@b"][..], "--port '0'"),
        (&["--resolver", "127.0.0.1:1", "-u", "levy", "a@b"][..], "-u goes with -s"),
        (&["--resolver", "127.0.0.1:1", "-s", "127.0.0.1:1", "a@b"][..], "--resolver"),
        (&["-s", "127.0.0.1:1"][..], "TO is missing"),
        (&["-s", "127.0.0.1:x", "a@b"][..], "not HOST or HOST:PORT"),
        (&["-s", "127.0.0.1:1", "a@b\r\nDATA"][..], "address 'a@b\\r\\nDATA'"),
        (&["-s", "127.0.0.1:1", "-t", "x", "a@b"][..], "--timeout 'x'"),
        (&["--frob"][..], "frob"),
    ] {
        let mut command = Command::new(SMTPC);
        command.args(args);
        let output = run(command, b"");
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(stderr(&output).contains(says), "{output:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_exit_75() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let addr = daemon.addr().to_string();
    assert!(daemon.stop().success());
    let mut command = Command::new(SMTPC);
    command.args(["-s", &addr, "levy@red.test"]);
    let output = run(command, LETTER.as_bytes());
    assert_eq!(output.status.code(), Some(75));
    assert_eq!(stderr(&output), format!("smtpc: connect to {addr}: Connection refused\n"));
}

#[test]
fn a_file_of_the_name_of_a_temporary_file_is_in_nobodys_way() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    // The shell becomes smtpc and keeps its process id.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", ": >\"$TMPDIR/smtpc-$$\"; exec \"$@\"", "sh", SMTPC]);
    command.args(["-s", &daemon.addr().to_string(), "-f", "", "levy@red.test"]);
    command.env("TMPDIR", fixture.dir.path());
    let output = run(command, LETTER.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fixture.letter("levy"), LETTER.replace("\r\n", "\n"));
}
