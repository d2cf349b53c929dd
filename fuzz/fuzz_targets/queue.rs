//! Files of the queue: an envelope that is read is written down as the same, whatever stands behind it, and no value of it
//! ends a line; what a crash has cut is none.
#![no_main]

use forklore_fuzz::option;
use libfuzzer_sys::fuzz_target;
use mailstore::{QueueEnvelope, QueueRecipient};

fuzz_target!(|data: &[u8]| {
    let (choice, text) = option(data);
    match choice % 2 {
        0 => read(text),
        _ => written(text),
    }
});

/// A file as it lies on the disk.
fn read(text: &[u8]) {
    let mut rest = text;
    let Ok((envelope, length)) = QueueEnvelope::read(&mut rest) else { return };
    let used = text.len() - rest.len();
    assert_eq!(length, used as u64);
    assert!(text[..used].ends_with(b"\n\n"), "an empty line is its end");
    match envelope.encode() {
        Ok(again) => {
            let (read, _) = QueueEnvelope::read(&mut &again[..]).expect("what was written");
            assert_eq!(read, envelope);
        }
        Err(_) => assert!(text[..used].iter().any(|byte| matches!(byte, b'\r' | 0))),
    }
    for cut in [used - 1, used / 2] {
        assert!(QueueEnvelope::read(&mut &text[..cut]).is_err(), "an envelope without an end");
    }
}

/// An envelope whose values are what a client may say, or not: it is refused, or read as it was written.
fn written(text: &[u8]) {
    let mut parts = text.split(|&byte| byte == 0xff).map(<[u8]>::to_vec);
    let mut part = || parts.next().unwrap_or_default();
    let mut envelope = QueueEnvelope {
        id: part(),
        arrived: text.len() as u64,
        client: part(),
        user: part(),
        sender: part(),
        body: part(),
        is_utf8: text.first().is_some_and(|byte| byte % 2 == 1),
        ret: part(),
        envid: part(),
        recipients: Vec::new(),
    };
    for _ in 0..1 + text.len() % 3 {
        let recipient = QueueRecipient { address: part(), notify: part(), orcpt: part() };
        envelope.recipients.push(recipient);
    }
    let Ok(file) = envelope.encode() else { return };
    let whole = [&file[..], b"Subject: x\n\nto <eve@red.test>\n"].concat();
    let mut rest = &whole[..];
    assert_eq!(QueueEnvelope::read(&mut rest).expect("what was written").0, envelope);
    assert!(rest.starts_with(b"Subject: x\n"), "the text begins behind it");
}
