//! What code could call that has taken a process over: a debugger makes the calls in it, and each is refused.

use std::fs;

use nix::errno::Errno;
use nix::libc;
use testkit::{Injected, MODELS, each_model, holders, root_can_judge, title};

use crate::common::{LETTER, TestServer, make_maildir};
use crate::separation::{keeper_of, mailbox_of};

/// Relative to no descriptor.
const AT_FDCWD: u64 = libc::AT_FDCWD as u64;
/// A descriptor of its own: the client's, the log's.
const SOME_FD: u64 = 2;

/// A user besides mrose.
const OTHER: &str = "other:{PLAIN}x:::Other:HOME/other:\n";

/// Calls that no process of ours makes that talks to clients or serves a mailbox: it would take rights,
/// start programs, reach another process or the machine. `path` is a text, `who` another process.
fn never(path: u64, who: u64) -> Vec<(i64, Vec<u64>)> {
    vec![
        (libc::SYS_execve, vec![path, 0, 0]),
        (libc::SYS_execveat, vec![AT_FDCWD, path, 0, 0, 0]),
        (libc::SYS_ptrace, vec![u64::from(libc::PTRACE_ATTACH), who]),
        (libc::SYS_process_vm_readv, vec![who, 0, 0, 0, 0, 0]),
        (libc::SYS_process_vm_writev, vec![who, 0, 0, 0, 0, 0]),
        (libc::SYS_setuid, vec![0]),
        (libc::SYS_setresuid, vec![0, 0, 0]),
        (libc::SYS_setgid, vec![0]),
        (libc::SYS_setresgid, vec![0, 0, 0]),
        (libc::SYS_setgroups, vec![0, 0]),
        (libc::SYS_capset, vec![path, path]),
        (libc::SYS_chroot, vec![path]),
        (libc::SYS_mount, vec![path, path, 0, libc::MS_BIND, 0]),
        (libc::SYS_umount2, vec![path, 0]),
        (libc::SYS_pivot_root, vec![path, path]),
        (libc::SYS_unshare, vec![libc::CLONE_NEWUSER as u64]),
        (libc::SYS_setns, vec![SOME_FD, 0]),
        (libc::SYS_mknod, vec![path, u64::from(libc::S_IFCHR), 1]),
        (libc::SYS_bpf, vec![0, path, 16]),
        (libc::SYS_perf_event_open, vec![path, 0, 0, 0, 0]),
        (libc::SYS_keyctl, vec![0, 0, 0, 0, 0]),
        (libc::SYS_add_key, vec![path, path, path, 1, 0]),
        (libc::SYS_io_uring_setup, vec![8, path]),
        (libc::SYS_userfaultfd, vec![0]),
        (libc::SYS_memfd_create, vec![path, 0]),
        (libc::SYS_pidfd_getfd, vec![SOME_FD, 0, 0]),
        (libc::SYS_init_module, vec![path, 8, path]),
        (libc::SYS_reboot, vec![0, 0, 0, 0]),
        (libc::SYS_personality, vec![0]),
        (libc::SYS_vfork, vec![]),
        (libc::SYS_fork, vec![]),
    ]
}

/// Calls that reach files by a name, sockets and other processes.
fn outside(path: u64, who: u64) -> Vec<(i64, Vec<u64>)> {
    let tcp = [libc::AF_INET as u64, libc::SOCK_STREAM as u64, 0];
    let unix = [libc::AF_UNIX as u64, libc::SOCK_DGRAM as u64, 0];
    vec![
        (libc::SYS_open, vec![path, 0, 0]),
        (libc::SYS_creat, vec![path, 0o600]),
        (libc::SYS_openat, vec![AT_FDCWD, path, 0, 0]),
        (libc::SYS_openat, vec![AT_FDCWD, path, libc::O_PATH as u64, 0]),
        (libc::SYS_open_by_handle_at, vec![AT_FDCWD, path, 0]),
        (libc::SYS_socket, tcp.to_vec()),
        (libc::SYS_socket, unix.to_vec()),
        (libc::SYS_bind, vec![SOME_FD, path, 16]),
        (libc::SYS_connect, vec![SOME_FD, path, 16]),
        (libc::SYS_kill, vec![who, 0]),
        (libc::SYS_tgkill, vec![who, who, 0]),
        (libc::SYS_pidfd_open, vec![who, 0]),
        (libc::SYS_clone, vec![libc::SIGCHLD as u64, 0, 0, 0, 0]),
        (libc::SYS_clone3, vec![path, 64]),
        (libc::SYS_chdir, vec![path]),
        (libc::SYS_unlink, vec![path]),
        (libc::SYS_chmod, vec![path, 0o777]),
        (libc::SYS_chown, vec![path, 0, 0]),
        (libc::SYS_symlink, vec![path, path]),
        (libc::SYS_mprotect, vec![path & !0xfff, 4096, libc::PROT_EXEC as u64]),
        (libc::SYS_mmap, vec![0, 4096, 5, (libc::MAP_PRIVATE | libc::MAP_ANON) as u64, !0, 0]),
        (libc::SYS_prctl, vec![libc::PR_SET_DUMPABLE as u64, 1, 0, 0, 0]),
        (libc::SYS_prlimit64, vec![0, u64::from(libc::RLIMIT_NPROC), path, 0]),
        (libc::SYS_seccomp, vec![0, 0, 0]),
    ]
}

/// Makes the calls; all must be refused, for want of permission or as unknown.
fn check_refused(what: &str, injected: &mut Injected, calls: &[(i64, Vec<u64>)]) {
    for (number, arguments) in calls {
        let result = injected.call(*number, arguments);
        let is_refused = matches!(result, Err(Errno::EPERM | Errno::EACCES | Errno::ENOSYS));
        assert!(is_refused, "{what}: call {number}: {result:?}");
    }
}

/// Its threads, the first of which is the process.
fn threads(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

#[test]
fn a_front_that_is_taken_over_can_call_nothing_that_reaches_beyond_what_it_has_open() {
    if !root_can_judge() {
        return;
    }
    each_model(&MODELS, |model| {
        let server = TestServer::with(&[LETTER], &["-m", model, "-n", "1"], "");
        let mut client = server.client();
        client.ask("USER mrose", "+OK");
        let keeper = u64::try_from(keeper_of(&server.daemon)).unwrap();
        let front = server.daemon.server_of(&client);
        for thread in threads(front) {
            let mut injected = Injected::attach(thread);
            let pid = injected.call(libc::SYS_getpid, &[]).unwrap();
            assert_eq!(pid, i64::from(front), "a call is made");
            let path = injected.text("/proc/1/environ");
            let mut calls = never(path, keeper);
            calls.extend(outside(path, keeper));
            if model == "thread" {
                // It makes threads, and their names; no process.
                calls.retain(|(number, _)| *number != libc::SYS_prctl);
            }
            check_refused(model, &mut injected, &calls);
        }
        client.ask("PASS tanstaaf", "+OK"); // it goes on
        client.ask("STAT", "+OK 1 22");
    });
}

#[test]
fn the_process_of_a_mailbox_that_is_taken_over_reaches_its_mailbox_alone() {
    if !root_can_judge() {
        return;
    }
    let server = TestServer::new(&[LETTER]);
    let mut client = server.mrose();
    let mailbox = mailbox_of(&server.daemon, &client);
    let keeper = u64::try_from(keeper_of(&server.daemon)).unwrap();
    {
        let mut injected = Injected::attach(mailbox);
        let own = injected.text(server.maildir().join("new").to_str().unwrap());
        let opened = injected.call(libc::SYS_openat, &[AT_FDCWD, own, 0, 0]).unwrap();
        injected.call(libc::SYS_close, &[opened.cast_unsigned()]).unwrap();
        // Readable for every user, but for Landlock.
        for path in ["/", "/etc/passwd", "/proc/self/status", "/tmp"] {
            let path = injected.text(path);
            let mut calls = never(path, keeper);
            calls.extend(outside(path, keeper));
            // A descriptor that only names a file gives no right to it.
            calls.retain(|(_, arguments)| arguments.get(2) != Some(&(libc::O_PATH as u64)));
            check_refused("mailbox", &mut injected, &calls);
        }
    }
    client.ask("STAT", "+OK 1 22");
}

#[test]
fn a_parent_that_is_taken_over_takes_no_rights_and_starts_no_program() {
    if !root_can_judge() {
        return;
    }
    each_model(&["fork", "prefork"], |model| {
        let server = TestServer::with(&[LETTER], &["-m", model, "-n", "2"], "");
        let client = server.client();
        let keeper = u64::try_from(keeper_of(&server.daemon)).unwrap();
        let parent = server.daemon.pid();
        assert!(!holders(server.daemon.addr(), &client).contains(&parent));
        {
            let mut injected = Injected::attach(parent);
            let path = injected.text("/bin/true");
            check_refused(model, &mut injected, &never(path, keeper));
        }
        server.mrose().ask("STAT", "+OK 1 22");
    });
}

#[test]
fn a_mailbox_process_that_says_its_last_word_and_stays_holds_up_no_other_client_of_its_worker() {
    if !root_can_judge() {
        return;
    }
    let server = TestServer::with(&[LETTER], &["-m", "prefork", "-n", "1"], OTHER);
    let maildir = server.path("other/Maildir");
    make_maildir(&maildir);
    let client = server.mrose();
    let mailbox = mailbox_of(&server.daemon, &client);
    // Exit code, bytes in and out: the end of a session, over whatever takes it.
    let end = format!("e{}", "\0".repeat(17));
    let mut injected = Injected::attach(mailbox);
    let place = injected.text(&end);
    let flags = u64::try_from(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL).unwrap();
    let sent = (3..16).filter(|fd| {
        let arguments = [*fd, place, end.len() as u64, flags, 0, 0];
        injected.call(libc::SYS_sendto, &arguments).is_ok()
    });
    assert!(sent.count() > 0, "its line takes a message");
    drop(client);
    // The process of mrose's mailbox is stopped all the time.
    let mut other = server.client();
    other.ask("USER other", "+OK");
    other.ask("PASS x", "+OK");
    other.ask("QUIT", "+OK");
    assert_eq!(title(mailbox), "pop3d: mailbox of mrose");
}
