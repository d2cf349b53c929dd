//! A server of root's (`-u root`) reads each mailbox as its owner. These tests have something to
//! say only when root runs them; for anybody else they pass.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use crate::common::{LETTER, TestServer, make_maildir};

const ROSE: u32 = 61_001;
const MALLORY: u32 = 61_002;

fn give(path: &Path, owner: u32) {
    let inside = fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path());
    inside.filter(|path| !path.is_symlink()).for_each(|path| give(&path, owner));
    std::os::unix::fs::lchown(path, Some(owner), Some(owner)).unwrap();
}

#[test]
fn a_session_has_the_rights_of_the_mailboxs_owner_for_good() {
    if !testkit::root_can_judge() {
        return;
    }
    let server = TestServer::new(&[LETTER]);
    give(&server.path("mrose"), ROSE);
    let mut client = server.client();
    client.ask("USER mrose", "+OK");
    client.ask("PASS wrong", "-ERR [AUTH]");
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK");
    let child = server.daemon.server_of(&client);
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let rose = ROSE.to_string();
    assert_eq!(field("Uid:"), vec![rose.clone(); 4]);
    assert_eq!(field("Gid:"), vec![rose.clone(); 4]);
    assert_eq!(field("Groups:"), [rose]);
    client.ask("DELE 1", "+OK");
    client.ask("QUIT", "+OK");
    assert!(server.letters().is_empty());
}

#[test]
fn a_link_into_another_users_mailbox_leads_nowhere_and_the_next_login_works() {
    if !testkit::root_can_judge() {
        return;
    }
    let users = "mallory:{PLAIN}x:::m:HOME/mallory:\n";
    let server = TestServer::with(&[LETTER], &["--auth-delay", "0"], users);
    give(&server.path("mrose"), ROSE);
    fs::set_permissions(server.maildir(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(server.path("mallory")).unwrap();
    let link = server.path("mallory/Maildir");
    symlink(server.maildir(), &link).unwrap();
    give(&server.path("mallory"), MALLORY);
    chown(server.path("mallory"), Some(MALLORY), Some(MALLORY)).unwrap();
    let mut client = server.client();
    client.ask("USER mallory", "+OK");
    client.ask("PASS x", "-ERR [SYS/PERM] ");
    server.daemon.wait_log("mallory/Maildir: Permission denied");

    fs::remove_file(&link).unwrap();
    make_maildir(&link);
    fs::remove_dir(link.join("cur")).unwrap();
    symlink(server.maildir().join("new"), link.join("cur")).unwrap();
    give(&server.path("mallory"), MALLORY);
    client.ask("USER mallory", "+OK");
    client.ask("PASS x", "-ERR [SYS/PERM] ");
    // What was refused has not cost the session its rights.
    client.ask("USER mrose", "+OK");
    client.ask("PASS tanstaaf", "+OK maildrop has 1 message");
}

#[test]
fn preforked_workers_become_one_user_each_and_are_replaced() {
    if !testkit::root_can_judge() {
        return;
    }
    let server = TestServer::with(&[LETTER], &["-m", "prefork", "-n", "1"], "");
    for owner in [ROSE, MALLORY, ROSE] {
        give(&server.path("mrose"), owner);
        let mut client = server.mrose();
        let worker = server.daemon.server_of(&client);
        let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        assert!(status.contains(&format!("Uid:\t{owner}\t{owner}\t{owner}\t{owner}\n")));
        client.ask("QUIT", "+OK");
    }
}

#[test]
fn a_process_that_serves_others_too_takes_no_users_rights() {
    if !testkit::root_can_judge() {
        return;
    }
    for model in ["thread", "iterative"] {
        let server = TestServer::with(&[LETTER], &["-m", model], "");
        give(&server.path("mrose"), ROSE);
        let mut client = server.client();
        client.ask("USER mrose", "+OK");
        client.ask("PASS tanstaaf", "-ERR [SYS/");
        client.ask("QUIT", "+OK");
        server.daemon.wait_log("its owner's rights need a process of their own");
        let status = fs::read_to_string(format!("/proc/{}/status", server.daemon.pid())).unwrap();
        assert!(status.contains("Uid:\t0\t0\t0\t0\n"), "{model}");
        give(&server.path("mrose"), 0);
        server.mrose().ask("QUIT", "+OK");
    }
}
