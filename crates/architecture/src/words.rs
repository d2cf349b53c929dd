//! Private phrases in comments, log lines, messages and names.

use crate::tokens::{Kind, Token, tokens, without_tests};

/// A phrase, in small letters, and what to write in its place. A `*` at the end stands for the rest of
/// a word.
pub type Phrase = (&'static str, &'static str);

/// Finds these phrases in the comments of a source, tests included, except in quotes (quotations)
/// and backquotes (names). A phrase of `unless_rfc` is allowed in a comment that names an RFC.
#[must_use]
pub fn in_comments(
    path: &str,
    source: &str,
    phrases: &[Phrase],
    unless_rfc: &[Phrase],
) -> Vec<String> {
    let mut wrong = Vec::new();
    for block in comment_blocks(&tokens(source)) {
        let (text, starts) = joined(&block);
        let plain = without_quotations(&text, &['"', '`']);
        let strict = if text.contains("RFC") { &[][..] } else { unless_rfc };
        for (at, (phrase, better)) in
            phrases.iter().chain(strict).flat_map(|p| places(&plain, p.0).map(move |at| (at, p)))
        {
            let line = starts.iter().rev().find(|(start, _)| *start <= at).map_or(0, |s| s.1);
            wrong.push(format!("{path}:{line}: '{phrase}': write {better}"));
        }
    }
    wrong
}

/// Finds these phrases in the strings of a source that have several words, without tests, except in
/// backquotes (names).
#[must_use]
pub fn in_strings(path: &str, source: &str, phrases: &[Phrase]) -> Vec<String> {
    let code = without_tests(&tokens(source));
    let strings = code.iter().filter(|token| token.kind == Kind::Text && token.text.contains(' '));
    let found = strings.flat_map(|string| {
        let text = without_quotations(&string.text.to_lowercase(), &['`']);
        let hits = phrases.iter().filter(move |phrase| places(&text, phrase.0).next().is_some());
        hits.map(move |(phrase, better)| (string, phrase, better))
    });
    let line = |(string, phrase, better): (&Token, _, _)| {
        format!("{path}:{}: '{phrase}' in \"{}\": write {better}", string.line, string.text)
    };
    found.map(line).collect()
}

/// Finds these phrases in the names of a source's functions, tests included.
#[must_use]
pub fn in_names(path: &str, source: &str, phrases: &[Phrase]) -> Vec<String> {
    let mut wrong = Vec::new();
    for pair in tokens(source).windows(2).filter(|pair| pair[0].is("fn")) {
        let name = pair[1].text.replace('_', " ");
        for (phrase, better) in phrases.iter().filter(|p| places(&name, p.0).next().is_some()) {
            let (line, name) = (pair[1].line, &pair[1].text);
            wrong.push(format!("{path}:{line}: '{phrase}' in fn {name}: write {better}"));
        }
    }
    wrong
}

/// Groups comments of the same kind in lines that follow each other.
fn comment_blocks(tokens: &[Token]) -> Vec<Vec<&Token>> {
    let mut blocks: Vec<Vec<&Token>> = Vec::new();
    for token in tokens.iter().filter(|token| token.is_comment()) {
        let goes_on = |last: &&Token| last.kind == token.kind && last.line + 1 == token.line;
        match blocks.last_mut() {
            Some(block) if block.last().is_some_and(goes_on) => block.push(token),
            _ => blocks.push(vec![token]),
        }
    }
    blocks
}

/// Returns a block as one text in small letters but for "RFC", and where in it each line starts.
fn joined(block: &[&Token]) -> (String, Vec<(usize, usize)>) {
    let (mut text, mut starts) = (String::new(), Vec::new());
    for token in block {
        for (line, content) in (token.line..).zip(token.text.lines()) {
            starts.push((text.len(), line));
            let content = content.trim().trim_start_matches(['/', '!', '*']).trim();
            text.push_str(&content.to_lowercase().replace("rfc", "RFC"));
            text.push(' ');
        }
    }
    (text, starts)
}

/// Blanks text between two of the same of these marks.
fn without_quotations(text: &str, marks: &[char]) -> String {
    let mut open = None;
    let blank = |c: char| {
        let is_mark = marks.contains(&c);
        match open {
            Some(mark) if mark == c => open = None,
            None if is_mark => open = Some(c),
            Some(_) => return ".".repeat(c.len_utf8()),
            None => {}
        }
        c.to_string()
    };
    text.chars().map(blank).collect()
}

/// Returns the indexes of a phrase in a text, as whole words.
fn places<'t>(text: &'t str, phrase: &'t str) -> impl Iterator<Item = usize> + 't {
    let (start, is_prefix) =
        phrase.strip_suffix('*').map_or((phrase, false), |start| (start, true));
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(start).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + start.len()..].chars().next();
        !before.is_some_and(is_word) && (is_prefix || !after.is_some_and(is_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHRASES: [Phrase; 2] = [("so many", "the limit"), ("heed*", "check")];
    const OCTETS: [Phrase; 1] = [("octets", "bytes")];

    fn lines(source: &str) -> Vec<String> {
        in_comments("a.rs", source, &PHRASES, &OCTETS)
    }

    #[test]
    fn a_phrase_is_found_in_comments_also_across_their_lines() {
        let wrong = lines("/// A.\n/// So\n/// many.\nfn a() {} // heeded\n");
        let expected = ["a.rs:2: 'so many': write the limit", "a.rs:4: 'heed*': write check"];
        assert_eq!(wrong, expected);
        for fine in ["// also many", "// `so many` \"so many\"", "// so\n\n// many", "// unheeded"]
        {
            assert_eq!(lines(fine), [""; 0], "{fine}");
        }
    }

    #[test]
    fn an_octet_needs_an_rfc() {
        assert_eq!(lines("/// Octets.").len(), 1);
        assert!(lines("/// Octets\n/// (RFC 1350).").is_empty());
        assert_eq!(lines("/// Octets.\n\n/// RFC 1350.").len(), 1);
    }

    #[test]
    fn strings_of_several_words_and_names_of_functions_count() {
        let source = "fn a() { b(\"So many.\", \"heed\", \"a `so many`\") }\n#[cfg(test)] fn so_many() { \"so many\" }";
        let strings = in_strings("a.rs", source, &PHRASES);
        assert_eq!(strings, ["a.rs:1: 'so many' in \"So many.\": write the limit"]);
        let names = in_names("a.rs", source, &PHRASES);
        assert_eq!(names, ["a.rs:2: 'so many' in fn so_many: write the limit"]);
    }
}
