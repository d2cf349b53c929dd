//! Letters whose best host we are ourselves: notifications to our own users.

use testkit::mail_server::{Answer, Came, MailServer, say};
use testkit::name_server::{Says, address, mx};

use crate::common::{Site, said};

/// red.test is another host, topaz.test is we ourselves.
fn zone(name: &str, kind: &str) -> Says {
    match (name, kind) {
        ("red.test" | "topaz.test", "MX") => Says::Records(vec![mx(10, name)]),
        ("red.test" | "topaz.test", "A") => Says::Records(vec![address("127.0.0.1")]),
        _ => Says::NoName,
    }
}

fn nobody_at_red(came: &Came) -> Option<Answer> {
    match came {
        Came::Command(line) if line.ends_with("@red.test>") && line.starts_with("RCPT") => {
            say("550 5.1.1 No such user")
        }
        _ => None,
    }
}

#[test]
fn a_notification_to_a_user_of_ours_goes_to_the_server_of_this_host() {
    let (site, server) = (Site::with(zone), MailServer::start(nobody_at_red));
    site.put_from("levy@topaz.test", &["bob@red.test"], "Subject: x\n\nx\n");
    site.once(&server.port(), &[]);
    site.wait_empty();
    let letters = server.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].contains("\nFinal-Recipient: rfc822;bob@red.test\n"), "{}", letters[0]);
    let mails = server.commands("MAIL");
    assert!(mails[1].starts_with("MAIL FROM:<>"), "{mails:?}");
    assert!(server.commands("RCPT")[1].starts_with("RCPT TO:<levy@topaz.test>"));
}

#[test]
fn the_postmaster_of_our_own_name_needs_no_dns() {
    let none =
        |name: &str, kind: &str| if name == "topaz.test" { Says::NoName } else { zone(name, kind) };
    let (site, server) = (Site::with(none), MailServer::start(nobody_at_red));
    site.put_from("", &["bob@red.test"], "Subject: x\n\nx\n");
    site.once(&server.port(), &[]);
    site.wait_empty();
    assert!(server.commands("RCPT")[1].starts_with("RCPT TO:<postmaster@topaz.test>"));
    assert!(server.letters()[0].contains("Subject: A notification could not be delivered\n"));
}

#[test]
fn other_letters_for_ourselves_go_round_in_no_circle_and_go_to_the_server_of_an_option() {
    let (site, server) = (Site::with(zone), MailServer::start(|_| None));
    site.put_from("ann@none.test", &["levy@topaz.test"], "x\n");
    let output = site.once(&server.port(), &["--double-bounce", "ann@none.test"]);
    assert!(said(&output).contains("its mail would come back to this host"), "{}", said(&output));
    assert!(server.letters().is_empty() && site.names("letters").is_empty());
    let local = MailServer::start(|_| None);
    site.put_from("ann@none.test", &["levy@topaz.test"], "x\n");
    site.once(&server.port(), &["--local", &local.address().to_string()]);
    assert_eq!((local.letters().len(), server.letters().len()), (1, 0));
    assert!(site.names("letters").is_empty());
}

#[test]
fn the_server_of_this_host_may_be_down_and_letters_wait() {
    let site = Site::with(zone);
    let port = MailServer::start(|_| None).port(); // free again
    site.put_from("", &["levy@topaz.test"], "x\n");
    let output = site.once(&port, &[]);
    assert!(said(&output).contains("deferred"), "{}", said(&output));
    assert_eq!(site.names("letters").len(), 1);
}
