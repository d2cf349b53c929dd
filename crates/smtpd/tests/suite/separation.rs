//! Who may do what, seen by /proc alone: the processes that a client's session has, and what each is left
//! with. Where root runs the tests; with one user only there is less to say.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::common::{
    BOB, FRONT, Fixture, LETTER, LEVY, SMTPD, assert_alive, greeted, in_data, introduced,
    of_server, with_root,
};
use testkit::{
    Daemon, Image, MODELS, Peer, children, each_model, has_ended, holders, rights_left,
    root_can_judge, title, wait_until,
};

/// A password that only its owner may know.
const CANARY: &str = "canary-that-sings-for-levy-alone";

/// Waits until one process alone holds the client: the parent holds it too until it has forked. Neither has a
/// right too many at any time.
fn check_holder(daemon: &Daemon, client: &Peer, state: &str) -> i32 {
    let mut all = Vec::new();
    wait_until("one process alone holds the client", || {
        all = holders(daemon.addr(), client);
        let left: String = all.iter().map(|pid| rights_left(*pid)).collect();
        assert!(left.is_empty(), "{state}: {left}");
        all.len() == 1
    });
    all[0]
}

fn end(pid: i32) {
    let _it_may_have_ended = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

#[test]
fn in_no_state_has_a_process_that_holds_the_client_rights_to_lose() {
    each_model(&MODELS, |model| {
        let fixture = Fixture::two_users();
        let daemon = fixture.serve(&["-m", model, "-n", "2"]);
        let mut client = greeted(&daemon);
        let front = check_holder(&daemon, &client, "greeting");
        client.ask("HELO topaz.test", "250 ");
        check_holder(&daemon, &client, "after HELO");
        client.ask("MAIL FROM:<a@b.test>", "250 ");
        client.ask("RCPT TO:<nobody@red.test>", "550 ");
        client.ask("RCPT TO:<levy@red.test>", "250 ");
        client.ask("RCPT TO:<bob@red.test>", "250 ");
        check_holder(&daemon, &client, "after RCPT");
        client.ask("DATA", "354 ");
        let line = format!("{}\r\n", "x".repeat(998));
        client.send(line.repeat(1000)); // more than stays in memory
        check_holder(&daemon, &client, "DATA");
        client.send(".\r\n");
        // Until the reply comes, which is the delivery.
        let stream = client.stream().try_clone().unwrap();
        let reply = thread::spawn(move || stream.peek(&mut [0]).is_ok());
        while !reply.is_finished() {
            let all = holders(daemon.addr(), &client);
            assert_eq!(all.into_iter().map(rights_left).collect::<String>(), "", "delivery");
        }
        client.expect("250 ");
        assert_eq!(check_holder(&daemon, &client, "afterwards"), front);
        if geteuid().is_root() {
            let status = fs::read_to_string(format!("/proc/{front}/status")).unwrap();
            assert!(status.contains(&format!("Uid:\t{FRONT}\t{FRONT}\t{FRONT}\t{FRONT}\n")));
            let root = format!("/proc/{front}/root/");
            assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "{root} is empty");
        }
        assert_eq!((fixture.letters("levy").len(), fixture.letters("bob").len()), (1, 1));
    });
}

#[test]
fn a_letter_is_stored_by_a_process_of_its_users_alone() {
    let fixture = Fixture::two_users();
    let daemon = fixture.serve(&[]);
    let mut client = introduced(&daemon);
    let line = format!("{}\r\n", "x".repeat(998)).repeat(10_000);
    let mut seen = 0;
    while seen < 2 {
        client.ask("MAIL FROM:<a@b.test>", "250 ");
        client.ask("RCPT TO:<levy@red.test>", "250 ");
        client.ask("RCPT TO:<bob@red.test>", "250 ");
        client.ask("DATA", "354 ");
        client.send(&line);
        client.send(".\r\n");
        let stream = client.stream().try_clone().unwrap();
        let reply = thread::spawn(move || stream.peek(&mut [0]).is_ok());
        while !reply.is_finished() {
            for pid in of_server(&daemon, "smtpd: mailbox") {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                if !status.contains("Seccomp:\t2\n") {
                    continue; // it has not begun, or has ended
                }
                let uid = match title(pid).as_str() {
                    "smtpd: mailbox of levy" if geteuid().is_root() => LEVY,
                    "smtpd: mailbox of bob" if geteuid().is_root() => BOB,
                    "" => continue,
                    _ => geteuid().as_raw(), // of both, where they are one user's
                };
                seen += 1;
                assert_eq!(rights_left(pid), "");
                assert!(status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n")));
            }
        }
        client.expect("250 ");
        for user in ["levy", "bob"] {
            fs::remove_dir_all(fixture.maildir(user)).unwrap();
        }
    }
}

#[test]
fn a_password_is_in_no_process_of_the_server() {
    each_model(&MODELS, |model| {
        let fixture = Fixture::with(&format!("rose:{{PLAIN}}{CANARY}:::Rose:HOME/rose:\n"));
        let daemon = fixture.serve(&["-m", model, "-n", "1", "--vrfy", "all"]);
        if !testkit::can_take_over(daemon.pid()) {
            return;
        }
        let mut client = in_data(&daemon);
        client.send(format!("{LETTER}.\r\n"));
        client.expect("250 ");
        client.ask("VRFY rose", "250 ");
        client.ask("VRFY nobody", "550 ");
        client.ask("MAIL FROM:<a@b.test>", "250 ");
        client.ask("RCPT TO:<bob@red.test>", "250 ");
        client.ask("DATA", "354 ");
        client.send(format!("{}\r\n", "x".repeat(998)).repeat(200)); // a process waits for the rest
        wait_until("a letter is received", || !of_server(&daemon, "smtpd: a letter").is_empty());
        let all = of_server(&daemon, "smtpd: ");
        assert!(all.len() >= 3, "parent, keeper, the letter's");
        for pid in all {
            assert_eq!(Image::of(pid).find(CANARY.as_bytes()), [], "{model}: {}", title(pid));
        }
    });
}

#[test]
fn a_box_that_its_user_stops_is_not_waited_for_for_ever_and_others_get_their_mail() {
    if !root_can_judge() {
        return;
    }
    let fixture = Fixture::two_users();
    let daemon = fixture.serve(&[]);
    let line = format!("{}\r\n", "x".repeat(998)).repeat(20_000);
    let mut client = introduced(&daemon);
    let mut stopped = None;
    while stopped.is_none() {
        client.ask("MAIL FROM:<a@b.test>", "250 ");
        client.ask("RCPT TO:<bob@red.test>", "250 ");
        client.ask("DATA", "354 ");
        client.send(&line);
        client.send(".\r\n");
        let stream = client.stream().try_clone().unwrap();
        let reply = thread::spawn(move || stream.peek(&mut [0]).is_ok());
        while !reply.is_finished() && stopped.is_none() {
            stopped = of_server(&daemon, "smtpd: mailbox of bob").first().copied();
            if let Some(pid) = stopped {
                let _it_may_have_ended = kill(Pid::from_raw(pid), Signal::SIGSTOP);
                thread::yield_now();
                stopped = Some(pid).filter(|pid| testkit::state(*pid) == Some('T'));
            }
        }
    }
    // All others are served.
    for _ in 0..3 {
        assert_alive(&daemon);
    }
    end(stopped.unwrap());
    client.expect("451 4.3.0 ");
    assert_eq!(fixture.letters("levy").len(), 3);
}

/// The next bytes, none where the connection has ended in whatever way.
fn reply_or_end(client: &Peer) -> Vec<u8> {
    let mut reply = [0; 512];
    let length = client.stream().read(&mut reply).unwrap_or_default();
    reply[..length].to_vec()
}

#[test]
fn what_was_acknowledged_survives_the_death_of_any_process() {
    let fixture = Fixture::two_users();
    let mut acknowledged = 0;
    let mut seed = 7_u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as usize % below
    };
    for model in ["fork", "prefork"] {
        let daemon = fixture.serve(&["-m", model, "-n", "2"]);
        for round in 0..40_usize {
            let mut client = introduced(&daemon);
            let text = "y".repeat(998) + "\r\n";
            client.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<levy@red.test>\r\nRCPT TO:<bob@red.test>\r\nDATA\r\n");
            let replies: Vec<Vec<u8>> = (0..4).map(|_| client.line()).collect();
            if !replies[3].starts_with(b"354 ") {
                continue; // a worker's line went with a process that had just answered: temporary
            }
            client
                .send(format!("Subject: {model}-{round}\r\n\r\n{}.\r\n", text.repeat(random(400))));
            for _ in 0..random(4) {
                thread::yield_now();
            }
            // Any of them but the parent and the keeper.
            let mut all = of_server(&daemon, "smtpd: mailbox");
            all.extend(of_server(&daemon, "smtpd: a letter"));
            if round % 3 == 0 {
                all.extend(children(daemon.pid()));
            }
            if !all.is_empty() {
                end(all[random(all.len())]);
            }
            let reply = reply_or_end(&client);
            if reply.starts_with(b"250 ") {
                acknowledged += 1;
                for user in ["levy", "bob"] {
                    let wanted = format!("Subject: {model}-{round}\n");
                    let found = fixture.letters(user).into_iter().any(|it| it.contains(&wanted));
                    assert!(found, "{user} has not got {wanted}");
                }
            }
        }
        // A worker or a line that has gone is replaced.
        wait_until("letters are taken", || {
            let mut client = Peer::connect(daemon.addr());
            client.line();
            client.send("HELO a.test\r\nMAIL FROM:<>\r\nRCPT TO:<levy@red.test>\r\nDATA\r\n");
            (0..4).map(|_| client.line()).last().unwrap().starts_with(b"354 ")
        });
    }
    assert!(acknowledged > 0);
}

#[test]
fn a_server_that_ends_leaves_no_keeper() {
    each_model(&MODELS, |model| {
        let fixture = Fixture::new();
        let daemon = fixture.serve(&["-m", model]);
        assert_alive(&daemon);
        let keepers = of_server(&daemon, "smtpd: keeper");
        assert_eq!(keepers.len(), 1);
        daemon.signal(Signal::SIGTERM);
        wait_until("the keeper has ended", || has_ended(keepers[0]));
    });
}

#[test]
fn under_inetd_too_no_process_that_holds_the_client_has_rights() {
    let fixture = Fixture::two_users();
    let inetd = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = inetd.local_addr().unwrap();
    let mut client = Peer::connect(address);
    let accepted = OwnedFd::from(inetd.accept().unwrap().0);
    let users = fixture.users.display().to_string();
    let mut command = Command::new(SMTPD);
    command.args(with_root(&["-i", "-q", "--users", &users, "--hostname", "red.test"]));
    command.stdin(accepted.try_clone().unwrap()).stdout(accepted);
    let mut child = command.spawn().unwrap();
    drop(command); // and the copies of the client's socket with it
    client.expect("220 ");
    let all = holders(address, &client);
    assert_eq!(all, [child.id() as i32]);
    assert_eq!(rights_left(all[0]), "");
    client.ask("HELO a.test", "250 ");
    client.ask("MAIL FROM:<>", "250 ");
    client.ask("RCPT TO:<levy@red.test>", "250 ");
    client.ask("RCPT TO:<bob@red.test>", "250 ");
    client.ask("DATA", "354 ");
    client.send("x\r\n.\r\n");
    client.expect("250 ");
    client.ask("QUIT", "221 ");
    drop(client);
    assert!(testkit::wait_child(&mut child, "the session ends").success());
    assert_eq!((fixture.letter("levy"), fixture.letter("bob")), ("x\n".into(), "x\n".into()));
    if geteuid().is_root() {
        assert_eq!(fixture.maildir("levy").metadata().unwrap().uid(), LEVY);
    }
}
