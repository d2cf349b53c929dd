//! Functions, with their length and the order of their steps; strings, and their files.

use crate::tokens::{Kind, Token, closing, joined, tokens, without_tests};

/// A function with a body.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Lines from `fn` to the closing brace.
    pub lines: usize,
    /// Its code as one line, without comments.
    pub code: String,
}

/// Finds the functions of a source.
#[must_use]
pub fn functions(source: &str) -> Vec<Function> {
    let tokens = without_tests(&tokens(source));
    let code: Vec<_> = tokens.into_iter().filter(|token| !token.is_comment()).collect();
    (0..code.len()).filter_map(|at| function(&code, at)).collect()
}

fn function(code: &[Token], at: usize) -> Option<Function> {
    let name = code.get(at + 1).filter(|name| code[at].is("fn") && name.kind == Kind::Word)?;
    let offset = code[at..].iter().position(|token| token.is("{") || token.is(";"))?;
    let open = Some(at + offset).filter(|open| code[*open].is("{"))?;
    let end = closing(code, open);
    let lines = code[end].line - code[at].line + 1;
    Some(Function { name: name.text.clone(), lines, code: joined(&code[at..=end]) })
}

/// Returns the first step that does not follow the one before it; `None` if all do.
#[must_use]
pub fn first_missing<'s>(code: &str, steps: &[&'s str]) -> Option<&'s str> {
    let mut rest = code;
    for step in steps {
        match rest.split_once(step) {
            Some((_, after)) => rest = after,
            None => return Some(step),
        }
    }
    None
}

/// Finds the strings in a source, without tests, that contain one of these texts.
#[must_use]
pub fn strings_with(path: &str, source: &str, texts: &[&str]) -> Vec<String> {
    let tokens = without_tests(&tokens(source));
    let strings = tokens.iter().filter(|token| token.kind == Kind::Text);
    let found = strings.filter(|string| texts.iter().any(|text| string.text.contains(text)));
    found.map(|string| format!("{path}:{}: \"{}\"", string.line, string.text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_from_fn_to_its_brace() {
        let found = functions("fn a(\n    b: u8,\n) -> u8 {\n    // c\n    d.e()\n}\nfn f();");
        assert_eq!((found.len(), found[0].name.as_str(), found[0].lines), (1, "a", 6));
        assert_eq!(found[0].code, "fn a(b:u8,)->u8{d.e()}");
    }

    #[test]
    fn steps_stand_in_their_order() {
        assert_eq!(first_missing("a.b(c);d", &[".b(", "d"]), None);
        assert_eq!(first_missing("a.b(c);d", &["d", ".b("]), Some(".b("));
    }

    #[test]
    fn a_text_counts_in_strings_alone() {
        let source = "// x start: \nfn f() { g(\"client {} start: {}\") }\n#[cfg(test)] fn h() { \" start: \" }";
        assert_eq!(
            strings_with("a.rs", source, &[" start: "]),
            ["a.rs:2: \"client {} start: {}\""]
        );
    }
}
