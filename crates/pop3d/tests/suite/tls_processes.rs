//! TLS: which process has the key, and what is left to each; what happens when one ends.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use testkit::{
    Image, MODELS, Pair, Peer, TLS_VERSIONS, children, each_model, has_ended, holders, rights_left,
    status_field, title, wait_until,
};

use crate::common::LETTER;
use crate::tls::Site;

#[test]
fn the_private_key_is_in_the_memory_of_the_signer_alone() {
    each_model(&MODELS, |model| {
        let site = Site::new(&[LETTER], &["-m", model, "-n", "2"]);
        if !testkit::can_take_over(site.server.daemon.pid()) {
            return;
        }
        let peer = site.mrose();
        let path = |name: &str| site.authority.folder().join(name);
        let pair = Pair { certificate: path("mail.test.crt"), key: path("mail.test.key") };
        let secrets = pair.secrets();
        let has_key = |pid: i32| {
            let image = Image::of(pid);
            secrets.iter().any(|secret| !image.find(secret).is_empty())
        };
        let signer = site.signer();
        if geteuid().is_root() {
            assert!(has_key(signer), "what is looked for can be found");
        } else {
            let memory = fs::File::open(format!("/proc/{signer}/mem"));
            assert!(memory.is_err(), "another process of the same user looks at it");
        }
        let keeper = site.processes("pop3d: keeper");
        let mailbox = site.processes("pop3d: mailbox of mrose");
        assert_eq!((keeper.len(), mailbox.len()), (1, 1));
        let fronts = children(site.server.daemon.pid());
        for pid in keeper.into_iter().chain(mailbox).chain(fronts).chain([site.server.daemon.pid()])
        {
            assert!(!has_key(pid), "{model}: {}", title(pid));
        }
        drop(peer);
    });
}

#[test]
fn signer_and_the_processes_of_a_client_under_tls_have_no_rights_to_lose() {
    each_model(&MODELS, |model| {
        let site = Site::new(&[LETTER], &["-m", model, "-n", "2"]);
        let peer = site.mrose();
        let holders = holders(site.server.daemon.addr(), &peer);
        assert_eq!(
            holders.len(),
            1,
            "the mailbox's process has an end of a stream, not the client"
        );
        let mailbox = site.processes("pop3d: mailbox of mrose");
        for pid in holders.into_iter().chain(mailbox) {
            assert_eq!(rights_left(pid), "");
        }
        let signer = site.signer();
        for (field, wanted) in [("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
            assert_eq!(status_field(signer, field), wanted, "{field}");
        }
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert!(status_field(signer, set).chars().all(|digit| digit == '0'), "{set}");
        }
    });
}

#[test]
fn if_a_process_of_a_session_under_tls_is_killed_the_session_ends_and_nothing_is_removed() {
    let site = Site::new(&[LETTER], &[]);
    for kills_front in [true, false] {
        let mut peer = site.mrose();
        peer.ask("DELE 1", "+OK");
        let mailbox = site.processes("pop3d: mailbox of mrose").pop().unwrap();
        let front = site.server.daemon.server_of(&peer);
        let killed = if kills_front { front } else { mailbox };
        kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
        let _cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| peer.is_closed()));
        wait_until("both have ended", || has_ended(front) && has_ended(mailbox));
        assert_eq!(site.server.letters().len(), 1);
    }
}

#[test]
fn a_signer_that_is_killed_is_replaced() {
    each_model(&MODELS, |model| {
        let site = Site::new(&[LETTER], &["-m", model, "-n", "1"]);
        let signer = site.signer();
        kill(Pid::from_raw(signer), Signal::SIGKILL).unwrap();
        wait_until("it has ended", || has_ended(signer));
        // A worker that has been forked before finds its line closed, and makes room for another.
        wait_until("another signs", || {
            let mut peer = Peer::connect(site.tls_addr());
            peer.start_tls(&site.authority.client(&TLS_VERSIONS), "mail.test").is_ok()
        });
        assert_ne!(site.signer(), signer);
    });
}

#[test]
fn idle_sessions_under_tls_end_with_the_server() {
    each_model(&MODELS, |model| {
        let site = Site::new(&[LETTER], &["-m", model, "--grace", "0.1"]);
        let mut peer = site.mrose();
        peer.ask("NOOP", "+OK");
        let others = ["pop3d: keeper", "pop3d: mailbox of mrose"];
        let others = others.iter().flat_map(|it| site.processes(it));
        let pids: Vec<i32> = others.chain([site.signer()]).collect();
        assert_eq!(pids.len(), 3);
        let Site { server, .. } = site;
        let _dir = server.dir;
        assert!(server.daemon.stop().success());
        for pid in pids {
            wait_until("all processes have ended", || has_ended(pid));
        }
    });
}
