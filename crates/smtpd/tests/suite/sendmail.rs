//! smtpc called as sendmail: letters of programs, into the queue or to a server.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testkit::{TempDir, copy_program, root_can_judge, run};

use crate::common::{Fixture, LEVY, OWNER, files, give, make_home, set_mode};

const SMTPC: &str = env!("CARGO_BIN_EXE_smtpc");
const LETTER: &str = "To: Ann <ann@blue.test>\nSubject: meeting\n\nMonday at 1pm.\n";

/// A user's home, with a configuration and a queue.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Home {
        let dir = TempDir::new();
        set_mode(dir.path(), 0o711);
        make_home(&dir.path().join("home"), LEVY);
        Home { dir }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn queue(&self) -> PathBuf {
        self.dir.path().join("queue")
    }

    /// Writes the file in `~/.config`.
    fn configure(&self, text: &str) {
        let folder = self.home().join(".config/forklore");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("smtpc.conf"), text).unwrap();
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(SMTPC);
        command.arg0("/usr/sbin/sendmail").args(args).current_dir(self.home());
        command.env("HOME", self.home()).env_remove("FORKLORE_QUEUE").env_remove("XDG_CONFIG_HOME");
        command
    }

    fn sendmail(&self, args: &[&str], letter: &str) -> Output {
        let queue = self.queue().display().to_string();
        let own = ["--queue", &queue, "--helo", "topaz.test"];
        run(self.command(&[&own[..], args].concat()), letter.as_bytes())
    }

    /// The letters of the queue: envelope and text.
    fn queued(&self) -> Vec<(String, String)> {
        let mut paths = files(&self.queue().join("letters"));
        paths.sort();
        let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
        let split = |text: String| {
            let (envelope, text) = text.split_once("\n\n").unwrap();
            (format!("{envelope}\n"), text.to_owned())
        };
        paths.iter().map(read).map(split).collect()
    }

    fn the_queued(&self) -> (String, String) {
        let mut queued = self.queued();
        assert_eq!(queued.len(), 1, "{queued:?}");
        queued.remove(0)
    }
}

fn good(output: &Output) {
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

fn refused(output: &Output, code: i32, why: &str) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("sendmail: ") && said.contains(why), "{said}");
}

/// The lines of an envelope with this key.
fn values<'a>(envelope: &'a str, key: &str) -> Vec<&'a str> {
    envelope.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).collect()
}

#[test]
fn a_letter_whose_header_names_its_recipients_is_in_the_queue() {
    let home = Home::new();
    let letter = "To: Ann <ann@blue.test>, \"Smith, Joe\" <joe@blue.test>\nCc: List: levy@red.test,\n\
                  \tbob (Bob);\nBcc: secret@green.test\nSubject: meeting\n\nBcc: text\n";
    good(&home.sendmail(&["-t", "-i", "-f", "hedrick@topaz.test"], letter));
    let (envelope, text) = home.the_queued();
    assert!(envelope.starts_with("forklore letter 1\nid "), "{envelope}");
    assert_eq!(values(&envelope, "from"), ["<hedrick@topaz.test>"]);
    let to =
        ["ann@blue.test", "joe@blue.test", "levy@red.test", "bob@topaz.test", "secret@green.test"];
    assert_eq!(values(&envelope, "to"), to.map(|to| format!("<{to}>")));
    assert!(text.starts_with("Received: by topaz.test (uid "), "{text}");
    for line in
        ["\nDate: ", "\nMessage-ID: <", "\nFrom: hedrick@topaz.test\n", "\tbob@topaz.test (Bob);\n"]
    {
        assert!(text.contains(line), "{line:?}: {text}");
    }
    assert!(!text.contains("secret") && text.ends_with("\n\nBcc: text\n"), "{text}");
    assert!(files(&home.queue().join("tmp")).is_empty());
    assert_eq!(fs::metadata(home.queue()).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn the_call_forms_of_cron_mutt_and_git_are_taken() {
    for (args, from, to) in [
        (
            &["-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root"][..],
            "@topaz.test>",
            &["root@topaz.test"][..],
        ),
        (
            &["-FCronDaemon", "-odi", "-oem", "-oi", "-or0s", "levy"],
            "@topaz.test>",
            &["levy@topaz.test"],
        ),
        (
            &[
                "-oem",
                "-oi",
                "-f",
                "levy@red.test",
                "-N",
                "failure",
                "-R",
                "hdrs",
                "--",
                "a@b.test",
                "c@d.test",
            ],
            "<levy@red.test>",
            &["a@b.test", "c@d.test"],
        ),
        (&["-f", "levy@red.test", "a@b.test,c"], "<levy@red.test>", &["a@b.test", "c@topaz.test"]),
        (&["-oi", "-t", "-r", "<>"], "<>", &["ann@blue.test"]),
    ] {
        let home = Home::new();
        good(&home.sendmail(args, LETTER));
        let (envelope, text) = home.the_queued();
        assert!(values(&envelope, "from")[0].ends_with(from), "{args:?}: {envelope}");
        assert_eq!(
            values(&envelope, "to"),
            to.iter().map(|to| format!("<{to}>")).collect::<Vec<_>>()
        );
        assert!(text.ends_with("\nMonday at 1pm.\n"), "{text}");
        let has_name = args.contains(&"-FCronDaemon");
        assert_eq!(text.contains("\nFrom: CronDaemon <"), has_name, "{text}");
        let notify = if args.contains(&"-N") { &["FAILURE"][..] } else { &[] };
        assert_eq!(values(&envelope, "notify").first(), notify.first());
        assert_eq!(values(&envelope, "ret").first(), notify.first().map(|_| &"HDRS"));
    }
}

#[test]
fn a_line_of_a_dot_ends_the_letter_without_i_alone() {
    for (args, end) in [(&["a@b.test"][..], "\none\n"), (&["-i", "a@b.test"], "\none\n.\ntwo\n")] {
        let home = Home::new();
        good(&home.sendmail(args, "Subject: a\r\n\r\none\r\n.\r\ntwo"));
        assert!(home.the_queued().1.ends_with(end), "{args:?}");
    }
}

#[test]
fn eight_bits_and_utf8_are_in_the_envelope() {
    let home = Home::new();
    good(&home.sendmail(&["j\u{f6}rg@b\u{fc}ro.test"], "Subject: a\n\ngr\u{fc}n\n"));
    let (envelope, _) = home.the_queued();
    assert!(envelope.contains("\nbody 8BITMIME\nsmtputf8\n"), "{envelope}");
}

#[test]
fn a_letter_that_is_sent_on_goes_to_those_of_the_new_block() {
    let home = Home::new();
    let letter =
        "Resent-To: bob@red.test\nResent-Bcc: ann@red.test\nTo: levy@red.test\nSubject: a\n\nx\n";
    good(&home.sendmail(&["-t"], letter));
    let (envelope, text) = home.the_queued();
    assert_eq!(values(&envelope, "to"), ["<bob@red.test>", "<ann@red.test>"]);
    for line in ["\nResent-Date: ", "\nResent-Message-ID: <", "\nResent-From: "] {
        assert!(text.contains(line), "{line:?}: {text}");
    }
    assert!(!text.contains("Resent-Bcc") && !text.contains("\nDate: "), "{text}");
}

#[test]
fn what_is_wrong_is_told_by_the_exit_code_and_nothing_is_queued() {
    let home = Home::new();
    for (args, letter, code, why) in [
        (&[][..], LETTER, 64, "an address is missing"),
        (&["-z"], LETTER, 64, "-z: no such option"),
        (&["two words@red.test"], LETTER, 64, "address"),
        (&["levy@red.test", "-f", "x"], LETTER, 64, "before the addresses"),
        (&["-f", "a@b@c", "levy"], LETTER, 64, "address"),
        (&["-bd"], LETTER, 64, "smtpd(8)"),
        (&["-t"], "Subject: a\n\nx\n", 65, "no recipient"),
        (&["-t"], "To: two words\n\nx\n", 65, "To: "),
        (&["-t"], "To: ann@blue.test\nBcc: <x\n\nx\n", 65, "Bcc: "),
        (&["-t"], "To: List: ;\n\nx\n", 65, "no recipient"),
    ] {
        refused(&home.sendmail(args, letter), code, why);
        assert!(home.queued().is_empty(), "{args:?}");
    }
    let output = home.sendmail(&["-oeq", "-t"], "Subject: a\n\nx\n");
    assert_eq!(output.status.code(), Some(65));
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_queue_is_that_of_the_option_or_of_the_environment_or_of_the_configuration() {
    let home = Home::new();
    let folder = |name: &str| home.dir.path().join(name);
    home.configure(&format!("# mine\nqueue {}\nhelo topaz.test\n", folder("c").display()));
    let count = |name: &str| files(&folder(name).join("letters")).len();
    let made = |names: &[&str]| {
        ["a", "b", "c"].map(|name| if names.contains(&name) { count(name) } else { 0 })
    };
    good(&run(home.command(&["ann@blue.test"]), LETTER.as_bytes()));
    assert_eq!(made(&["c"]), [0, 0, 1]);
    let mut command = home.command(&["ann@blue.test"]);
    command.env("FORKLORE_QUEUE", folder("b"));
    good(&run(command, LETTER.as_bytes()));
    assert_eq!(made(&["b", "c"]), [0, 1, 1]);
    let mut command = home.command(&["--queue", folder("a").to_str().unwrap(), "ann@blue.test"]);
    command.env("FORKLORE_QUEUE", folder("b"));
    good(&run(command, LETTER.as_bytes()));
    assert_eq!(made(&["a", "b", "c"]), [1, 1, 1]);
    let other = home.dir.file("other.conf", format!("queue {}\n", folder("a").display()));
    good(&run(home.command(&["--config", other.to_str().unwrap(), "bob"]), LETTER.as_bytes()));
    assert_eq!(made(&["a", "b", "c"]), [2, 1, 1]);
}

#[test]
fn a_wrong_configuration_is_78() {
    let home = Home::new();
    home.configure("queue /q\nfrob 1\n");
    refused(
        &run(home.command(&["ann@blue.test"]), LETTER.as_bytes()),
        78,
        "smtpc.conf:2: frob: no such option",
    );
    home.configure("");
    set_mode(&home.home().join(".config/forklore/smtpc.conf"), 0o666);
    refused(&run(home.command(&["ann@blue.test"]), LETTER.as_bytes()), 78, "writable by others");
}

#[test]
fn a_letter_goes_to_the_server_of_the_configuration_where_there_is_no_queue() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let daemon = fixture.serve(&[]);
    home.configure(&format!("server {}\nhelo topaz.test\n", daemon.addr()));
    let letter = "To: levy@red.test\nBcc: bob@red.test\nSubject: a\n\n.x\n";
    good(&run(home.command(&["-ti", "-f", "ann@topaz.test"]), letter.as_bytes()));
    for user in ["levy", "bob"] {
        let text = fixture.letter(user);
        assert!(text.starts_with("To: levy@red.test\nSubject: a\nDate: "), "{text}");
        assert!(text.contains("\nFrom: ann@topaz.test\n\n.x\n") && !text.contains("Bcc"), "{text}");
    }
    let output = run(home.command(&["nobody-here@red.test", "levy@red.test"]), LETTER.as_bytes());
    assert_eq!(output.status.code(), Some(67), "{output:?}");
    assert_eq!(fixture.letters("levy").len(), 2);
}

#[test]
fn a_queue_that_is_not_ones_own_is_left_for_the_server() {
    if !root_can_judge() {
        return;
    }
    let (home, fixture) = (Home::new(), Fixture::new());
    let daemon = fixture.serve(&[]);
    make_home(&home.queue(), OWNER);
    set_mode(&home.queue(), 0o700);
    let queue = home.queue().display().to_string();
    home.configure(&format!("server {}\nqueue {queue}\n", daemon.addr()));
    for part in [".config", ".config/forklore", ".config/forklore/smtpc.conf"] {
        give(&home.home().join(part), LEVY);
    }
    let mut command = home.command(&["levy@red.test"]);
    command.uid(LEVY).gid(LEVY);
    good(&run(command, LETTER.as_bytes()));
    assert_eq!(fixture.letters("levy").len(), 1);
    // Where the command line names it, no other place will do.
    let mut command = home.command(&["--queue", &queue, "levy@red.test"]);
    command.uid(LEVY).gid(LEVY);
    refused(&run(command, LETTER.as_bytes()), 75, "queue: ");
    assert_eq!(fixture.letters("levy").len(), 1);
}

#[test]
fn root_puts_letters_in_as_the_owner_of_the_queue() {
    if !root_can_judge() {
        return;
    }
    let home = Home::new();
    make_home(&home.queue(), OWNER);
    set_mode(&home.queue(), 0o700);
    good(&home.sendmail(&["ann@blue.test"], LETTER));
    let paths = files(&home.queue().join("letters"));
    assert_eq!(paths.len(), 1);
    for path in [&paths[0], &home.queue().join("letters"), &home.queue().join("tmp")] {
        assert_eq!(fs::metadata(path).unwrap().uid(), OWNER, "{}", path.display());
    }
}

#[test]
fn a_letter_that_nobody_takes_is_75_and_kept_for_a_program_that_wants_mail_about_errors() {
    let home = Home::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    home.configure(&format!("server {}\nqueue /no/such/folder\n", listener.local_addr().unwrap()));
    drop(listener);
    let output = run(home.command(&["levy@red.test"]), LETTER.as_bytes());
    refused(&output, 75, "Connection refused; queue: ");
    let dead = home.home().join("dead.letter");
    assert!(!dead.exists());
    for count in 1..=2 {
        let output =
            run(home.command(&["-oem", "-i", "levy@red.test"]), b"Subject: a\n\nFrom x\n.\ny\n");
        refused(&output, 75, &format!("the letter is in {}", dead.display()));
        let text = fs::read_to_string(&dead).unwrap();
        assert_eq!(
            text.matches("\nX-Envelope-To: levy@red.test\nSubject: a\n\n>From x\n.\ny\n\n").count(),
            count,
            "{text}"
        );
    }
    assert_eq!(fs::metadata(&dead).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_queue_that_others_may_use_takes_no_letter() {
    let home = Home::new();
    good(&home.sendmail(&["ann@blue.test"], LETTER));
    set_mode(&home.queue().join("letters"), 0o755);
    refused(&home.sendmail(&["ann@blue.test"], LETTER), 75, "others may use it");
    assert_eq!(home.queued().len(), 1);
}

#[test]
fn smtp_is_spoken_on_standard_input_and_output() {
    let home = Home::new();
    let session = "EHLO x\r\nMAIL FROM:<levy@red.test> RET=HDRS ENVID=7 BODY=8BITMIME\r\nDATA\r\n\
                   RCPT TO:<ann@blue.test> NOTIFY=NEVER ORCPT=rfc822;a@b\r\nRCPT TO:<bob>\r\nDATA\r\n\
                   Subject: a\r\nBcc: x@y.test\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\n\
                   DATA\r\nbare\nlf\r\n.\r\nFROB\r\nRSET\r\nRCPT TO:<c@d.test>\r\nVRFY x\r\nQUIT\r\n";
    let output = home.sendmail(&["-bs"], session);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let codes: Vec<&str> =
        said.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| &line[..3]).collect();
    let expected = "220 250 250 503 250 250 354 250 250 250 354 550 500 250 503 252 221";
    assert_eq!(codes.join(" "), expected, "{said}");
    let (envelope, text) = home.the_queued();
    assert_eq!(values(&envelope, "to"), ["<ann@blue.test>", "<bob@topaz.test>"]);
    assert_eq!(
        (values(&envelope, "notify"), values(&envelope, "orcpt")),
        (vec!["NEVER"], vec!["rfc822;a@b"])
    );
    assert_eq!((values(&envelope, "ret"), values(&envelope, "envid")), (vec!["HDRS"], vec!["7"]));
    assert!(
        text.contains("\nDate: ") && !text.contains("Bcc") && text.ends_with("\n\n.dot\n"),
        "{text}"
    );
}

#[test]
fn a_session_that_breaks_in_its_letter_leaves_nothing() {
    let home = Home::new();
    let session = "HELO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nSubject: a\r\n\r\nhalf\r\n";
    let output = home.sendmail(&["-bs"], session);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(home.queued().is_empty() && files(&home.queue().join("tmp")).is_empty());
}

#[test]
fn the_queue_is_listed_and_tried_by_smtpq() {
    let home = Home::new();
    let bin = home.dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    copy_program(Path::new(SMTPC), &bin.join("smtpc"));
    home.dir.program("bin/smtpq", "#!/bin/sh\necho \"$@\"\nexit 3\n");
    let queue = home.queue().display().to_string();
    for (name, args, option) in [
        ("sendmail", &["-bp"][..], "--list"),
        ("mailq", &[], "--list"),
        ("sendmail", &["-q"], "--flush"),
        ("sendmail", &["-q30m"], "--flush"),
    ] {
        let mut command = Command::new(bin.join("smtpc"));
        command.arg0(name).args(args).env("HOME", home.home()).env("FORKLORE_QUEUE", &queue);
        let output = run(command, b"");
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!("{option} --queue {queue}\n")
        );
    }
    refused(&run(home.command(&["-bp"]), b""), 78, "no queue");
    good(&run(home.command(&["-bi"]), b""));
}

#[test]
fn smtpc_puts_a_letter_into_the_queue_as_it_is() {
    let home = Home::new();
    let queue = home.queue().display().to_string();
    let mut command = Command::new(SMTPC);
    command.args(["--queue", &queue, "-f", "hedrick@topaz.test", "levy@red.test"]);
    good(&run(command, b"Subject: a\r\nBcc: x\r\n\r\n.\r\ny"));
    let (envelope, text) = home.the_queued();
    assert_eq!(
        (values(&envelope, "from"), values(&envelope, "to")),
        (vec!["<hedrick@topaz.test>"], vec!["<levy@red.test>"])
    );
    assert_eq!(text, "Subject: a\nBcc: x\n\n.\ny\n");
}

#[test]
fn the_account_of_the_configuration_is_for_its_server_alone() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let daemon = fixture.serve(&[]);
    home.configure("server relay.test:26\nuser levy\npassword-file /no/such/file\ntls\n");
    let mut command = Command::new(SMTPC);
    command.env("HOME", home.home()).env_remove("XDG_CONFIG_HOME");
    command.args(["-s", &daemon.addr().to_string(), "--helo", "topaz.test", "levy@red.test"]);
    good(&run(command, LETTER.as_bytes()));
    assert_eq!(fixture.letters("levy").len(), 1);
}

#[test]
fn help_names_the_options_of_sendmail() {
    let home = Home::new();
    let output = run(home.command(&["--help"]), b"");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("Usage: sendmail "));
}
