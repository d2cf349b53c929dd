//! Domains in UTF-8 as DNS has them, in ASCII (RFC 5890, RFC 3492).

/// Begins a label that is encoded (RFC 5890 §2.3.2.5).
const PREFIX: &[u8] = b"xn--";
/// Parameters of Punycode (RFC 3492 §5).
const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const INITIAL_BIAS: u32 = 72;
const INITIAL_N: u32 = 128;
/// Most characters of a label that is encoded: a domain has 255 bytes.
const MAX_CHARACTERS: usize = 255;

/// Returns a domain with its labels in ASCII, letters outside of it in lower case. What is not UTF-8, or too long for
/// a label, stays as it is, and is no domain.
#[must_use]
pub fn to_ascii(domain: &[u8]) -> Vec<u8> {
    if domain.is_ascii() {
        return domain.to_vec();
    }
    let Ok(text) = std::str::from_utf8(domain) else { return domain.to_vec() };
    let labels: Vec<Vec<u8>> = text.split('.').map(label).collect();
    labels.join(&b'.')
}

fn label(label: &str) -> Vec<u8> {
    if label.is_ascii() || label.starts_with('-') || label.ends_with('-') {
        return label.as_bytes().to_vec();
    }
    let characters: Vec<u32> = label.chars().flat_map(char::to_lowercase).map(u32::from).collect();
    match punycode(&characters) {
        Some(encoded) => [PREFIX, &encoded].concat(),
        None => label.as_bytes().to_vec(),
    }
}

/// Encodes characters (RFC 3492 §6.3).
fn punycode(characters: &[u32]) -> Option<Vec<u8>> {
    if characters.len() > MAX_CHARACTERS {
        return None;
    }
    let basic = characters.iter().filter_map(|&c| u8::try_from(c).ok()).filter(u8::is_ascii);
    let mut encoded: Vec<u8> = basic.collect();
    let basic = u32::try_from(encoded.len()).ok()?;
    if basic > 0 {
        encoded.push(b'-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (INITIAL_N, 0_u32, INITIAL_BIAS, basic);
    while (handled as usize) < characters.len() {
        let next = characters.iter().copied().filter(|&c| c >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for &c in characters {
            if c < n {
                delta = delta.checked_add(1)?;
            }
            if c == n {
                add_number(&mut encoded, delta, bias);
                bias = adapt(delta, handled + 1, handled == basic);
                (delta, handled) = (0, handled + 1);
            }
        }
        (delta, n) = (delta.checked_add(1)?, n + 1);
    }
    Some(encoded)
}

/// Appends a number of variable length.
fn add_number(encoded: &mut Vec<u8>, mut number: u32, bias: u32) {
    let mut k = BASE;
    loop {
        let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
        if number < threshold {
            encoded.push(digit(number));
            return;
        }
        encoded.push(digit(threshold + (number - threshold) % (BASE - threshold)));
        number = (number - threshold) / (BASE - threshold);
        k += BASE;
    }
}

/// Returns the digit of a number below 36: `a` to `z`, `0` to `9`.
fn digit(number: u32) -> u8 {
    let number = u8::try_from(number).unwrap_or(0);
    if number < 26 { b'a' + number } else { b'0' + (number - 26) }
}

/// Adapts the bias (RFC 3492 §6.1).
fn adapt(delta: u32, handled: u32, is_first: bool) -> u32 {
    let mut delta = if is_first { delta / DAMP } else { delta / 2 };
    delta += delta / handled;
    let mut k = 0;
    while delta > ((BASE - T_MIN) * T_MAX) / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_encoded_as_the_rfc_has_it() {
        for (domain, ascii) in [
            ("red.test", "red.test"),
            ("b\u{fc}cher.test", "xn--bcher-kva.test"),
            ("B\u{dc}CHER.Test", "xn--bcher-kva.Test"),
            ("\u{43f}\u{43e}\u{447}\u{442}\u{430}.\u{440}\u{444}", "xn--80a1acny.xn--p1ai"),
            // RFC 3492 §7.1 (A), (B), (S)
            (
                "\u{644}\u{64a}\u{647}\u{645}\u{627}\u{628}\u{62a}\u{643}\u{644}\u{645}\u{648}\u{634}\u{639}\u{631}\u{628}\u{64a}\u{61f}",
                "xn--egbpdaj6bu4bxfgehfvwxn",
            ),
            (
                "\u{4ed6}\u{4eec}\u{4e3a}\u{4ec0}\u{4e48}\u{4e0d}\u{8bf4}\u{4e2d}\u{6587}",
                "xn--ihqwcrb4cv8a8dqg056pqjye",
            ),
        ] {
            assert_eq!(to_ascii(domain.as_bytes()).escape_ascii().to_string(), ascii, "{domain}");
        }
        assert_eq!(to_ascii(b"\xff.test"), b"\xff.test");
        let long = "\u{fc}".repeat(300);
        assert_eq!(to_ascii(long.as_bytes()), long.as_bytes());
        assert!(!to_ascii("\u{10ffff}".repeat(255).as_bytes()).is_empty());
    }
}
