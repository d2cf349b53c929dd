//! VRFY, EXPN and HELP (RFC 5321 §3.5; slide: "VRFY", "EXPN", "HELP").

use crate::aliases::serve;
use crate::common::*;

const ALIASES: &str = "staff: levy, bob\nall: staff, fred@far.test\none: bob\narchive: \"|cat\", /var/mail/x, bob\n\
    moved: fred@far.test\nround: round2\nround2: round\nghosts: ghost\n";

#[test]
fn expn_tells_the_members_of_a_group_with_their_full_names() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, ALIASES, &[]);
    let mut peer = greeted(&daemon);
    for name in ["staff", "Staff@red.test", "<staff@red.test>"] {
        peer.ask(&format!("EXPN {name}"), "250-2.1.5 Levy Red <levy@red.test>\r\n");
        peer.expect("250 2.1.5 <bob@red.test>\r\n");
    }
    peer.ask("EXPN one", "250 2.1.5 <bob@red.test>\r\n");
    peer.ask("EXPN all", "250-2.1.5 Levy Red <levy@red.test>\r\n");
    peer.expect("250-2.1.5 <bob@red.test>\r\n");
    peer.expect("250 2.1.5 <fred@far.test>\r\n");
    peer.ask("EXPN moved", "250 2.1.5 <fred@far.test>\r\n");
    for name in ["levy", "levy@red.test", "nobody", "ghosts"] {
        peer.ask(&format!("EXPN {name}"), "550 5.1.1 ");
    }
    peer.ask("EXPN staff@far.test", "550 5.7.1 ");
    peer.ask("EXPN round", "451 4.4.6 ");
    peer.ask("EXPN", "501 5.5.4 ");
    peer.ask("EXPN a,b", "501 ");
    peer.ask("QUIT", "221 ");
}

#[test]
fn expn_names_the_group_in_place_of_a_command_and_a_file() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, ALIASES, &[]);
    let mut peer = greeted(&daemon);
    peer.ask("EXPN archive", "250-2.1.5 <archive@red.test>\r\n");
    peer.expect("250 2.1.5 <bob@red.test>\r\n");
}

#[test]
fn expn_of_a_large_group_ends() {
    let users: String = (0..400).map(|n| format!("member{n}:*::::HOME/bob:\n")).collect();
    let fixture = Fixture::with(&users);
    let members: Vec<String> = (0..400).map(|n| format!("member{n}")).collect();
    let daemon = serve(&fixture, &format!("large: {}\n", members.join(",\n ")), &[]);
    let mut peer = greeted(&daemon);
    peer.send("EXPN large\r\nQUIT\r\n");
    let all = String::from_utf8(peer.rest()).unwrap();
    assert!(all.starts_with("250-2.1.5 <member0@red.test>\r\n"), "{all}");
    let told = all.matches("<member").count();
    let has_more = all.contains("250 2.1.5 and others\r\n221 ");
    assert!(if has_more { told < 400 } else { told == 400 }, "{told}: {all}");
}

#[test]
fn vrfy_of_a_group_tells_its_address_and_of_an_alias_for_one_user_that_user() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, ALIASES, &[]);
    let mut peer = greeted(&daemon);
    peer.ask("VRFY staff", "250 2.1.5 <staff@red.test>\r\n");
    peer.ask("VRFY one", "250 2.1.5 <bob@red.test>\r\n");
    peer.ask("VRFY postmaster", "250 2.1.5 Levy Red <levy@red.test>\r\n");
    peer.ask("VRFY levy+books", "250 2.1.5 Levy Red <levy@red.test>\r\n");
    peer.ask("VRFY round", "451 4.4.6 ");
    peer.ask("VRFY ghosts", "550 5.1.1 ");
}

#[test]
fn the_full_names_of_users_of_a_domain_have_that_domain() {
    let fixture = Fixture::with("ann@blue.test:*:::Ann Blue:HOME/bob:\n");
    let daemon = fixture.serve(&["--domain", "red.test", "--domain", "blue.test"]);
    let mut peer = greeted(&daemon);
    for who in ["ann@blue.test", "Ann", "ann blue"] {
        peer.ask(&format!("VRFY {who}"), "250 2.1.5 Ann Blue <ann@blue.test>\r\n");
    }
    peer.ask("VRFY ann@red.test", "550 5.1.1 ");
}

#[test]
fn names_that_vrfy_tells_can_be_written_to() {
    let fixture = Fixture::with("a b:*:::Two Words:HOME/levy:\no'brien:*:::Miles:HOME/levy:\n");
    let daemon = serve(&fixture, ALIASES, &[]);
    for who in ["Words", "Miles", "staff", "archive", "one"] {
        let mut peer = introduced(&daemon);
        let told = String::from_utf8(peer.ask(&format!("VRFY {who}"), "250 ")).unwrap();
        let address = told.split_once('<').unwrap().1.split_once('>').unwrap().0;
        peer.ask("MAIL FROM:<a@b.test>", "250 ");
        let reply = peer.ask(&format!("RCPT TO:<{address}>"), "");
        assert!(
            [&b"250"[..], b"451"].contains(&&reply[..3]),
            "{address}: {}",
            reply.escape_ascii()
        );
    }
}

#[test]
fn vrfy_and_expn_leave_a_transaction_as_it_is() {
    let fixture = Fixture::new();
    let daemon = serve(&fixture, ALIASES, &[]);
    let mut peer = introduced(&daemon);
    peer.ask("MAIL FROM:<a@b.test>", "250 ");
    peer.ask("VRFY levy", "250 ");
    peer.ask("RCPT TO:<levy@red.test>", "250 ");
    peer.ask("EXPN one", "250 ");
    peer.ask("EXPN nobody", "550 ");
    peer.ask("DATA", "354 ");
    peer.send("x\r\n.\r\n");
    peer.expect("250 ");
    assert_eq!(fixture.letter("levy"), "x\n");
}

#[test]
fn strangers_get_252_and_502_and_see_neither_in_ehlo() {
    let fixture = Fixture::new();
    for (vrfy, answers) in [("none", false), ("loopback", true), ("all", true)] {
        let daemon = serve(&fixture, ALIASES, &["--vrfy", vrfy]);
        let mut peer = greeted(&daemon);
        peer.send(
            "EHLO topaz.test\r\nVRFY levy\r\nVRFY nobody\r\nEXPN one\r\nEXPN nobody\r\nQUIT\r\n",
        );
        let all = String::from_utf8(peer.rest()).unwrap();
        assert_eq!(all.contains("250-EXPN\r\n"), answers, "{all}");
        let tail = match answers {
            true => "550 5.1.1 ",
            false => "502 5.7.0 EXPN is not for you",
        };
        assert_eq!(all.matches("502 5.7.0 ").count(), if answers { 0 } else { 2 }, "{all}");
        assert_eq!(all.matches("252 2.5.2 ").count(), if answers { 0 } else { 2 }, "{all}");
        assert!(all.contains(tail), "{all}");
    }
}

#[test]
fn help_of_each_verb_tells_what_it_does() {
    let fixture = Fixture::new();
    let daemon = fixture.serve(&[]);
    let mut peer = greeted(&daemon);
    for (verb, what) in [("vrfy", "full name"), ("EXPN", "members"), ("noop", "nothing")] {
        let line = String::from_utf8(peer.ask(&format!("HELP {verb}"), "214 2.0.0 ")).unwrap();
        assert!(line.contains(what), "{line}");
    }
    peer.ask("HELP FOO", "504 5.5.4 ");
}
