//! A line to standard output from within a handler. The slides use printf, which is not among the
//! functions that a handler may call (signal-safety(7)): it may be just what was interrupted.

use libc::{STDOUT_FILENO, pid_t};

/// A line that is longer is cut.
const LINE: usize = 80;

/// `child N terminated`.
pub(super) fn child_terminated(pid: pid_t) {
    let mut digits = [0; 10];
    line(&["child ", decimal(pid.unsigned_abs(), &mut digits), " terminated"]);
}

/// The parts and a newline, by one write(2): no memory is asked for, no lock taken.
pub(super) fn line(parts: &[&str]) {
    let mut text = [0; LINE];
    let octets = parts.iter().flat_map(|part| part.bytes()).take(LINE - 1).chain([b'\n']);
    let mut length = 0;
    for (place, octet) in text.iter_mut().zip(octets) {
        *place = octet;
        length += 1;
    }
    // SAFETY: the first `length` octets of `text` are live for the call. A standard output that is
    // gone is nothing that a handler could tell anybody.
    unsafe { libc::write(STDOUT_FILENO, text.as_ptr().cast(), length) };
}

/// A number's decimal digits, written from the end of `digits`.
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
