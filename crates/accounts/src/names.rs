//! What makes two names the same: `--names` and `--names-domain`.

/// Longest name in bytes (RFC 4616 §2: a field of PLAIN has 255 octets).
pub const MAX_NAME: usize = 255;

/// Whether capitals count: `--names`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameCase {
    /// ASCII capitals are taken as small letters, in the accounts' names too: telephones capitalise.
    #[default]
    Lower,
    /// Every byte counts.
    AsIs,
}

impl NameCase {
    /// Reads `lower` or `as-is`.
    #[must_use]
    pub fn parse(text: &str) -> Option<NameCase> {
        match text {
            "lower" => Some(NameCase::Lower),
            "as-is" => Some(NameCase::AsIs),
            _ => None,
        }
    }
}

/// What becomes of the `@domain` of a name: `--names-domain`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameDomain {
    /// The whole address is the name.
    #[default]
    Keep,
    /// The name ends before its last `@`, in the accounts too.
    Cut,
}

impl NameDomain {
    /// Reads `keep` or `cut`.
    #[must_use]
    pub fn parse(text: &str) -> Option<NameDomain> {
        match text {
            "keep" => Some(NameDomain::Keep),
            "cut" => Some(NameDomain::Cut),
            _ => None,
        }
    }
}

/// How names are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Whether capitals count.
    pub case: NameCase,
    /// What becomes of a domain.
    pub domain: NameDomain,
}

impl Names {
    /// Returns the form in which a name is compared, counted and used in paths; `None` for what is no
    /// name: an empty one, one over [`MAX_NAME`] or with a control character in it. No byte is taken
    /// for text: beyond ASCII each counts as it is.
    #[must_use]
    pub fn canonical(self, name: &[u8]) -> Option<Vec<u8>> {
        let kept = self.kept(name);
        let is_name = !kept.is_empty() && name.len() <= MAX_NAME;
        if !is_name || name.iter().any(u8::is_ascii_control) {
            return None;
        }
        Some(match self.case {
            NameCase::Lower => kept.to_ascii_lowercase(),
            NameCase::AsIs => kept.to_vec(),
        })
    }

    /// Whether an account's name is this one, which is in its canonical form. Copies nothing.
    #[must_use]
    pub fn is_same(self, account: &[u8], canonical: &[u8]) -> bool {
        match self.case {
            NameCase::Lower => self.kept(account).eq_ignore_ascii_case(canonical),
            NameCase::AsIs => self.kept(account) == canonical,
        }
    }

    fn kept(self, name: &[u8]) -> &[u8] {
        let at = name.iter().rposition(|&byte| byte == b'@');
        let end = at.filter(|_| self.domain == NameDomain::Cut).unwrap_or(name.len());
        name.get(..end).unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(case: &str, domain: &str) -> Names {
        Names { case: NameCase::parse(case).unwrap(), domain: NameDomain::parse(domain).unwrap() }
    }

    #[test]
    fn a_name_is_compared_as_the_options_say() {
        for (case, domain, name, expected) in [
            ("lower", "keep", "Levy@Example.Test", "levy@example.test"),
            ("as-is", "keep", "Levy@Example.Test", "Levy@Example.Test"),
            ("lower", "cut", "Levy@Example.Test", "levy"),
            ("as-is", "cut", "Levy@Example.Test", "Levy"),
            ("lower", "cut", "a@b@c", "a@b"),
            ("lower", "cut", "LEVY", "levy"),
            ("lower", "keep", "\u{c9}VA", "\u{c9}va"),
        ] {
            let names = names(case, domain);
            let canonical = names.canonical(name.as_bytes()).unwrap();
            assert_eq!(canonical, expected.as_bytes(), "{case} {domain} {name}");
            assert!(names.is_same(name.as_bytes(), &canonical));
        }
        assert_eq!(Names::default(), names("lower", "keep"));
        assert!(!names("as-is", "keep").is_same(b"Levy", b"levy"));
        assert!(!names("lower", "keep").is_same(b"levy@example.test", b"levy"));
        assert!(names("lower", "cut").is_same(b"levy@example.test", b"levy"));
    }

    #[test]
    fn what_is_no_name_has_no_form() {
        let long = [b'a'; MAX_NAME + 1];
        for name in [&b""[..], b"a\0b", b"a\nb", b"\x7f", &long] {
            assert_eq!(Names::default().canonical(name), None);
        }
        assert!(Names::default().canonical(&long[1..]).is_some());
        assert_eq!(names("lower", "cut").canonical(b"@example.test"), None);
        assert!(NameCase::parse("upper").is_none() && NameDomain::parse("").is_none());
    }
}
