//! Addresses in the header of a letter: lists, groups, comments, quoted names, folded lines, encoded words and routes (RFC
//! 5322 §3.4, §4.4; RFC 2047 §5).

use crate::protocol::address::{self, BadAddress, Path};

/// Bytes that end a word outside of quotes (RFC 5322 §3.2.3, specials).
const SPECIALS: &[u8] = b"()<>[]:;@\\,.\"";

/// An address of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// `local@domain`, or a local part without a domain, as SMTP has it (RFC 5321 §4.1.2).
    pub(super) text: String,
    /// Where the name ends that has no domain: a place in the list, in bytes.
    pub(super) end_of_name: Option<usize>,
}

/// Reads a list of addresses; what is in a group counts as if it stood alone.
///
/// # Errors
/// What is wrong, for the user.
pub(super) fn addresses(list: &[u8]) -> Result<Vec<Listed>, BadAddress> {
    let mut parser = Parser { text: list, at: 0 };
    let (mut found, mut is_group) = (Vec::new(), false);
    loop {
        let (words, end) = parser.words()?;
        match end {
            End::Of(b':') if !is_group && !words.is_empty() => is_group = true,
            End::Of(b'<') => {
                found.extend(parser.in_brackets()?);
                match parser.words()? {
                    (words, End::Of(b',')) if words.is_empty() => {}
                    (words, End::Of(b';')) if words.is_empty() => is_group = false,
                    (words, End::OfText) if words.is_empty() => return Ok(found),
                    _ => return Err(BadAddress("Text behind an address")),
                }
            }
            End::Of(b',' | b';') | End::OfText => {
                if !words.is_empty() {
                    found.push(address_of(&words)?);
                }
                match end {
                    End::OfText => return Ok(found),
                    End::Of(stop) => is_group = is_group && stop == b',',
                }
            }
            End::Of(_) => return Err(BadAddress("Bad address syntax")),
        }
    }
}

/// A word, or a mark between words.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// An atom or a quoted text, without its quotes.
    Word(Vec<u8>, usize),
    /// `[127.0.0.1]`.
    Literal(Vec<u8>),
    /// `.` or `@`.
    Mark(u8),
}

/// Why a row of tokens has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// One of `,;:<>`.
    Of(u8),
    OfText,
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Reads the tokens up to a mark that ends them.
    fn words(&mut self) -> Result<(Vec<Token>, End), BadAddress> {
        let mut found = Vec::new();
        loop {
            self.skip_blanks()?;
            let Some(first) = self.peek() else { return Ok((found, End::OfText)) };
            found.push(match first {
                b',' | b';' | b':' | b'<' | b'>' => {
                    self.at += 1;
                    return Ok((found, End::Of(first)));
                }
                b'.' | b'@' => {
                    self.at += 1;
                    Token::Mark(first)
                }
                b'"' => Token::Word(self.quoted()?, self.at),
                b'[' => Token::Literal(self.literal()?),
                _ => Token::Word(self.atom()?, self.at),
            });
        }
    }

    /// Reads what follows `<`, up to its `>`; `None` for `<>`. A route before the address is left out.
    fn in_brackets(&mut self) -> Result<Option<Listed>, BadAddress> {
        let (mut words, mut end) = self.words()?;
        let is_route = words.first() == Some(&Token::Mark(b'@'));
        while is_route && end == End::Of(b',') {
            (words, end) = self.words()?; // <@a,@b:user@c>
        }
        if is_route && end == End::Of(b':') {
            (words, end) = self.words()?;
        }
        match end {
            End::Of(b'>') if words.is_empty() => Ok(None),
            End::Of(b'>') => address_of(&words).map(Some),
            _ => Err(BadAddress("< without its >")),
        }
    }

    /// Skips blanks, line ends and comments, which may lie in one another.
    fn skip_blanks(&mut self) -> Result<(), BadAddress> {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => self.at += 1,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => return Ok(()),
            }
            self.at += 1;
        }
        if depth == 0 { Ok(()) } else { Err(BadAddress("A comment without an end")) }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, BadAddress> {
        let mut word = Vec::new();
        loop {
            self.at += 1;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    word.extend(self.peek());
                }
                Some(b'\r' | b'\n') => {} // folded
                Some(byte) => word.push(byte),
                None => return Err(BadAddress("Quotes without an end")),
            }
        }
        self.at += 1;
        Ok(word)
    }

    fn literal(&mut self) -> Result<Vec<u8>, BadAddress> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b']');
        let end = end.ok_or(BadAddress("[ without its ]"))? + 1;
        self.at += end;
        Ok(rest.get(..end).unwrap_or_default().to_vec())
    }

    fn atom(&mut self) -> Result<Vec<u8>, BadAddress> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_end = |byte: &u8| SPECIALS.contains(byte) || byte.is_ascii_whitespace();
        let plain = rest.iter().position(is_end).unwrap_or(rest.len());
        let length = encoded_word(rest).unwrap_or(plain);
        if length == 0 {
            return Err(BadAddress("Bad address syntax"));
        }
        self.at += length;
        Ok(rest.get(..length).unwrap_or_default().to_vec())
    }
}

/// Returns the length of an encoded word at the start of a text, in which some programs leave a comma or a bracket.
fn encoded_word(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    let word = text.get(..end)?.strip_prefix(b"=?")?;
    let mut parts = word.splitn(4, |&byte| byte == b'?');
    let (charset, encoding, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let is_encoding = matches!(encoding, b"Q" | b"q" | b"B" | b"b");
    let is_it = is_encoding && !charset.is_empty() && parts.next()?.starts_with(b"=");
    is_it.then(|| 2 + charset.len() + 1 + encoding.len() + 1 + encoded.len() + 2)
}

/// Puts an address together that may have blanks and comments between its words.
fn address_of(tokens: &[Token]) -> Result<Listed, BadAddress> {
    let at = tokens.iter().position(|token| *token == Token::Mark(b'@'));
    let (local, domain) =
        tokens.split_at_checked(at.unwrap_or(tokens.len())).unwrap_or((tokens, &[]));
    let name = dotted(local)?;
    if address::printable(&name).as_bytes() != name.as_slice() {
        return Err(BadAddress("A character in the address that cannot be printed"));
    }
    let mut text = address::local_part_utf8(&name);
    let mut end_of_name = None;
    match domain {
        [] => {
            end_of_name = match local.last() {
                Some(Token::Word(_, end)) => Some(*end),
                _ => None,
            }
        }
        [_, Token::Literal(literal)] => {
            text.push('@');
            text += &String::from_utf8_lossy(literal);
        }
        [_, domain @ ..] => {
            text.push('@');
            text += &String::from_utf8_lossy(&dotted(domain)?);
        }
    }
    match address::without_brackets(text.as_bytes())? {
        Path::Null => Err(BadAddress("Bad address syntax")),
        _ => Ok(Listed { text, end_of_name }),
    }
}

/// Returns words with a dot between each two.
fn dotted(tokens: &[Token]) -> Result<Vec<u8>, BadAddress> {
    let mut text = Vec::new();
    for (number, token) in tokens.iter().enumerate() {
        match token {
            Token::Word(word, _) if number % 2 == 0 => text.extend(word),
            Token::Mark(b'.') if number % 2 == 1 => text.push(b'.'),
            Token::Word(..) => return Err(BadAddress("Several words where an address stands")),
            _ => return Err(BadAddress("Bad address syntax")),
        }
    }
    if tokens.len() % 2 == 1 { Ok(text) } else { Err(BadAddress("Bad address syntax")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Vec<String> {
        let found = addresses(list.as_bytes()).unwrap_or_else(|bad| panic!("{list:?}: {}", bad.0));
        found.into_iter().map(|it| it.text).collect()
    }

    #[test]
    fn each_form_of_an_address_is_found() {
        for (list, found) in [
            ("", &[][..]),
            (" , ,\n ", &[]),
            ("levy@red.test", &["levy@red.test"]),
            ("a@b.test, c@d.test,,e@f.test,", &["a@b.test", "c@d.test", "e@f.test"]),
            ("Levy <levy@red.test>", &["levy@red.test"]),
            ("\"Smith, Joe\" <joe@red.test>, ann@red.test", &["joe@red.test", "ann@red.test"]),
            ("J. R. \"Q\" Smith <joe@red.test>", &["joe@red.test"]),
            ("joe@x.test <joe@red.test>", &["joe@red.test"]),
            ("levy@red.test (Levy, the (second) \\) one)", &["levy@red.test"]),
            ("(a)levy(b)@(c)red(d).(e)test(f)", &["levy@red.test"]),
            ("pete . b @ silly . test", &["pete.b@silly.test"]),
            ("Friends: a@b.test, C <c@d.test>;, e@f.test", &["a@b.test", "c@d.test", "e@f.test"]),
            ("undisclosed-recipients:;", &[]),
            ("undisclosed-recipients: ;", &[]),
            ("a@b.test; c@d.test", &["a@b.test", "c@d.test"]),
            ("=?utf-8?Q?Jos=C3=A9?= <jose@red.test>", &["jose@red.test"]),
            ("=?utf-8?Q?Smith,(Joe?= <joe@red.test>", &["joe@red.test"]),
            (
                "Ann\n =?utf-8?B?w6k=?=\n\t<ann@red.test>,\r\n bob@red.test",
                &["ann@red.test", "bob@red.test"],
            ),
            ("<@a.test,@b.test:c@d.test>", &["c@d.test"]),
            ("\"joe q\"@red.test", &["\"joe q\"@red.test"]),
            ("\"joe\"@red.test", &["joe@red.test"]),
            ("\"a\\\"b\"@red.test", &["\"a\\\"b\"@red.test"]),
            ("levy@[127.0.0.1]", &["levy@[127.0.0.1]"]),
            ("root, <cron>", &["root", "cron"]),
            ("nobody <>", &[]),
            ("j\u{f6}rg@b\u{fc}ro.test", &["j\u{f6}rg@b\u{fc}ro.test"]),
        ] {
            assert_eq!(read(list), found, "{list:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_an_error() {
        for list in [
            "two words",
            "a@b@c",
            "a@",
            "@b.test",
            "<a@b.test",
            "a@b.test>",
            "(a",
            "\"a",
            "a@[1",
            ")",
            "<a@b.test> c",
            "a..b@c.test",
            "a@b..test",
            "x:y:z;",
            ":;",
            "a@b.test\0",
            "\\a@b",
            "<a b@c.test>",
            "\"a\nb\"c@d.test",
            "a@\"b\"c",
            "a\x1b@b.test",
        ] {
            assert!(addresses(list.as_bytes()).is_err(), "{list:?}");
        }
    }

    #[test]
    fn the_end_of_a_name_without_a_domain_is_known() {
        let list = b"root (Cron), Levy <levy>, a@b.test";
        let ends: Vec<_> = addresses(list).unwrap().into_iter().map(|it| it.end_of_name).collect();
        assert_eq!(ends, [Some(4), Some(23), None]);
    }
}
