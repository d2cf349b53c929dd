//! Who a recipient is: aliases(5), users of several domains, sub-addresses (RFC 5321 §3.4, §3.9).

use std::fs;

use crate::common::*;
use testkit::{Daemon, Peer};

/// A server with this file of aliases; `DIR` in it is the test's folder.
pub fn serve(fixture: &Fixture, aliases: &str, more: &[&str]) -> Daemon {
    let file = write(fixture, aliases);
    fixture.serve(&[&["--aliases", &file], more].concat())
}

fn write(fixture: &Fixture, aliases: &str) -> String {
    let text = aliases.replace("DIR", &fixture.dir.path().display().to_string());
    fixture.dir.file("aliases", &text).display().to_string()
}

/// A client in a transaction.
fn client(daemon: &Daemon) -> Peer {
    let mut peer = introduced(daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer
}

/// Sends a letter with this text to an address.
fn send(daemon: &Daemon, to: &str, text: &str) {
    let mut peer = client(daemon);
    peer.ask(&format!("RCPT TO:<{to}>"), "250 2.1.5 ");
    peer.ask("DATA", "354 ");
    peer.send(format!("{text}\r\n.\r\n"));
    peer.expect("250 ");
    peer.ask("QUIT", "221 ");
}

/// How many letters have this text.
fn count(fixture: &Fixture, user: &str, text: &str) -> usize {
    let has_text = |letter: &&String| below_trace(letter).trim_end() == text;
    fixture.letters(user).iter().filter(has_text).count()
}

/// The texts that a user has got, sorted.
fn texts(fixture: &Fixture, user: &str) -> Vec<String> {
    let mut all: Vec<String> =
        fixture.letters(user).iter().map(|it| below_trace(it).trim_end().to_owned()).collect();
    all.sort();
    all
}

#[test]
fn a_group_is_its_members_each_once_whatever_leads_to_them() {
    let fixture = Fixture::new();
    fixture.dir.file("list", "# members\nlevy\nBob <bob@red.test>\n");
    let daemon = serve(
        &fixture,
        "# groups\nStaff: levy,\n\tbob\nall: staff, levy@red.test, both\nboth: :include:DIR/list\none: bob\n",
        &[],
    );
    for (to, levy, bob) in [
        ("staff@red.test", 1, 1),
        ("STAFF@RED.test", 1, 1),
        ("all@red.test", 1, 1),
        ("both@localhost", 1, 1),
        ("one@red.test", 0, 1),
    ] {
        send(&daemon, to, to);
        assert_eq!(count(&fixture, "levy", to), levy, "{to}");
        assert_eq!(count(&fixture, "bob", to), bob, "{to}");
    }
}

#[test]
fn a_group_of_many_users_is_found_among_many_and_each_mailbox_gets_one_letter() {
    let users: String = (0..200).map(|n| format!("user{n}:*::::HOME/bob:\n")).collect();
    let fixture = Fixture::with(&format!("{users}user77:*::::HOME/levy:\n"));
    let members: Vec<String> = (0..200).map(|n| format!("USER{n}")).collect();
    let daemon = serve(&fixture, &format!("all: {}, ghost\n", members.join(", ")), &[]);
    send(&daemon, "all@red.test", "x");
    assert_eq!(texts(&fixture, "bob"), ["x"]);
    assert_eq!(texts(&fixture, "levy"), [""; 0]); // the first line of a name counts
}

#[test]
fn an_alias_of_a_users_name_leads_elsewhere_and_its_own_name_in_it_is_the_user() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, "levy: bob\nbob: bob, \\levy\nboth: \\levy, \\bob\n", &[]);
    send(&daemon, "levy@red.test", "one"); // to bob, whose alias has both
    send(&daemon, "bob@red.test", "two");
    send(&daemon, "both@red.test", "three");
    for user in ["levy", "bob"] {
        assert_eq!(texts(&fixture, user), ["one", "three", "two"], "{user}");
    }
}

#[test]
fn aliases_that_lead_to_themselves_are_found_and_their_letters_wait() {
    let fixture = Fixture::new();
    let dir = fixture.dir.path().display().to_string();
    fixture.dir.file("round", format!("bob, :include:{dir}/round\n"));
    let long: String = (0..60).map(|n| format!("n{n}: n{}\n", n + 1)).collect();
    let text =
        format!("a: b\nb: c, levy\nc: a\nself: self\nround: :include:DIR/round\n{long}n60: levy\n");
    let daemon = serve(&fixture, &text, &[]);
    let mut peer = client(&daemon);
    for to in ["a", "b", "self", "round", "n0"] {
        peer.ask(&format!("RCPT TO:<{to}@red.test>"), "451 4.4.6 ");
    }
    peer.ask("RCPT TO:<n40@red.test>", "250 ");
    daemon.wait_log("aliases:3: 'a' leads to itself");
    daemon.wait_log("aliases within aliases without an end");
}

#[test]
fn a_fault_of_the_aliases_makes_letters_wait_and_is_logged_with_its_line() {
    let fixture = Fixture::new();
    let daemon = serve(
        &fixture,
        "bad: two words\nnone:\nlist: :include:DIR/missing\nmixed: levy, ghost\nghosts: ghost\ntypo: bob, x@@y, a..b\ntypos: x@@y\nremote: levy, x@far.test\n",
        &[],
    );
    daemon.wait_log("aliases:1: a blank in an address, or none");
    daemon.wait_log("aliases:2: no target");
    let mut peer = client(&daemon);
    for to in ["bad", "none", "list", "remote", "typos"] {
        peer.ask(&format!("RCPT TO:<{to}@red.test>"), "451 4.3.0 ");
    }
    daemon.wait_log("missing: No such file or directory");
    daemon.wait_log("<x@far.test> is elsewhere, and there is no --queue");
    peer.ask("RCPT TO:<ghosts@red.test>", "550 5.1.1 ");
    peer.ask("RCPT TO:<mixed@red.test>", "250 ");
    peer.ask("RCPT TO:<typo@red.test>", "250 ");
    daemon.wait_log("'x@@y': no address");
    daemon.wait_log("aliases:4: 'ghost': no such user");
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    assert_eq!(fixture.letter("levy"), "x\n");
    assert_eq!(fixture.letter("bob"), "x\n");
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    for _ in 0..100 {
        peer.ask("RCPT TO:<list@red.test>", "451 4.3.0 ");
    }
    assert!(daemon.log().matches("missing: No such file").count() < 5, "{}", daemon.log());
}

#[test]
fn the_file_is_read_again_for_each_recipient_and_while_it_cannot_be_letters_wait() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, "one: levy\n", &[]);
    let mut peer = client(&daemon);
    peer.ask("RCPT TO:<one@red.test>", "250 ");
    peer.ask("RCPT TO:<two@red.test>", "550 5.1.1 ");
    write(&fixture, "two: levy\n");
    peer.ask("RCPT TO:<two@red.test>", "250 ");
    peer.ask("RCPT TO:<one@red.test>", "550 5.1.1 ");
    set_mode(&fixture.dir.path().join("aliases"), 0o666);
    for to in ["two", "levy", "nobody"] {
        peer.ask(&format!("RCPT TO:<{to}@red.test>"), "451 4.3.0 ");
    }
    fs::remove_file(fixture.dir.path().join("aliases")).unwrap();
    peer.ask("RCPT TO:<two@red.test>", "451 4.3.0 ");
}

#[test]
fn a_list_that_an_ordinary_user_keeps_names_no_commands_and_leads_to_no_file_of_roots() {
    let fixture = Fixture::two_users();
    let list = fixture.dir.path().join("levy/list");
    fs::write(&list, "bob\n").unwrap();
    give(&list, LEVY);
    set_mode(&list, 0o644);
    let daemon = serve(&fixture, "list: :include:DIR/levy/list\n", &[]);
    send(&daemon, "list@red.test", "good");
    assert_eq!(texts(&fixture, "bob"), ["good"]);
    let refused = |why: &str| {
        client(&daemon).ask("RCPT TO:<list@red.test>", "451 4.3.0 ");
        daemon.wait_log(why);
    };
    fs::remove_file(&list).unwrap();
    std::os::unix::fs::symlink(&fixture.users, &list).unwrap();
    refused("is a symbolic link");
    fs::remove_file(&list).unwrap();
    nix::unistd::mkfifo(&list, nix::sys::stat::Mode::S_IRUSR).unwrap();
    refused("not a regular file");
    fs::remove_file(&list).unwrap();
    fs::hard_link(fixture.dir.file("secret", "levy\n"), &list).unwrap();
    refused("has several links");
    if nix::unistd::geteuid().is_root() {
        fs::remove_file(&list).unwrap();
        fs::write(&list, "|touch /tmp/never\n").unwrap();
        give(&list, LEVY);
        refused("commands and files are for lists of root's own");
    }
}

#[test]
fn the_sender_of_a_lists_letters_is_its_owner_but_not_that_of_a_notification() {
    let fixture = Fixture::new();
    let daemon =
        serve(&fixture, "list: levy\nowner-list: bob\nouter: list, bob\nowner-outer: bob\n", &[]);
    send(&daemon, "list@red.test", "one");
    send(&daemon, "levy@red.test", "two");
    let senders = |user: &str, text: &str| -> Vec<String> {
        let with_text = fixture.letters(user).into_iter().filter(|it| it.ends_with(text));
        with_text.map(|it| it.lines().next().unwrap().to_owned()).collect()
    };
    assert_eq!(senders("levy", "one\n"), ["Return-Path: <owner-list@red.test>"]);
    assert_eq!(senders("levy", "two\n"), ["Return-Path: <a@b.test>"]);
    let mut peer = introduced(&daemon);
    for line in ["MAIL FROM:<>", "RCPT TO:<outer@red.test>"] {
        peer.ask(line, "250 ");
    }
    peer.ask("DATA", "354 ");
    peer.send("three\r\n.\r\n");
    peer.expect("250 ");
    for user in ["levy", "bob"] {
        assert_eq!(senders(user, "three\n"), ["Return-Path: <>"], "{user}");
    }
    send(&daemon, "outer@red.test", "four");
    assert_eq!(senders("levy", "four\n"), ["Return-Path: <owner-list@red.test>"]);
    assert_eq!(senders("bob", "four\n"), ["Return-Path: <owner-outer@red.test>"]);
}

#[test]
fn commands_of_the_aliases_have_the_letter_with_the_rights_of_mail_user() {
    let fixture = Fixture::new();
    let out = fixture.dir.path().join("out");
    make_home(&out, OWNER);
    let daemon = serve(
        &fixture,
        "prog: \"|cat > DIR/out/letter && id -u > DIR/out/uid\"\nall: prog, levy\n",
        &[],
    );
    send(&daemon, "all@red.test", "for all");
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert!(read("letter").ends_with("for all\n"), "{}", read("letter"));
    assert_eq!(texts(&fixture, "levy"), ["for all"]);
    let own =
        if nix::unistd::geteuid().is_root() { OWNER } else { nix::unistd::geteuid().as_raw() };
    assert_eq!(read("uid"), format!("{own}\n"));
}

#[test]
fn a_group_whose_members_forward_to_each_other_gets_each_mailbox_one_letter() {
    let fixture = Fixture::new();
    for (user, text) in [("levy", "bob\n"), ("bob", "levy\n")] {
        let forward = fixture.dir.path().join(user).join(".forward");
        fs::write(&forward, text).unwrap();
        give(&forward, OWNER);
    }
    let daemon = serve(&fixture, "staff: levy, bob\n", &[]);
    send(&daemon, "staff@red.test", "round");
    let all = [texts(&fixture, "levy"), texts(&fixture, "bob")].concat();
    assert!(!all.is_empty() && all.len() <= 2, "{all:?}");
    send(&daemon, "levy@red.test", "one");
    assert_eq!([texts(&fixture, "levy"), texts(&fixture, "bob")].concat().len(), all.len() + 1);
}

#[test]
fn each_domain_has_users_of_its_own_and_all_have_those_without_a_domain() {
    let fixture = Fixture::with(
        "levy@blue.test:*::::HOME/bob:\nann@Blue.test:*::::HOME/bob:\nx@grey.test:*:::::\n",
    );
    let daemon = serve(
        &fixture,
        "info@blue.test: ann\n@green.test: levy\n",
        &["--domain", "red.test", "--domain", "blue.test", "--domain", "green.test"],
    );
    daemon.wait_log("users: '@grey.test' is no --domain: its users get no letters");
    let mut peer = client(&daemon);
    for (to, code) in [
        ("ann@blue.test", "250 "),
        ("ANN@BLUE.TEST", "250 "),
        ("ann@red.test", "550 5.1.1 "),
        ("info@blue.test", "250 "),
        ("info@red.test", "550 5.1.1 "),
        ("\"ann@blue.test\"@red.test", "550 5.1.1 "),
        ("\"levy@blue.test\"@blue.test", "550 5.1.1 "),
        ("anything@green.test", "250 "),
        ("ann@yellow.test", "550 5.7.1 "),
    ] {
        peer.ask(&format!("RCPT TO:<{to}>"), code);
    }
    for (to, owner) in [
        ("levy@red.test", "levy"),
        ("levy@blue.test", "bob"),
        ("ann@blue.test", "bob"),
        ("info@blue.test", "bob"),
        ("bob@blue.test", "bob"),
        ("levy@localhost", "levy"),
        ("x.y@green.test", "levy"),
        ("levy@green.test", "levy"),
        ("bob@green.test", "bob"),
    ] {
        let before = fixture.letters(owner).len();
        send(&daemon, to, to);
        assert_eq!(fixture.letters(owner).len(), before + 1, "{to}");
    }
}

#[test]
fn a_catch_all_takes_what_no_other_name_does_and_its_own_ghost_is_no_loop() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, "@red.test: ghost@red.test\nreal: bob\n", &[]);
    let mut peer = client(&daemon);
    peer.ask("RCPT TO:<any@red.test>", "451 4.4.6 ");
    daemon.wait_log("aliases:1: 'ghost' leads to itself");
    for to in ["real", "levy", "postmaster"] {
        peer.ask(&format!("RCPT TO:<{to}@red.test>"), "250 ");
    }
}

#[test]
fn a_sub_address_is_its_users_where_no_name_is_all_of_it() {
    let fixture = Fixture::with("bob+x:*::::HOME/levy:\n");
    let daemon = serve(&fixture, "levy+list: bob\nstaff: bob\n", &[]);
    for (to, user) in [
        ("levy+books@red.test", "levy"),
        ("Levy+a+b@red.test", "levy"),
        ("levy+@red.test", "levy"),
        ("levy+list@red.test", "bob"),
        ("bob+x@red.test", "levy"),
        ("bob+y@red.test", "bob"),
        ("staff+z@red.test", "bob"),
    ] {
        let before = fixture.letters(user).len();
        send(&daemon, to, to);
        assert_eq!(fixture.letters(user).len(), before + 1, "{to}");
    }
    let mut peer = client(&daemon);
    for to in ["+levy@red.test", "+@red.test", "nobody+levy@red.test", "levy-x@red.test"] {
        peer.ask(&format!("RCPT TO:<{to}>"), "550 5.1.1 ");
    }
    for (delimiter, plus, minus) in [("-", "550 ", "250 "), ("none", "550 ", "550 ")] {
        let daemon = serve(&fixture, "owner-levy: bob\n", &["--delimiter", delimiter]);
        let mut peer = client(&daemon);
        peer.ask("RCPT TO:<levy+books@red.test>", plus);
        peer.ask("RCPT TO:<levy-books@red.test>", minus);
        peer.ask("RCPT TO:<levy-request@red.test>", "550 ");
        peer.ask("RCPT TO:<owner-levy@red.test>", "250 ");
    }
}

#[test]
fn a_user_who_has_moved_is_551_with_the_new_address_where_there_is_no_queue() {
    let fixture = Fixture::new();
    let aliases = "smith: Fred Smith <fred@far.test>\nlist: fred@far.test\nowner-list: levy\n";
    let daemon = serve(&fixture, aliases, &[]);
    let mut peer = client(&daemon);
    let told = "551 5.1.6 User not local; please try <fred@far.test>\r\n";
    peer.ask("RCPT TO:<smith@red.test>", told);
    peer.ask("VRFY smith", told);
    peer.ask("RCPT TO:<list@red.test>", "451 4.3.0 ");
    peer.ask("DATA", "554 ");
    let silent = serve(&fixture, aliases, &["--vrfy", "none"]);
    client(&silent).ask("RCPT TO:<smith@red.test>", "551 5.1.6 User not local, has moved\r\n");
}

#[test]
fn a_user_who_has_moved_is_251_where_letters_are_sent_on_and_strangers_see_250() {
    for (vrfy, code) in [
        ("all", "251 2.1.5 User not local; will forward to <fred@far.test>\r\n"),
        ("none", "250 2.1.5 "),
    ] {
        let fixture = Fixture::new();
        let queue = fixture.dir.path().join("queue").display().to_string();
        let aliases = "smith: fred@far.test\nboth: levy, ann@far.test\nowner-both: levy\n@red.test: x@far.test\n";
        let daemon = serve(&fixture, aliases, &["--queue", &queue, "--vrfy", vrfy]);
        let mut peer = client(&daemon);
        peer.ask("RCPT TO:<Smith@red.test>", code);
        if vrfy == "all" {
            peer.ask("VRFY smith", code);
        }
        peer.ask("RCPT TO:<both@red.test>", "250 2.1.5 ");
        peer.ask("DATA", "354 ");
        peer.send("moved\r\n.\r\n");
        peer.expect("250 ");
        assert_eq!(texts(&fixture, "levy"), ["moved"]);
        let queued = files(&fixture.dir.path().join("queue/letters"));
        let mut envelopes: Vec<String> =
            queued.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        envelopes.sort_by_key(|text| text.contains("owner-both"));
        assert_eq!(envelopes.len(), 2, "{envelopes:?}");
        for (text, from, to) in [
            (&envelopes[0], "from <a@b.test>\n", "to <fred@far.test>\n"),
            (&envelopes[1], "from <owner-both@red.test>\n", "to <ann@far.test>\n"),
        ] {
            assert!(text.contains(from) && text.contains(to), "{text}");
            assert_eq!(text.matches("\nto <").count(), 1, "{text}");
        }
    }
}

#[test]
fn the_postmaster_is_the_one_of_the_aliases_and_always_somebody() {
    let fixture = Fixture::new();
    for (aliases, user) in [
        ("postmaster: bob\n", "bob"),
        ("PostMaster: root\nroot: bob\n", "bob"),
        ("root: bob\n", "bob"),
        ("root: postmaster\n", "levy"),
        ("postmaster: postmaster\n", "levy"),
        ("postmaster@red.test: bob\npostmaster: levy\n", "bob"),
        ("", "levy"),
        ("@red.test: bob\n", "bob"),
    ] {
        let daemon = serve(&fixture, aliases, &[]);
        let before = fixture.letters(user).len();
        send(&daemon, "PostMaster@red.test", "x");
        assert_eq!(fixture.letters(user).len(), before + 1, "{aliases}");
        let mut peer = client(&daemon);
        peer.ask("RCPT TO:<PostMaster>", "250 ");
        peer.ask("RCPT TO:<postmaster+x@red.test>", "250 ");
    }
    let daemon = serve(&fixture, "postmaster: ghost\n", &[]);
    send(&daemon, "postmaster@red.test", "nobody else");
    assert_eq!(count(&fixture, "levy", "nobody else"), 1);
}

#[test]
fn percent_bang_and_quoted_at_reach_no_alias_of_another_domain() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, "x@far.test: levy\nlevy@red.test: bob\n", &[]);
    let mut peer = client(&daemon);
    for to in ["x%far.test@red.test", "far.test!x@red.test", "\"x@far.test\"@red.test"] {
        peer.ask(&format!("RCPT TO:<{to}>"), "550 5.1.1 ");
    }
    peer.ask("RCPT TO:<x@far.test>", "550 5.7.1 "); // an alias makes no domain ours
    send(&daemon, "levy@red.test", "one");
    assert_eq!(texts(&fixture, "bob"), ["one"]);
}
