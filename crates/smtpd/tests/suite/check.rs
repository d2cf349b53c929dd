//! `--check` and `--config` with what smtpd alone reads: domains, the users file, the postmaster.

use crate::common::{OWNER, SMTPD, give, with_root};
use testkit::{TempDir, command, run};

fn checked(args: &[&str]) -> (Option<i32>, String) {
    let output = run(command(SMTPD, &with_root(&[&["--check"], args].concat())), b"");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_the_daemon_would_read_at_its_start_is_read() {
    let dir = TempDir::new();
    let users = dir.file("users", "levy:x:::Levy:/home/levy:\n").display().to_string();
    assert_eq!(checked(&["--users", &users, "--postmaster", "levy"]), (Some(0), String::new()));
    for (args, complaint) in [
        (&["--users", "/no/file"][..], "users /no/file: No such file or directory"),
        (&["--users", &users, "--postmaster", "mrose"], "--postmaster 'mrose': no such user"),
        (&["--users", &users, "--domain", "a b"], "--domain 'a b': not a domain"),
    ] {
        assert_eq!(checked(args), (Some(1), format!("smtpd: {complaint}\n")));
    }
}

#[test]
fn a_domain_of_the_file_is_one_more_and_a_wrong_one_is_named_with_its_line() {
    let dir = TempDir::new();
    let users = dir.file("users", "levy:x:::Levy:/home/levy:\n").display().to_string();
    let file = dir.file("c", "domain red.test\ndomain a..b\nstrict-space\n").display().to_string();
    let (code, said) = checked(&["--users", &users, "--config", &file, "--domain", "topaz.test"]);
    assert_eq!(
        (code, said),
        (Some(1), format!("smtpd: {file}:2: --domain 'a..b': not a domain\n"))
    );
}

/// A start only warns of them, because the other lines of these files hold.
#[test]
fn what_a_start_would_warn_of_is_a_fault() {
    let dir = TempDir::new();
    let users = dir.file("users", "levy:x:::Levy:/home/levy:\n").display().to_string();
    let aliases = dir.file("aliases", "staff: levy\nno colon\n").display().to_string();
    for quiet in [&[][..], &["-qq"]] {
        let (code, said) = checked(&[quiet, &["--users", &users, "--aliases", &aliases]].concat());
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("aliases {aliases}:2: no name and colon\n")), "{said}");
        assert!(said.ends_with("smtpd: 1 warning\n"), "{said}");
    }
}

#[test]
fn the_queue_is_looked_at_and_not_made() {
    let dir = TempDir::new();
    let users = dir.file("users", "levy:x:::Levy:/home/levy:\n").display().to_string();
    let queue = dir.path().join("queue");
    let ends =
        |path: &std::path::Path| checked(&["--users", &users, "--queue", path.to_str().unwrap()]);
    assert_eq!(ends(&queue), (Some(0), String::new()));
    assert!(!queue.exists());
    let why = "smtpd: queue: /no: No such file or directory\n";
    assert_eq!(ends("/no/folder/queue".as_ref()), (Some(1), why.to_owned()));
    std::fs::create_dir(&queue).unwrap();
    assert_eq!(ends(&queue), (Some(0), String::new()));
    dir.file("queue/letters", "");
    let (code, said) = ends(&queue);
    assert_eq!(code, Some(1));
    assert!(said.ends_with("queue/letters: Not a directory\n"), "{said}");
}

#[test]
fn what_letters_will_need_is_looked_at_too() {
    let dir = TempDir::new();
    let users = dir.file("users", "levy:x:::Levy:/home/levy:\n").display().to_string();
    let file = dir.file("plain", "").display().to_string();
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    give(&folder, OWNER);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("folder", &link).unwrap();
    let (folder, link) = (folder.display().to_string(), link.display().to_string());
    let (mda, then) = ("--mda: command ", "letters will be refused for now");
    let back = "letters that a filter keeps back will be refused for now";
    let roots = "belongs to root, and not to an ordinary user";
    for (option, value, said) in [
        ("--mda", "/no/program %u", format!("{mda}/no/program: No such file or directory: {then}")),
        ("--mda", &file, format!("{mda}{file}: Permission denied: {then}")),
        ("--mda", "/bin/true %u", String::new()),
        (
            "--quarantine",
            "/no/folder",
            format!("--quarantine /no/folder: No such file or directory: {back}"),
        ),
        ("--quarantine", &file, format!("--quarantine {file}: Not a directory: {back}")),
        ("--quarantine", "/usr", format!("--quarantine /usr: {roots}: {back}")),
        ("--quarantine", &link, format!("--quarantine {link}: Not a directory: {back}")),
        ("--quarantine", &folder, String::new()),
        (
            "--terminal",
            "/no/folder",
            "--terminal /no/folder: No such file or directory: there are no terminals for now"
                .into(),
        ),
        ("--terminal", &folder, String::new()),
    ] {
        let argument = format!("{option}={value}");
        let more =
            if option == "--quarantine" { &["--milter", "unix:/no/filter"][..] } else { &[] };
        let (code, heard) = checked(&[&["--users", &users, &argument], more].concat());
        assert_eq!(code, Some(i32::from(!said.is_empty())), "{argument}: {heard}");
        assert!(heard.contains(&said), "{argument}: {heard}");
    }
}
