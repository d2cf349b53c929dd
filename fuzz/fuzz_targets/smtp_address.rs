//! Addresses and parameters of MAIL and RCPT, as RFC 5321 §4.1.2 has them: what is taken can be written down, and is
//! then read as the same; nothing that is printed moves the cursor or ends a line.
#![no_main]

use forklore_fuzz::option;
use libfuzzer_sys::fuzz_target;
use smtpd::protocol::address::{Path, Tolerance, local_part, path, without_brackets};
use smtpd::protocol::params;

fuzz_target!(|data: &[u8]| {
    let (choice, text) = option(data);
    let tolerance =
        [Tolerance::NONE, Tolerance::RECIPIENT, Tolerance::SENDER][usize::from(choice % 3)];
    if let Ok((found, rest)) = path(text, tolerance) {
        assert!(text.ends_with(rest), "the rest is not the input's");
        assert!(rest.is_empty() || rest[0] == b' ', "text behind the address");
        assert!(text.len() - rest.len() <= 256, "a path over 256 bytes (§4.5.3.1.3)");
        written_down(&found, tolerance);
    }
    if let Ok(found) = without_brackets(text) {
        written_down(&found, Tolerance::NONE);
        assert!(!matches!(found, Path::Null), "VRFY of nobody");
    }
    let _ = params::mail(text);
    let _ = params::rcpt(text, choice & 4 != 0);
});

fn written_down(found: &Path, tolerance: Tolerance) {
    let name = found.name();
    let length = name.as_ref().map_or(0, |name| name.local.len() * 2 + name.domain.len());
    if length > 200 {
        return; // in brackets and quotes it may be too long
    }
    match found {
        Path::Null => assert_eq!(name, None),
        Path::Name(local) => {
            if local.is_ascii() {
                let again = format!("<{}>", local_part(local));
                let (again, _) =
                    path(again.as_bytes(), tolerance).expect("what is written is a path");
                assert_eq!(again.name(), name);
            }
        }
        Path::Mailbox(mailbox) => {
            assert!(!mailbox.text.contains(char::is_control), "{:?}", mailbox.text);
            assert!(!mailbox.local.iter().any(u8::is_ascii_control), "{:?}", mailbox.local);
            // An address literal of another kind may have nearly everything in its brackets (RFC 5321 §4.1.3).
            let is_literal = mailbox.domain.starts_with(b"[");
            let bad: &[u8] = if is_literal { b" []\\" } else { b"<> @[]" };
            let domain = mailbox.domain.strip_prefix(b"[").unwrap_or(&mailbox.domain);
            let domain = domain.strip_suffix(b"]").filter(|_| is_literal).unwrap_or(domain);
            let is_bad = |byte: &u8| byte.is_ascii_control() || bad.contains(byte);
            assert!(!domain.iter().any(is_bad), "{:?}", mailbox.text);
            let text = format!("<{}>", mailbox.text);
            let (again, rest) =
                path(text.as_bytes(), tolerance).expect("what is written is a path");
            assert_eq!((again.name(), rest), (name, &b""[..]), "{text}");
        }
    }
}
