//! Rust's tokens, as far as the rules need them.

use std::iter;

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier, a keyword, a number.
    Word,
    /// A lifetime, without its quote.
    Lifetime,
    /// The content of a string or character, with its escapes.
    Text,
    /// A doc comment, with its marks.
    Doc,
    /// Any other comment, with its marks.
    Comment,
    /// Anything else: `::`, `->`, `=>`, or one character.
    Sign,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its kind.
    pub kind: Kind,
    /// Its text.
    pub text: String,
    /// The line that it begins in, from 1.
    pub line: usize,
}

impl Token {
    /// Returns true for this word or sign.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Sign) && self.text == text
    }

    /// Returns true for a comment of either kind.
    #[must_use]
    pub fn is_comment(&self) -> bool {
        matches!(self.kind, Kind::Doc | Kind::Comment)
    }
}

/// Splits a source into its tokens.
#[must_use]
pub fn tokens(source: &str) -> Vec<Token> {
    let (mut rest, mut line, mut found) = (source, 1, Vec::new());
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            line += usize::from(first == '\n');
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (kind, length, text) = next(rest, first);
        found.push(Token { kind, text: rest[text].to_owned(), line });
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// Returns the first token of `rest`: its kind, its length in bytes, and the range of its text.
fn next(rest: &str, first: char) -> (Kind, usize, std::ops::Range<usize>) {
    let whole = |kind, length: usize| (kind, length, 0..length);
    if rest.starts_with("//") {
        let length = rest.find('\n').unwrap_or(rest.len());
        let text = &rest[..length];
        let is_doc =
            text.starts_with("//!") || (text.starts_with("///") && !text.starts_with("////"));
        return whole(if is_doc { Kind::Doc } else { Kind::Comment }, length);
    }
    if rest.starts_with("/*") {
        let is_doc = rest.starts_with("/**") || rest.starts_with("/*!");
        return whole(if is_doc { Kind::Doc } else { Kind::Comment }, block_comment(rest));
    }
    if let Some((length, text)) = string(rest) {
        return (Kind::Text, length, text);
    }
    if first == '\'' {
        return quoted(rest);
    }
    if is_word(first) {
        let word = rest.strip_prefix("r#").unwrap_or(rest);
        let length = word.find(|c| !is_word(c)).unwrap_or(word.len()) + rest.len() - word.len();
        return (Kind::Word, length, rest.len() - word.len()..length);
    }
    let pair = ["::", "->", "=>"].iter().find(|pair| rest.starts_with(**pair));
    whole(Kind::Sign, pair.map_or(first.len_utf8(), |pair| pair.len()))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the length of a comment with nested ones.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest[at..];
        let step = if here.starts_with("/*") {
            depth += 1;
            2
        } else if here.starts_with("*/") {
            depth -= 1;
            2
        } else {
            here.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// Returns the length of a string with any prefix, and the range of its content.
fn string(rest: &str) -> Option<(usize, std::ops::Range<usize>)> {
    let prefix = rest.find(|c: char| !matches!(c, 'b' | 'c' | 'r')).filter(|at| *at <= 2)?;
    let is_raw = rest[..prefix].ends_with('r');
    let marks = if is_raw { rest[prefix..].bytes().take_while(|b| *b == b'#').count() } else { 0 };
    let begin = prefix + marks + 1;
    if !rest[prefix + marks..].starts_with('"') {
        return None;
    }
    let closing = format!("\"{}", "#".repeat(marks));
    let mut at = begin;
    while at < rest.len() && !rest[at..].starts_with(&closing) {
        let escapes = !is_raw && rest[at..].starts_with('\\');
        at +=
            rest[at..].chars().take(if escapes { 2 } else { 1 }).map(char::len_utf8).sum::<usize>();
    }
    Some(((at + closing.len()).min(rest.len()), begin..at))
}

/// Returns a character or a lifetime.
fn quoted(rest: &str) -> (Kind, usize, std::ops::Range<usize>) {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next().unwrap_or((1, ' '));
    let (second_at, second) = chars.next().unwrap_or((rest.len(), ' '));
    if first == '\\' {
        let after = second_at + second.len_utf8();
        let end = rest[after..].find('\'').map_or(rest.len(), |at| after + at);
        return (Kind::Text, (end + 1).min(rest.len()), 1..end);
    }
    if second == '\'' {
        return (Kind::Text, second_at + 1, 1..second_at);
    }
    let end = rest[1..].find(|c| !is_word(c)).map_or(rest.len(), |at| at + 1);
    (Kind::Lifetime, end, 1..end)
}

/// Returns the tokens without items under `#[cfg(test)]`.
#[must_use]
pub fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        match attribute(tokens, at) {
            Some(end) if is_for_tests(&tokens[at..end]) => at = item_end(tokens, end),
            _ => {
                kept.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    kept
}

/// Returns the end of the attribute that begins here, if one does.
#[must_use]
pub fn attribute(tokens: &[Token], at: usize) -> Option<usize> {
    let open = at + 1 + usize::from(tokens.get(at + 1)?.is("!"));
    (tokens[at].is("#") && tokens.get(open)?.is("[")).then(|| closing(tokens, open) + 1)
}

fn is_for_tests(attribute: &[Token]) -> bool {
    let text: String = attribute.iter().map(|token| token.text.as_str()).collect();
    text == "#[cfg(test)]" || text.starts_with("#[cfg(all(test,")
}

/// Returns the index after an item and the attributes before it.
fn item_end(tokens: &[Token], begin: usize) -> usize {
    let mut at = begin;
    while at < tokens.len() {
        if let Some(end) = attribute(tokens, at) {
            at = end;
        } else if tokens[at].is(";") {
            return at + 1;
        } else if tokens[at].is("{") {
            return closing(tokens, at) + 1;
        } else if tokens[at].is("(") || tokens[at].is("[") {
            at = closing(tokens, at) + 1;
        } else {
            at += 1;
        }
    }
    at
}

/// Returns the index of the bracket that closes this one.
#[must_use]
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if ["(", "[", "{"].iter().any(|sign| token.is(sign)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|sign| token.is(sign)) {
            depth -= 1;
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len().saturating_sub(1)
}

/// Splits tokens at the commas outside of brackets and generic arguments.
#[must_use]
pub fn split_at_commas(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_i32);
    for (at, token) in tokens.iter().enumerate() {
        if ["(", "[", "{", "<"].iter().any(|sign| token.is(sign)) {
            depth += 1;
        } else if [")", "]", "}", ">"].iter().any(|sign| token.is(sign)) {
            depth -= 1;
        } else if token.is(",") && depth == 0 {
            parts.push(&tokens[begin..at]);
            begin = at + 1;
        }
    }
    parts.push(&tokens[begin..]);
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

/// Returns the text of tokens without comments, with blanks only between words.
#[must_use]
pub fn joined(tokens: &[Token]) -> String {
    let tokens: Vec<_> = tokens.iter().filter(|token| !token.is_comment()).collect();
    let next = tokens.iter().skip(1).map(Some).chain(iter::once(None));
    let pieces = tokens.iter().zip(next).map(|(token, next)| {
        let is_name = matches!(token.kind, Kind::Word | Kind::Lifetime);
        let both = is_name && next.is_some_and(|next| next.kind == Kind::Word);
        let quote = if token.kind == Kind::Lifetime { "'" } else { "" };
        format!("{quote}{}{}", token.text, if both { " " } else { "" })
    });
    pieces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<(Kind, String)> {
        tokens(source).into_iter().map(|token| (token.kind, token.text)).collect()
    }

    fn of(kind: Kind, text: &str) -> (Kind, String) {
        (kind, text.to_owned())
    }

    #[test]
    fn comments_strings_and_lifetimes_are_no_words() {
        assert_eq!(kinds("// use a;"), [of(Kind::Comment, "// use a;")]);
        assert_eq!(
            kinds("/// use a;\n//// b"),
            [of(Kind::Doc, "/// use a;"), of(Kind::Comment, "//// b")]
        );
        assert_eq!(
            kinds("/* a /* b */ c */d"),
            [of(Kind::Comment, "/* a /* b */ c */"), of(Kind::Word, "d")]
        );
        assert_eq!(kinds(r#""a \" b""#), [of(Kind::Text, r#"a \" b"#)]);
        assert_eq!(kinds(r###"br#"a " \"#c"###), [of(Kind::Text, r#"a " \"#), of(Kind::Word, "c")]);
        assert_eq!(kinds(r"'\'' 'x' b'\x1b' '\u{1b}'").len(), 5); // the b is a word of its own
        assert_eq!(
            kinds("&'static str"),
            [of(Kind::Sign, "&"), of(Kind::Lifetime, "static"), of(Kind::Word, "str")]
        );
        assert_eq!(kinds("r#type"), [of(Kind::Word, "type")]);
        assert_eq!(kinds("break"), [of(Kind::Word, "break")]);
        assert_eq!(
            kinds("a::b->c"),
            [
                of(Kind::Word, "a"),
                of(Kind::Sign, "::"),
                of(Kind::Word, "b"),
                of(Kind::Sign, "->"),
                of(Kind::Word, "c")
            ]
        );
    }

    #[test]
    fn a_token_knows_its_line() {
        let lines: Vec<_> =
            tokens("a\n\"b\n\n\" /*\n*/ c").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 2, 4, 5]);
    }

    #[test]
    fn items_for_tests_are_left_out() {
        let left = |source| joined(&without_tests(&tokens(source)));
        assert_eq!(left("a; #[cfg(test)] mod tests { use b; } c"), "a;c");
        assert_eq!(left("#[cfg(test)] #[path = \"x\"] mod tests; c"), "c");
        assert_eq!(left("#[cfg(test)] fn f(a: [u8; 3]) -> u8 { 1 } c"), "c");
        assert_eq!(left("#[cfg(all(test, unix))] use b; c"), "c");
        assert_eq!(left("#[cfg(not(test))] use b;"), "#[cfg(not(test))]use b;");
    }

    #[test]
    fn commas_in_brackets_split_nothing() {
        let tokens = tokens("a: (b, c), d: HashMap<e, f>, g: Box<dyn Fn(h, i) -> j>,");
        let parts: Vec<_> = split_at_commas(&tokens).into_iter().map(joined).collect();
        assert_eq!(parts, ["a:(b,c)", "d:HashMap<e,f>", "g:Box<dyn Fn(h,i)->j>"]);
    }
}
