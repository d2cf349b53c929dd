//! What the process that talks to another server has: its letters, and nothing else.

use testkit::{children, limit_of, open_files, status_field, wait_until};

use crate::common::{Site, stuck};

#[test]
fn the_process_that_talks_to_a_server_has_its_letters_and_nothing_else() {
    let (server, go) = stuck();
    let site = Site::new();
    let its = site.put(&["bob@red.test"]);
    let others = [site.put(&["ann@blue.test"]), site.put(&["eve@green.test"])];
    site.ask(&["--hold", &others[1]]);
    let runner = site.start(&server.port(), &[]);
    wait_until("both are being sent", || server.letters().len() == 2);
    let of = |domain: &str| {
        let children = children(runner.pid());
        children.into_iter().find(|pid| testkit::title(*pid).contains(domain)).unwrap()
    };
    let child = of("red.test");
    assert_eq!(status_field(child, "Seccomp:"), "2");
    assert_eq!(status_field(child, "NoNewPrivs:"), "1");
    assert_eq!(limit_of(child, "Max processes"), [Some(0), Some(0)]);
    let open = open_files(child);
    let text = format!("{open:?}");
    assert!(
        text.contains(&format!("letters/{its}")) && text.contains(&format!("state/{its}")),
        "{text}"
    );
    for other in &others {
        assert!(!text.contains(other), "{text}");
    }
    drop(go);
}

/// Calls that would reach a file, another process, or another port by this socket and address.
#[cfg(target_arch = "x86_64")]
fn outside(path: u64, (made, address): (u64, u64), parent: u64) -> Vec<(i64, Vec<u64>)> {
    use nix::libc;

    let (cwd, stream) = (libc::AT_FDCWD as u64, libc::SOCK_STREAM as u64);
    vec![
        (libc::SYS_openat, vec![cwd, path, 0, 0]),
        (libc::SYS_openat, vec![cwd, path, libc::O_RDWR as u64, 0]),
        (libc::SYS_open, vec![path, 0, 0]),
        (libc::SYS_unlinkat, vec![cwd, path, 0]),
        (libc::SYS_renameat2, vec![cwd, path, cwd, path, 0]),
        (libc::SYS_execve, vec![path, 0, 0]),
        (libc::SYS_fork, vec![]),
        (libc::SYS_kill, vec![parent, libc::SIGKILL as u64]),
        (libc::SYS_ptrace, vec![libc::PTRACE_ATTACH.into(), parent]),
        (libc::SYS_process_vm_readv, vec![parent, 0, 0, 0, 0, 0]),
        (libc::SYS_setuid, vec![0]),
        (libc::SYS_socket, vec![libc::AF_UNIX as u64, stream, 0]),
        (libc::SYS_socket, vec![libc::AF_NETLINK as u64, libc::SOCK_RAW as u64, 0]),
        (libc::SYS_listen, vec![made, 1]),
        (libc::SYS_connect, vec![made, address, 16]),
        (libc::SYS_memfd_create, vec![path, 0]),
    ]
}

/// What code could call that has taken that process over: a debugger makes the calls in it, and each is refused.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_process_that_talks_to_a_server_and_is_taken_over_reaches_nothing_else() {
    use nix::libc;
    use testkit::{Injected, root_can_judge};

    if !root_can_judge() {
        return;
    }
    let (server, go) = stuck();
    let site = Site::new();
    site.put(&["bob@red.test"]);
    let other = site.queue.join("letters").join(site.put(&["eve@green.test"]));
    site.ask(&["--hold", other.file_name().unwrap().to_str().unwrap()]);
    let runner = site.start(&server.port(), &[]);
    wait_until("it is being sent", || server.letters().len() == 1);
    let (parent, child) = (u64::try_from(runner.pid()).unwrap(), children(runner.pid())[0]);
    {
        let mut injected = Injected::attach(child);
        let path = injected.text(other.to_str().unwrap());
        // sockaddr_in: 127.0.0.1, port 9.
        let address = injected.put(&[2, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let tcp = [libc::AF_INET as u64, libc::SOCK_STREAM as u64, 0];
        let made = injected.call(libc::SYS_socket, &tcp).unwrap().cast_unsigned();
        for (call, arguments) in outside(path, (made, address), parent) {
            let answer = injected.call(call, &arguments);
            // Of a kernel without Landlock for TCP a connection to another port is refused by that port.
            let is_refused = matches!(
                answer,
                Err(nix::errno::Errno::EPERM
                    | nix::errno::Errno::EACCES
                    | nix::errno::Errno::ECONNREFUSED)
            );
            assert!(is_refused, "call {call}: {answer:?}");
        }
        injected.call(libc::SYS_close, &[made]).unwrap();
        // The texts of its letters are open for reading alone, and what is written stays.
        for fd in 3..32 {
            if injected.call(libc::SYS_lseek, &[fd, 0, 0]).is_ok() {
                assert!(injected.call(libc::SYS_ftruncate, &[fd, 0]).is_err(), "{fd}");
            }
        }
    }
    drop(go);
    wait_until("its letter is gone", || site.names("letters").len() == 1);
}
