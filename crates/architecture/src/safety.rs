//! Blocks that the compiler does not check, and their reasons.

use crate::tokens::{Token, tokens};

/// The keyword, in two parts because only sources of `sys` may have the word.
pub const KEYWORD: &str = concat!("un", "safe");

/// Finds the lines of a source with the word, in comments, strings and names too.
#[must_use]
pub fn mentions(path: &str, source: &str) -> Vec<String> {
    let lines = source.lines().zip(1..).filter(|(line, _)| line.contains(KEYWORD));
    lines.map(|(line, number)| format!("{path}:{number}: {}", line.trim())).collect()
}

/// Finds blocks, impls and attributes without a `SAFETY:` comment directly above them, or above the statement that
/// they are part of.
#[must_use]
pub fn without_reason(path: &str, source: &str) -> Vec<String> {
    let (all, lines) = (tokens(source), source.lines().collect::<Vec<_>>());
    let code: Vec<_> = all.into_iter().filter(|token| !token.is_comment()).collect();
    let blocks = (0..code.len()).filter(|at| {
        let next = code.get(at + 1);
        code[*at].is(KEYWORD)
            && next.is_some_and(|next| ["{", "impl", "("].iter().any(|word| next.is(word)))
    });
    let missing = blocks.filter(|at| {
        let own = has_reason(&lines, code[*at].line);
        !own && !has_reason(&lines, statement_line(&code, *at))
    });
    missing.map(|at| format!("{path}:{}: no SAFETY comment above", code[at].line)).collect()
}

/// Returns the line in which the statement of this token begins.
fn statement_line(code: &[Token], at: usize) -> usize {
    let begins = |token: &Token| [";", "{", "}"].iter().any(|sign| token.is(sign));
    let before = code[..at].iter().rposition(begins);
    code[before.map_or(0, |before| before + 1)].line
}

/// Returns true when the lines directly above this one are a comment that has the mark.
fn has_reason(lines: &[&str], number: usize) -> bool {
    let above = lines[..number - 1].iter().rev().map(|line| line.trim());
    above.take_while(|line| line.starts_with("//")).any(|line| line.contains("SAFETY:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_found_in_code_comments_and_attributes() {
        let source = format!("// {KEYWORD}\nfn f() {{}}\n#![forbid({KEYWORD}_code)]\n");
        assert_eq!(mentions("a.rs", &source).len(), 2);
    }

    #[test]
    fn a_block_needs_its_reason_directly_above() {
        for (source, holds) in [
            ("// SAFETY: x\nKEY { a }", true),
            ("// SAFETY: x,\n// and y\nKEY { a }", true),
            ("// SAFETY: x\nlet a =\n    KEY { b };", true),
            ("// SAFETY: x\nlet a = 1;\nKEY { b }", false),
            ("// SAFETY: x\n\nKEY { b }", false),
            ("// why\nKEY { b }", false),
            ("/// SAFETY: x\nKEY impl Send for A {}", true),
            ("KEY impl Send for A {}", false),
            ("// SAFETY: x\n#[used]\n#[KEY(link_section = \"a\")]\nstatic A: u8 = 1;", true),
            ("#[KEY(no_mangle)]\nfn a() {}", false),
            ("KEY fn f() {}", true), // it has a section `# Safety`, as clippy wants
            ("// KEY { a }", true),
        ] {
            let source = source.replace("KEY", KEYWORD);
            assert_eq!(without_reason("a.rs", &source).is_empty(), holds, "{source}");
        }
    }
}
