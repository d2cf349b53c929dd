use super::*;
use std::fs;
use std::io::Write;

use mailstore::{Folder, QueueEnvelope, QueuedDraft, Stage};
use testkit::{TempDir, names};

const LETTER: &[u8] =
    b"From: hedrick@topaz.test\nSubject: meeting\n\nLet's get together Monday at 1pm.\n";
const REPLY: &[u8] = b"550 5.1.1 No such user";

struct Fixture {
    dir: TempDir,
    queue: Queue,
    config: Config,
}

/// A notification in the queue.
struct Told {
    envelope: QueueEnvelope,
    text: String,
}

impl Fixture {
    fn new(args: &[&str]) -> Fixture {
        let dir = TempDir::new();
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let queue = Queue::make(Folder::open(dir.path()).unwrap(), uid, gid).unwrap();
        let words = ["--queue", "/q", "--hostname", "topaz.test"];
        let args = words.iter().chain(args).map(OsString::from).collect();
        let values = forknet::parse("smtpq", "", crate::options::OPTIONS.rows, args).unwrap();
        Fixture { config: Config::read(&values).unwrap(), queue, dir }
    }

    /// Puts a letter with this envelope there.
    fn letter(&self, envelope: &QueueEnvelope) -> LockedLetter {
        let mut draft = self.queue.draft(envelope).unwrap();
        draft.write_all(LETTER).unwrap();
        let draft = draft.sync().unwrap();
        let name = draft.name().to_owned();
        QueuedDraft::publish_all(vec![draft]).unwrap();
        self.queue.lock(&name).unwrap().unwrap()
    }

    /// The notifications about a new letter with these outcomes.
    fn told(&self, envelope: &QueueEnvelope, outcomes: &[Outcome]) -> Vec<Told> {
        self.told_of(&mut self.letter(envelope), outcomes)
    }

    /// Those about a letter that is there, the oldest first.
    fn told_of(&self, letter: &mut LockedLetter, outcomes: &[Outcome]) -> Vec<Told> {
        let before = self.queue.list().unwrap();
        let mut names = notify(&self.queue, letter, outcomes, &self.config).unwrap();
        let new = self.queue.list().unwrap().into_iter().filter(|name| !before.contains(name));
        let read = |name: OsString| {
            let file = fs::read(self.dir.path().join("letters").join(name)).unwrap();
            let mut rest = file.as_slice();
            let (envelope, _) = QueueEnvelope::read(&mut rest).unwrap();
            Told { envelope, text: String::from_utf8(rest.to_vec()).unwrap() }
        };
        let new: Vec<OsString> = new.collect();
        names.sort();
        assert_eq!(new, names);
        new.into_iter().map(read).collect()
    }
}

fn envelope(sender: &str, notify: &[&str]) -> QueueEnvelope {
    let to = |(number, notify): (usize, &&str)| QueueRecipient {
        address: format!("levy{number}@red.test").into(),
        notify: (*notify).into(),
        orcpt: format!("rfc822;Levy+2B{number}@red.test").into(),
    };
    QueueEnvelope {
        id: b"1-2-3".to_vec(),
        arrived: 1_733_000_000,
        client: b"127.0.0.1:52100".to_vec(),
        sender: sender.into(),
        envid: b"QQ+2B3".to_vec(),
        recipients: notify.iter().enumerate().map(to).collect(),
        ..QueueEnvelope::default()
    }
}

fn outcome(recipient: usize, what: What) -> Outcome<'static> {
    Outcome { recipient, what, remote: b"mx.red.test[192.0.2.7]", reply: REPLY }
}

const AUTHOR: &str = "hedrick@topaz.test";
const DELAYED: What = What::Delayed { until: 1_733_432_000 };

#[test]
fn a_failure_comes_back_to_the_author_by_a_letter_of_the_queue_without_a_sender() {
    let fixture = Fixture::new(&[]);
    let envelope = envelope(AUTHOR, &["", ""]);
    let told = fixture.told(&envelope, &[outcome(1, What::Failed)]);
    let [Told { envelope: of, text }] = told.as_slice() else { panic!("{}", told.len()) };
    assert_eq!(
        (of.sender.as_slice(), of.client.as_slice()),
        (&b""[..], &b"notification of 1-2-3"[..])
    );
    assert_eq!(of.recipients.len(), 1);
    assert_eq!(of.recipients[0].address, AUTHOR.as_bytes());
    assert_eq!(
        (of.body.as_slice(), of.is_utf8, of.recipients[0].notify.len()),
        (&b""[..], false, 0)
    );
    for line in [
        "To: <hedrick@topaz.test>",
        "Auto-Submitted: auto-replied",
        "Reporting-MTA: dns; topaz.test",
        "Original-Envelope-Id: QQ+3",
        "Original-Recipient: rfc822;Levy+1@red.test",
        "Final-Recipient: rfc822;levy1@red.test",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx.red.test",
        "Diagnostic-Code: smtp; 550 5.1.1 No such user",
        "Subject: meeting",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    assert!(!text.contains("levy0@red.test") && !text.contains("Monday"), "{text}");
}

#[test]
fn there_are_the_notifications_that_notify_asks_for() {
    let kinds = [What::Failed, What::Expired, DELAYED, What::Delivered, What::Relayed];
    for (notify, warn, expected) in [
        ("", &[][..], [true, true, false, false, false]),
        ("", &["--warn-after", "60"][..], [true, true, true, false, false]),
        ("NEVER", &["--warn-after", "60"][..], [false; 5]),
        ("FAILURE", &["--warn-after", "60"][..], [true, true, false, false, false]),
        ("delay", &[][..], [false, false, true, false, false]),
        ("SUCCESS", &[][..], [false, false, false, true, true]),
        ("SUCCESS,FAILURE,DELAY", &[][..], [true; 5]),
        ("SUCCESSES", &[][..], [false; 5]),
    ] {
        let fixture = Fixture::new(warn);
        let told = kinds.map(|kind| {
            !fixture.told(&envelope(AUTHOR, &[notify]), &[outcome(0, kind)]).is_empty()
        });
        assert_eq!(told, expected, "{notify} {warn:?}");
    }
}

#[test]
fn outcomes_of_one_kind_are_one_notification_and_others_are_others() {
    let fixture = Fixture::new(&["--warn-after", "60"]);
    let envelope = envelope(AUTHOR, &["", "", "SUCCESS", "NEVER"]);
    let outcomes = [
        outcome(0, What::Failed),
        outcome(1, What::Expired),
        outcome(2, What::Relayed),
        outcome(3, What::Failed),
    ];
    let told = fixture.told(&envelope, &outcomes);
    let [failed, relayed] = told.as_slice() else { panic!("{}", told.len()) };
    assert_eq!(failed.text.matches("Final-Recipient").count(), 2, "{}", failed.text);
    assert!(relayed.text.contains("Action: relayed\nStatus: 2.0.0\n"), "{}", relayed.text);
}

#[test]
fn there_is_one_warning_of_a_delay_for_each_recipient_once_the_letter_is_old_enough() {
    let fixture = Fixture::new(&["--warn-after", "1000"]);
    let mut envelope = envelope(AUTHOR, &["", ""]);
    let now = u64::try_from(Timestamp::now().as_second()).unwrap();
    envelope.arrived = now - 500;
    assert_eq!(fixture.told(&envelope, &[outcome(0, DELAYED)]).len(), 0, "too early");
    envelope.arrived = now - 1500;
    let mut letter = fixture.letter(&envelope);
    assert_eq!(fixture.told_of(&mut letter, &[outcome(0, DELAYED)]).len(), 1);
    let name = letter.name().to_owned();
    drop(letter);
    let mut letter = fixture.queue.lock(&name).unwrap().unwrap();
    let both = [outcome(0, DELAYED), outcome(1, DELAYED)];
    let told = fixture.told_of(&mut letter, &both);
    assert_eq!(told.len(), 1);
    let text = &told[0].text;
    assert_eq!(text.matches("\nAction: delayed\nStatus: 4.0.0\n").count(), 1, "{text}");
    assert!(text.contains("\nLast-Attempt-Date: ") && text.contains("\nWill-Retry-Until: "));
    assert!(text.contains("Subject: Your letter is delayed\n") && text.contains("levy1@red.test"));
    assert_eq!(fixture.told_of(&mut letter, &both).len(), 0);
    assert_eq!(fixture.told_of(&mut letter, &[outcome(0, What::Expired)]).len(), 1);
}

#[test]
fn who_asks_for_warnings_receives_one_after_four_hours_without_an_option() {
    let fixture = Fixture::new(&[]);
    let now = u64::try_from(Timestamp::now().as_second()).unwrap();
    for (age, count) in [(4 * 3600 - 100, 0), (4 * 3600 + 1, 1)] {
        let mut envelope = envelope(AUTHOR, &["DELAY"]);
        envelope.arrived = now - age;
        assert_eq!(fixture.told(&envelope, &[outcome(0, DELAYED)]).len(), count);
    }
}

#[test]
fn a_notification_that_fails_goes_to_the_postmaster_and_what_fails_then_nowhere() {
    let fixture = Fixture::new(&[]);
    let failed = [outcome(0, What::Failed)];
    let single = fixture.told(&envelope(AUTHOR, &[""]), &failed).remove(0);
    let double = fixture.told(&single.envelope, &failed);
    assert_eq!(double.len(), 1);
    let of = &double[0].envelope;
    assert_eq!(of.recipients[0].address, b"postmaster@topaz.test");
    assert!(of.sender.is_empty() && of.client.starts_with(b"double bounce of "));
    assert!(double[0].text.contains("Subject: A notification could not be delivered\n"));
    assert!(fixture.told(of, &failed).is_empty());
    // From another program, and the address of the option in capitals.
    let fixture = Fixture::new(&["--double-bounce", "Ann@blue.test"]);
    let mut other = envelope("", &[""]);
    let told = fixture.told(&other, &[outcome(0, What::Failed)]);
    assert_eq!(told[0].envelope.recipients[0].address, b"Ann@blue.test");
    other.recipients[0].address = b"ANN@blue.test".to_vec();
    assert!(fixture.told(&other, &[outcome(0, What::Failed)]).is_empty());
    for kind in [DELAYED, What::Delivered, What::Relayed] {
        let all = envelope("", &["SUCCESS,DELAY,FAILURE"]);
        assert!(fixture.told(&all, &[outcome(0, kind)]).is_empty(), "{kind:?}");
    }
}

#[test]
fn ret_full_brings_the_letter_back_where_it_has_failed() {
    let fixture = Fixture::new(&[]);
    for (ret, kind, is_whole) in [
        ("FULL", What::Failed, true),
        ("full", What::Expired, true),
        ("HDRS", What::Failed, false),
        ("", What::Failed, false),
        ("FULL", What::Relayed, false),
    ] {
        let mut envelope = envelope(AUTHOR, &["FAILURE,SUCCESS"]);
        envelope.ret = ret.into();
        let text = &fixture.told(&envelope, &[outcome(0, kind)])[0].text;
        assert_eq!(text.contains("Monday at 1pm"), is_whole, "{ret} {kind:?}: {text}");
        assert!(text.contains("\nSubject: meeting\n"));
    }
}

#[test]
fn a_notification_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let fixture = Fixture::new(&["--warn-after", "60"]);
    let mut letter = fixture.letter(&envelope(AUTHOR, &["", ""]));
    fs::remove_dir(fixture.dir.path().join("tmp")).unwrap();
    let outcomes = [outcome(0, What::Failed), outcome(1, DELAYED)];
    let told = notify(&fixture.queue, &mut letter, &outcomes, &fixture.config);
    assert!(matches!(told, Err(mailstore::Error::Io { .. })), "{told:?}");
    assert!(!letter.is_warned(1));
    assert_eq!(names(&fixture.dir.path().join("letters")).len(), 1);
}

/// Where a process was killed that notifies.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Killed {
    InDraft,
    UnderWay,
    PutIn,
    Sent,
}

#[test]
fn an_author_is_notified_once_wherever_the_process_was_killed() {
    for is_warning in [false, true] {
        for killed in [Killed::InDraft, Killed::UnderWay, Killed::PutIn, Killed::Sent] {
            let fixture = Fixture::new(&["--warn-after", "0"]);
            let (queue, letters) = (&fixture.queue, fixture.dir.path().join("letters"));
            let mut letter = fixture.letter(&envelope(AUTHOR, &[""]));
            let (name, number) = (letter.name().to_owned(), letter.next_notice());
            let mut draft = queue.draft_notice(&name, number, &envelope("", &[""])).unwrap();
            draft.write_all(b"begun\n").unwrap();
            queue.keep_notices(vec![draft.sync().unwrap()]).unwrap();
            if killed >= Killed::UnderWay {
                letter.record_under_way(&[(0, UnderWay { number, is_warning })]).unwrap();
            }
            if killed >= Killed::PutIn {
                queue.publish_notice(&name, number).unwrap();
            }
            drop(letter);
            let mut letter = queue.lock(&name).unwrap().unwrap();
            if killed == Killed::Sent {
                for notice in names(&letters).iter().filter(|it| it.contains('.')) {
                    fs::remove_file(letters.join(notice)).unwrap();
                }
            }
            finish(queue, &mut letter).unwrap();
            let outcome = outcome(0, if is_warning { DELAYED } else { What::Failed });
            if killed == Killed::InDraft {
                notify(queue, &mut letter, &[outcome], &fixture.config).unwrap();
            }
            let in_queue = names(&letters).len() - 1;
            assert_eq!(in_queue, usize::from(killed != Killed::Sent), "{killed:?}");
            drop(letter);
            let letter = queue.lock(&name).unwrap().unwrap();
            let is_told = if is_warning {
                letter.is_warned(0)
            } else {
                letter.states()[0].stage == Stage::Notified
            };
            assert!(is_told && letter.states()[0].under_way.is_none(), "{killed:?}");
            assert_eq!(names(&fixture.dir.path().join("tmp")).len(), 0, "{killed:?}");
        }
    }
}

#[test]
fn an_author_with_utf_8_in_the_address_gets_it_with_smtputf8() {
    let fixture = Fixture::new(&[]);
    let mut envelope = envelope("h\u{e9}drick@topaz.test", &[""]);
    envelope.is_utf8 = true;
    envelope.recipients[0].address = "l\u{e9}vy@red.test".into();
    let told = fixture.told(&envelope, &[outcome(0, What::Failed)]);
    let Told { envelope: of, text } = &told[0];
    assert!(of.is_utf8 && of.body == b"8BITMIME");
    assert!(text.contains("\nFinal-Recipient: utf-8;l\u{e9}vy@red.test\n"), "{text}");
    assert!(text.contains("\nContent-Type: message/global-delivery-status\n"), "{text}");
    // An author in ASCII may have a server without SMTPUTF8: the header of the notification is in ASCII.
    envelope.sender = AUTHOR.into();
    let told = fixture.told(&envelope, &[outcome(0, What::Failed)]);
    assert!(!told[0].envelope.is_utf8);
}
