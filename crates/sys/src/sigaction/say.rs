//! A line to standard output from a handler. The slides use printf, which a handler must not call
//! (signal-safety(7)), because the signal may have interrupted printf.

use libc::{STDOUT_FILENO, pid_t};

/// Longest line, in bytes; the rest is cut.
const MAX_LINE: usize = 80;

/// Writes `child N terminated`.
pub(super) fn child_terminated(pid: pid_t) {
    let mut digits = [0; 10];
    line(&["child ", decimal(pid.unsigned_abs(), &mut digits), " terminated"]);
}

/// Writes the parts and a newline by one write(2). It allocates no memory and takes no lock.
pub(super) fn line(parts: &[&str]) {
    let mut text = [0; MAX_LINE];
    let bytes = parts.iter().flat_map(|part| part.bytes()).take(MAX_LINE - 1).chain([b'\n']);
    let mut length = 0;
    for (place, byte) in text.iter_mut().zip(bytes) {
        *place = byte;
        length += 1;
    }
    // SAFETY: the first `length` bytes of `text` are live for the call. Its error is ignored, because a
    // handler has no other way to report it.
    unsafe { libc::write(STDOUT_FILENO, text.as_ptr().cast(), length) };
}

/// Returns a number's decimal digits, written from the end of `digits`.
fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &str {
    let mut first = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        first -= 1;
        if number == 0 {
            break;
        }
    }
    digits.get(first..).and_then(|digits| str::from_utf8(digits).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numbers_have_their_decimal_digits() {
        for number in [0, 7, 10, 4711, u32::MAX] {
            assert_eq!(decimal(number, &mut [0; 10]), number.to_string());
        }
    }
}
