//! `daemonise`, step by step, and what hanging up a terminal (`hangup`) does to whom.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{Program, file_of_descriptor, state, status_field, wait_until};

const HANGUP: &str = env!("CARGO_BIN_EXE_hangup");
const DAEMONISE: &str = env!("CARGO_BIN_EXE_daemonise");

/// A line of the table.
#[derive(Debug)]
struct Row {
    pid: i32,
    ppid: i32,
    pgid: i32,
    sid: i32,
    tty: String,
    umask: String,
    files: Vec<String>,
    cwd: String,
}

fn row(line: &str, step: &str) -> Row {
    let columns: Vec<&str> = line.strip_prefix(step).unwrap().split_whitespace().collect();
    let [pid, ppid, pgid, sid] = [0, 1, 2, 3].map(|n| columns[n].parse().unwrap());
    let files = columns[6..9].iter().map(ToString::to_string).collect();
    let [tty, umask, cwd] = [4, 5, 9].map(|n| columns[n].to_owned());
    Row { pid, ppid, pgid, sid, tty, umask, files, cwd }
}

/// The row of a step that a program prints.
fn step(program: &mut Program, step: &str) -> Row {
    row(&program.line_with(step), step)
}

/// A daemon is nobody's child, so its test ends it.
struct Alive(i32);

impl Alive {
    fn lives(&self) -> bool {
        state(self.0).is_some_and(|state| state != 'Z')
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let _gone_already = kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

#[test]
fn each_step_changes_what_the_slides_say() {
    let mut program = Program::start(HANGUP, &[DAEMONISE]);
    let started = step(&mut program, "as started");
    assert_eq!((started.pgid, started.sid), (started.pid, started.pid), "{started:?}");
    assert!(started.tty.starts_with("pts/"), "{started:?}");
    let terminal = vec![format!("/dev/{}", started.tty); 3];
    assert_eq!(started.files, terminal);
    program.line_with("setsid: EPERM"); // it leads a group

    let forked = step(&mut program, "fork");
    assert_ne!(forked.pid, started.pid);
    assert_eq!((forked.ppid, forked.pgid, forked.sid), (started.pid, started.pid, started.pid));
    assert_eq!(forked.tty, started.tty);

    let leader = step(&mut program, "setsid");
    assert_eq!((leader.pid, leader.ppid), (forked.pid, forked.ppid));
    assert_eq!((leader.pgid, leader.sid), (leader.pid, leader.pid));
    assert_eq!(leader.tty, "-");

    let daemon = step(&mut program, "fork again");
    let alive = Alive(daemon.pid);
    assert_ne!(daemon.pid, leader.pid);
    assert_ne!(daemon.ppid, leader.pid); // adopted
    assert_eq!((daemon.pgid, daemon.sid), (leader.pid, leader.pid)); // and leads neither
    assert_eq!((&daemon.files, &daemon.umask), (&terminal, &started.umask));

    assert_ne!(started.cwd, "/");
    assert_eq!(daemon.cwd, started.cwd);
    assert_eq!(step(&mut program, "chdir /").cwd, "/");
    assert_eq!(step(&mut program, "umask 0").umask, "0000");
    assert_eq!(step(&mut program, "0, 1, 2 to null").files, vec!["/dev/null"; 3]);

    assert!(program.wait().success());
    for fd in 0..3 {
        assert_eq!(file_of_descriptor(daemon.pid, fd).unwrap().to_str(), Some("/dev/null"));
    }
    assert_eq!(status_field(daemon.pid, "Umask:"), "0000");
    kill(Pid::from_raw(daemon.pid), Signal::SIGTERM).unwrap();
    wait_until("SIGTERM ends the daemon", || !alive.lives());
}

#[test]
fn hanging_up_kills_the_undetached_and_not_the_daemon() {
    let both = format!("'{DAEMONISE}'; exec '{DAEMONISE}' undetached");
    let mut program = Program::start(HANGUP, &["sh", "-c", &both]);
    let daemon = Alive(step(&mut program, "fork again").pid);
    step(&mut program, "0, 1, 2 to null");
    let undetached = Alive(step(&mut program, "undetached").pid);
    assert!(daemon.lives() && undetached.lives());
    program.close_input(); // the wire is cut
    program.line_with("hung up: killed by SIGHUP");
    assert!(program.wait().success());
    assert!(!undetached.lives());
    assert!(daemon.lives());
}

#[test]
fn hanging_up_kills_also_where_nohup_has_sighup_ignored() {
    let nohup = format!("trap '' HUP; exec '{HANGUP}' '{DAEMONISE}' undetached");
    let mut program = Program::start("sh", &["-c", &nohup]);
    let undetached = Alive(step(&mut program, "undetached").pid);
    program.close_input();
    program.line_with("hung up: killed by SIGHUP");
    assert!(!undetached.lives());
}

#[test]
fn hanging_up_also_kills_a_background_job_of_the_foreground_group() {
    let behind = format!("'{DAEMONISE}' undetached & '{DAEMONISE}' undetached");
    let mut program = Program::start(HANGUP, &["sh", "-c", &behind]);
    let jobs = [(); 2].map(|()| Alive(step(&mut program, "undetached").pid));
    program.close_input();
    assert!(program.wait().success());
    for job in &jobs {
        wait_until("the job is dead", || !job.lives());
    }
}

#[test]
fn only_the_leader_of_a_session_catches_a_terminal() {
    let mut program = Program::start(HANGUP, &[DAEMONISE, "why-twice"]);
    let session = step(&mut program, "setsid");
    assert_eq!(session.tty, "-");
    let child = step(&mut program, "its child opens");
    assert_eq!((child.sid, child.tty.as_str()), (session.pid, "-"));
    let leader = step(&mut program, "the leader opens");
    assert_eq!(leader.pid, session.pid);
    assert!(leader.tty.starts_with("pts/"), "{leader:?}");
    program.line_with("exit code 0");
}

#[test]
fn without_a_terminal_of_its_own_it_detaches_all_the_same() {
    let mut program = Program::start(DAEMONISE, &[]);
    let daemon = step(&mut program, "0, 1, 2 to null");
    let alive = Alive(daemon.pid);
    assert_eq!(daemon.tty, "-");
    assert!(program.wait().success()); // nothing of ours is open any longer
    assert!(alive.lives());
}

#[test]
fn a_command_that_ends_by_itself_was_not_hung_up() {
    let mut program = Program::start(HANGUP, &["sh", "-c", "test -t 0 && echo a terminal; exit 3"]);
    assert_eq!(program.line().unwrap(), "a terminal");
    assert_eq!(program.line().unwrap(), "hung up: had ended, exit code 3");
}
