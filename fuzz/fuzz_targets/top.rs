//! The part of a message that TOP sends, however it is cut, against a slow look at its lines (RFC 1939 §7).
#![no_main]

use forklore_fuzz::option;
use libfuzzer_sys::fuzz_target;
use pop3d::protocol::top::Top;

fuzz_target!(|data: &[u8]| {
    let (piece, rest) = option(data);
    let (count, message) = option(rest);
    // The largest numbers are those that a client may say without having counted.
    let count = if count == u8::MAX { u64::MAX } else { u64::from(count) };
    let mut top = Top::new(count);
    let mut shown = Vec::new();
    for part in message.chunks(usize::from(piece).max(1)) {
        let taken = top.take(part);
        assert!(taken <= part.len());
        shown.extend_from_slice(&part[..taken]);
        if taken < part.len() {
            break;
        }
    }
    assert_eq!(shown, expected(message, count));
});

fn expected(message: &[u8], count: u64) -> Vec<u8> {
    let mut shown = Vec::new();
    let mut lines = message.split_inclusive(|&byte| byte == b'\n');
    for line in lines.by_ref() {
        shown.extend_from_slice(line);
        let is_blank =
            line.strip_suffix(b"\n").is_some_and(|line| line.iter().all(|&byte| byte == b'\r'));
        if is_blank {
            break;
        }
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    lines.take(count).for_each(|line| shown.extend_from_slice(line));
    shown
}
