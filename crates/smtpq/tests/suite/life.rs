//! The life of the runner: it finds new letters at once, bounds its processes, ends in order.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::mail_server::{Came, MailServer};
use testkit::{children, run, title, wait_title, wait_until};

use crate::common::{Site, said, stuck, stuck_at};

#[test]
fn a_new_letter_is_sent_at_once() {
    let (site, server) = (Site::new(), MailServer::start(|_| None));
    let runner = site.start(&server.port(), &[]);
    for number in 1..4 {
        site.put(&["bob@red.test"]);
        // The queue is looked at every five minutes; the watchdog bites before.
        wait_until("the letter is there", || server.letters().len() == number);
        site.wait_empty();
    }
    assert!(runner.errors().contains("0 letters\n"), "{}", runner.errors());
}

#[test]
fn a_letter_that_is_linked_into_the_queue_is_found_too() {
    let (site, server) = (Site::new(), MailServer::start(|_| None));
    let name = site.put(&["bob@red.test"]);
    let letter = site.queue.join("letters").join(&name);
    let elsewhere = site.queue.join("tmp").join("x");
    std::fs::rename(&letter, &elsewhere).unwrap();
    let _runner = site.start(&server.port(), &[]);
    std::fs::hard_link(&elsewhere, &letter).unwrap();
    site.wait_empty();
    assert_eq!(server.letters().len(), 1);
}

#[test]
fn sigterm_lets_a_letter_that_is_being_sent_come_to_its_end() {
    let (server, sender) = stuck();
    let site = Site::new();
    site.put(&["bob@red.test"]);
    let mut runner = site.start(&server.port(), &[]);
    wait_until("it is being sent", || server.letters().len() == 1);
    let child = children(runner.pid())[0];
    assert_eq!(title(child), "smtpq: red.test, 1 letter");
    wait_title(runner.pid(), "smtpq: parent, 1 of 20 jobs");
    runner.signal(Signal::SIGTERM);
    runner.wait_errors("stopping: 1 jobs");
    drop(sender);
    assert!(runner.wait().success(), "{}", runner.errors());
    assert!(site.names("letters").is_empty() && server.letters().len() == 1);
}

#[test]
fn one_that_does_not_end_is_ended_and_its_letter_stays() {
    let (server, sender) = stuck_at(|came| matches!(came, Came::Command(line) if line == "DATA"));
    let site = Site::new();
    let name = site.put(&["bob@red.test"]);
    let mut runner = site.start(&server.port(), &["--grace", "0"]);
    wait_until("it is being sent", || !server.commands("DATA").is_empty());
    runner.signal(Signal::SIGTERM);
    assert!(runner.wait().success(), "{}", runner.errors());
    assert_eq!(site.names("letters"), [name]);
    drop(sender);
}

#[test]
fn a_process_that_works_too_long_is_ended_and_its_letter_waits() {
    let (server, sender) = stuck_at(|came| matches!(came, Came::Command(line) if line == "DATA"));
    let site = Site::new();
    site.put(&["bob@red.test"]);
    let runner = site.start(&server.port(), &["--deadline", "1"]);
    runner.wait_errors("the limit of --deadline");
    wait_until("it is gone", || children(runner.pid()).is_empty());
    assert_eq!(site.names("letters").len(), 1);
    drop(sender);
}

#[test]
fn sighup_and_sigusr1_are_as_everywhere() {
    let (site, server) = (Site::new(), MailServer::start(|_| None));
    let mut runner = site.start(&server.port(), &[]);
    runner.signal(Signal::SIGHUP);
    runner.wait_errors("SIGHUP: new jobs use the files as they are now");
    runner.signal(Signal::SIGUSR1);
    runner.wait_errors("0 of 20 jobs");
    runner.wait_errors("0 letters, 0 of them held");
    runner.signal(Signal::SIGINT);
    assert!(runner.wait().success());
}

#[test]
fn a_queue_has_one_runner_and_its_lock_ends_with_it() {
    let (site, server) = (Site::new(), MailServer::start(|_| None));
    let mut runner = site.start(&server.port(), &[]);
    let second = run(site.command(&server.port(), &[]), b"");
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another runner has it"), "{}", said(&second));
    runner.signal(Signal::SIGKILL);
    let _killed = runner.wait();
    let _third = site.start(&server.port(), &[]);
}

#[test]
fn a_daemon_is_ready_when_its_starting_command_ends() {
    let (site, server) = (Site::new(), MailServer::start(|_| None));
    let pid_file = site.queue.parent().unwrap().join("pid");
    let started = run(site.command(&server.port(), &["-d", "-p", pid_file.to_str().unwrap()]), b"");
    assert!(started.status.success(), "{}", said(&started));
    site.put(&["bob@red.test"]);
    site.wait_empty();
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_until("it has ended", || !pid_file.exists());
}

#[test]
fn what_is_wrong_with_the_queue_is_told_at_the_start() {
    let mut site = Site::new();
    let ends = |site: &Site, args: &[&str]| {
        let output = run(site.command("25", args), b"");
        (output.status.code(), said(&output))
    };
    assert_eq!(ends(&site, &["--check"]), (Some(0), String::new()));
    for args in [&["--check", "--require-tls"][..], &["--check"], &["--once"]] {
        let wrong = [args, &["--ca-file", "/no/file"]].concat();
        let why = "smtpq: certificate /no/file: No such file or directory\n";
        assert_eq!(ends(&site, &wrong), (Some(1), why.to_owned()), "{args:?}");
    }
    let real = std::mem::replace(&mut site.queue, "/no/folder/queue".into());
    for args in ["--check", "--once"] {
        let why = "smtpq: queue: /no: No such file or directory\n";
        assert_eq!(ends(&site, &[args]), (Some(1), why.to_owned()), "{args}");
    }
    site.queue = real.join("tmp").join("new");
    let (code, why) = ends(&site, &["--check"]);
    assert!(code == Some(0) || geteuid().is_root() && why.contains("others than root"), "{why}");
    assert!(!site.queue.exists(), "--check makes nothing");
}

#[test]
fn a_runner_begins_while_processes_of_a_killed_one_still_send() {
    let (server, sender) = stuck_at(|came| matches!(came, Came::Command(line) if line == "DATA"));
    let site = Site::new();
    site.put(&["bob@red.test"]);
    let runner = site.start(&server.port(), &[]);
    wait_until("it is being sent", || !server.commands("DATA").is_empty());
    let child = children(runner.pid())[0];
    runner.signal(Signal::SIGKILL);
    wait_until("the parent has ended", || title(runner.pid()).is_empty());
    assert_eq!(title(child), "smtpq: red.test, 1 letter");
    let _next = site.start(&server.port(), &[]);
    drop(sender);
    wait_until("the letter is there", || server.letters().len() == 1);
    site.wait_empty();
}
