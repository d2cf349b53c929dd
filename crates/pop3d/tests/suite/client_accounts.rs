//! pop3c with accounts in a file.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testkit::{TempDir, names, root_can_judge, run};

use crate::common::{LETTER, POP3C, TestServer, make_maildir, text};

/// A home with an accounts file.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new(accounts: &str) -> Home {
        let home = Home { dir: TempDir::new() };
        home.write(accounts);
        home
    }

    fn write(&self, accounts: &str) {
        let file = self.dir.file(".pop3crc", accounts);
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join(".pop3crc")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(POP3C);
        command.args(args).env("HOME", self.dir.path());
        command
    }

    fn pop3c(&self, args: &[&str]) -> Output {
        run(self.command(args), b"")
    }

    /// The letters of a Maildir in the home.
    fn letters(&self, maildir: &str) -> usize {
        let new = self.dir.path().join(maildir).join("new");
        if new.exists() { names(&new).len() } else { 0 }
    }
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

fn failed(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), text(&output.stderr))
}

/// mrose with one letter, levy with two.
fn two_users() -> TestServer {
    let users = "levy:{PLAIN}Monday-1pm:::L:HOME/levy:\n";
    let server = TestServer::with(&[LETTER], &["--auth-delay", "0"], users);
    make_maildir(&server.path("levy/Maildir"));
    for name in ["1.b.test", "2.b.test"] {
        server.dir.file(&format!("levy/Maildir/new/{name}"), LETTER);
    }
    server
}

fn accounts(server: &TestServer) -> String {
    let at = server.daemon.addr();
    format!(
        "host {at}\ndeliver ~/Mail\n\
         account rose\nuser mrose\npassword tanstaaf\n\
         account levy\nuser levy\npassword-command echo Monday-1pm\ndeliver mbox:~/mbox\n"
    )
}

#[test]
fn all_accounts_are_fetched_or_those_that_are_named() {
    let server = two_users();
    let home = Home::new(&accounts(&server));
    let said = ok(&home.pop3c(&["levy"]));
    assert_eq!(said, "levy: 2 new (44 octets), 0 known, 0 deleted on the server\n");
    assert_eq!(home.letters("Mail"), 0);
    let said = ok(&home.pop3c(&[]));
    let expected = "rose: 1 new (22 octets), 0 known, 0 deleted on the server\n\
                    levy: 0 new (0 octets), 2 known, 0 deleted on the server\n";
    assert_eq!(said, expected);
    assert_eq!(home.letters("Mail"), 1);
    let mbox = fs::read_to_string(home.dir.path().join("mbox")).unwrap();
    assert_eq!(mbox.matches("From MAILER-DAEMON ").count(), 2, "{mbox}");
    assert_eq!(ok(&home.pop3c(&["levy", "stat"])), "2 messages, 44 octets\n");
    assert_eq!(ok(&home.pop3c(&["--check"])).lines().count(), 2);
    assert_eq!(ok(&home.pop3c(&["-q"])), "");
    // The command line wins over the file.
    home.write(&format!("delete-after 5\n{}", accounts(&server)));
    assert_eq!(ok(&home.pop3c(&["--delete", "levy", "rose"])).matches(" deleted").count(), 2);
    assert!(server.letters().is_empty());
}

#[test]
fn a_file_that_others_may_read_or_write_is_refused() {
    let server = two_users();
    let home = Home::new(&accounts(&server));
    let shown = home.file().display().to_string();
    for mode in [0o644, 0o640, 0o606, 0o620, 0o610] {
        fs::set_permissions(home.file(), fs::Permissions::from_mode(mode)).unwrap();
        let (code, said) = failed(&home.pop3c(&["rose"]));
        assert!(said.starts_with(&format!("pop3c: {shown}: mode {mode:o} lets others")), "{said}");
        assert_eq!(code, Some(78));
    }
    fs::set_permissions(home.file(), fs::Permissions::from_mode(0o400)).unwrap();
    ok(&home.pop3c(&["rose"]));
    let link = home.dir.path().join("link");
    symlink(home.file(), &link).unwrap();
    ok(&home.pop3c(&["--rc", link.to_str().unwrap(), "rose"]));
    let (code, said) = failed(&home.pop3c(&["--rc", "/dev/null"]));
    assert!(code == Some(78) && said.contains("/dev/null: not a regular file"), "{said}");
    if root_can_judge() {
        chown(home.file(), Some(61_002), None).unwrap();
        let (code, said) = failed(&home.pop3c(&["rose"]));
        assert!(code == Some(78) && said.contains("belongs to user 61002, not to you"), "{said}");
    }
}

#[test]
fn what_is_wrong_in_the_file_is_told_by_its_line_before_any_server_is_asked() {
    let server = two_users();
    let home = Home::new("");
    let shown = home.file().display().to_string();
    for (more, expected) in [
        ("frob 1\n", ":11: frob: no such option"),
        ("timeout 0\n", ":11: --timeout '0': not a number of seconds"),
        ("deliver mda:\n", ":11: deliver: given more than once"),
        ("sasl x\n", ":11: --sasl 'x': not auto or one of"),
        ("account c\npassword x\npassword-file f\n", ": account c: password and --password-file"),
    ] {
        home.write(&format!("{}\n{more}", accounts(&server)));
        let (code, said) = failed(&home.pop3c(&[]));
        assert!(said.starts_with(&format!("pop3c: {shown}{expected}")), "{said}");
        assert_eq!((code, said.lines().count()), (Some(78), 1), "{said}");
    }
    assert!(!server.daemon.log().contains("start: pid"));
}

#[test]
fn without_a_file_or_such_an_account_the_command_line_is_wrong() {
    let server = two_users();
    let home = Home::new(&accounts(&server));
    let (code, said) = failed(&home.pop3c(&["rose", "frob"]));
    assert!(code == Some(64) && said.contains("no account 'frob' in "), "{said}");
    let (code, said) = failed(&home.pop3c(&["frob"]));
    assert!(code == Some(64) && said.contains("'frob' is no account in "), "{said}");
    fs::remove_file(home.file()).unwrap();
    let (code, said) = failed(&home.pop3c(&[]));
    assert!(code == Some(64) && said.contains("HOST is missing, and there is no "), "{said}");
    let (code, said) = failed(&home.pop3c(&["--rc", "/no/such", "rose"]));
    assert!(code == Some(78) && said.contains("/no/such: No such file or directory"), "{said}");
    home.write("# none\n");
    assert_eq!(failed(&home.pop3c(&[])).0, Some(78));
}

#[test]
fn an_account_that_fails_keeps_no_other_from_its_mail_and_says_its_name() {
    let server = two_users();
    let home = Home::new(&accounts(&server).replace("echo Monday-1pm", "exit 3"));
    let output = home.pop3c(&["-q", "levy", "rose"]);
    assert_eq!(text(&output.stdout), "");
    assert_eq!(
        failed(&output),
        (Some(69), "pop3c: levy: password command: exit status: 3\n".into())
    );
    assert_eq!(home.letters("Mail"), 1);
    home.write(&accounts(&server).replace("echo Monday-1pm", "echo wrong"));
    let (code, said) = failed(&home.pop3c(&["-q", "--apop", "never"]));
    let at = server.daemon.addr();
    assert_eq!(said, format!("pop3c: levy: {at}: PASS: -ERR [AUTH] wrong user name or password\n"));
    assert_eq!(code, Some(77));
}

#[test]
fn ids_belong_to_the_account_wherever_its_host_and_its_letters_are() {
    let server = two_users();
    let home = Home::new(&accounts(&server));
    ok(&home.pop3c(&["rose"]));
    let port = server.daemon.addr().port();
    let moved =
        accounts(&server).replacen("127.0.0.1", "LOCALHOST.", 1).replace("~/Mail", "mbox:~/m");
    home.write(&moved);
    assert!(ok(&home.pop3c(&["rose"])).starts_with("rose: 0 new (0 octets), 1 known"));
    assert_eq!(fs::read_dir(home.dir.path().join(".pop3c")).unwrap().count(), 2, "ids and lock");
    // The same without the file: the host as typed makes no difference.
    let to = home.dir.path().join("Other");
    let by = |host: &str, args: &[&str]| {
        let at = format!("{host}:{port}");
        let mut command = home.command(&["-u", "mrose", &at, "fetch", to.to_str().unwrap()]);
        command.args(args);
        ok(&run(command, b"tanstaaf\n"))
    };
    assert!(by("127.0.0.1", &[]).starts_with("1 new"));
    for host in ["localhost", "LOCALHOST.", "127.0.0.1"] {
        assert!(by(host, &[]).starts_with("0 new (0 octets), 1 known"), "{host}");
    }
    // They move with --ids.
    let ids = home.dir.path().join("elsewhere");
    let option = format!("--ids={}", ids.display());
    assert!(by("localhost", &[&option]).starts_with("0 new"));
    assert!(ids.join(format!("seen.mrose@localhost:{port}")).exists());
}

#[test]
fn ids_of_an_earlier_version_count() {
    let server = two_users();
    let home = Home::new(&accounts(&server));
    let port = server.daemon.addr().port();
    let to = TempDir::new();
    let old = to.file(&format!(".pop3c.seen.mrose@127.0.0.1:{port}"), "1.a.test\n");
    let folder: &Path = to.path();
    let at = format!("localhost:{port}");
    let command = home.command(&["-u", "mrose", &at, "fetch", folder.to_str().unwrap()]);
    assert!(ok(&run(command, b"tanstaaf\n")).starts_with("0 new (0 octets), 1 known"));
    assert!(!old.exists());
    assert!(folder.join(format!(".pop3c.seen.mrose@localhost:{port}")).exists());
}
