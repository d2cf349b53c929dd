//! A whole SMTP session, from the greeting to the end: any bytes of a client, over a stream in memory, with mailboxes
//! in memory. The replies and the letters are compared with what RFC 5321 says of them (`smtp.rs`), and do not depend on
//! how the bytes are cut.
#![no_main]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;

use forklore_fuzz::{Wire, option, smtp};
use libfuzzer_sys::fuzz_target;
use smtp::Kept;
use smtpd::delivery::keeper::recipient;
use smtpd::options::{Config, OPTIONS};
use smtpd::protocol::address::Path;
use smtpd::protocol::envelope::{ClientAddress, Envelope, Recipient, Way};
use smtpd::protocol::lookup::{Commit, Delivered, Delivery, LocalUser, Mailboxes, Refusal};
use smtpd::protocol::reply::Reply;
use smtpd::session::over_stream;

fuzz_target!(|data: &[u8]| {
    let (choice, rest) = option(data);
    let (piece, input) = option(rest);
    let config = &configs()[usize::from(choice & 3)];
    let (output, kept) = serve(config, input, usize::from(piece));
    smtp::judge(input, &output, &kept, config.repair_bare_lf);
    let (whole, _) = serve(config, input, input.len());
    let codes =
        |output: &[u8]| smtp::replies(output).iter().map(|(code, _)| *code).collect::<Vec<_>>();
    assert_eq!(codes(&output), codes(&whole), "cut in pieces of {piece}");
});

/// As it comes, strict, with bare LF, and small.
fn configs() -> &'static [Config; 4] {
    static CONFIGS: OnceLock<[Config; 4]> = OnceLock::new();
    let read = |words: &[&str]| {
        let words = ["--hostname", "red.test"].iter().chain(words).map(Into::into).collect();
        let values =
            forknet::parse("smtpd", "", OPTIONS.rows, words).expect("the options are right");
        Config::read(&values).expect("they are right")
    };
    CONFIGS.get_or_init(|| {
        [
            read(&[]),
            read(&["--strict"]),
            read(&["--accept-bare-lf"]),
            read(&["--max-size", "1000", "--max-recipients", "2"]),
        ]
    })
}

fn serve(config: &Config, input: &[u8], piece: usize) -> (Vec<u8>, Vec<Kept>) {
    let boxes = Boxes { config, kept: RefCell::default() };
    let mut wire = Wire::new(input, piece);
    let client =
        ClientAddress { name: "127.0.0.1:7".into(), is_loopback: true, ..ClientAddress::default() };
    // A letter that breaks off is no fault.
    let _ = over_stream(config, &boxes, client, &mut wire);
    (wire.output, boxes.kept.into_inner())
}

/// The mailboxes of levy and bob.
struct Boxes<'c> {
    config: &'c Config,
    kept: RefCell<Vec<Kept>>,
}

fn user(name: &str) -> LocalUser {
    let address = format!("{name}@red.test").into_bytes();
    LocalUser { address, full_name: b"Jacob \x1b\xff\r\n Levy".to_vec() }
}

/// No 550, which would make the session slower each time.
fn unknown() -> Reply {
    Reply::new(553, "5.1.3", "Not here")
}

impl Mailboxes for Boxes<'_> {
    fn find(&self, path: &Path) -> Result<LocalUser, Reply> {
        path.name().filter(|name| name.local == b"levy").map(|_| user("levy")).ok_or_else(unknown)
    }

    fn members(&self, path: &Path) -> Result<Vec<LocalUser>, Reply> {
        let more = LocalUser { address: Vec::new(), full_name: Vec::new() };
        let members = vec![user("levy"), user("bob"), more];
        path.name().filter(|name| name.local == b"staff").map(|_| members).ok_or_else(unknown)
    }

    fn find_by_full_name(&self, name: &[u8]) -> Result<Vec<LocalUser>, Reply> {
        Ok(if name == b"Levy" { vec![user("levy"), user("bob")] } else { vec![user("levy")] })
    }

    fn recipient(&self, path: &Path, _: u64, _: Way) -> Result<(Recipient, Reply), Reply> {
        let name = path.name().ok_or_else(unknown)?;
        let is_ours = name.domain.is_empty() || name.domain.eq_ignore_ascii_case(b"red.test");
        let is_known = [&b"levy"[..], b"bob"].contains(&&name.local[..]);
        if !is_ours || !is_known {
            return Err(unknown());
        }
        Ok((recipient(self.config, path, name), Reply::new(250, "2.1.5", "Recipient accepted")))
    }

    fn letter<'a>(&'a self, _: &str, envelope: Rc<Envelope>, _: Commit) -> Box<dyn Delivery + 'a> {
        Box::new(Letter { boxes: self, envelope, text: Vec::new() })
    }
}

struct Letter<'a, 'c> {
    boxes: &'a Boxes<'c>,
    envelope: Rc<Envelope>,
    text: Vec<u8>,
}

impl Delivery for Letter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    fn head(&mut self, _: &[u8]) -> Result<(), Refusal> {
        unreachable!("no filters")
    }

    fn clear(&mut self) -> Result<(), Refusal> {
        unreachable!("no filters")
    }

    fn quarantine(&mut self, _: &str) -> Result<(), Refusal> {
        unreachable!("no filters")
    }

    fn finish(self: Box<Self>) -> Delivered {
        let recipients: Vec<_> =
            self.envelope.recipients.iter().map(|one| one.address.clone()).collect();
        // Some letters are refused in the end.
        let is_refused = self.text.windows(6).any(|part| part == b"REFUSE");
        let refusal =
            || Refusal { reply: Reply::new(451, "4.3.0", "Later"), reason: "a test".into() };
        let answers =
            recipients.iter().map(|_| if is_refused { Err(refusal()) } else { Ok(()) }).collect();
        if !is_refused {
            let sender = self.envelope.sender.clone();
            self.boxes.kept.borrow_mut().push(Kept { sender, recipients, text: self.text });
        }
        Delivered { answers, ..Delivered::default() }
    }
}
