//! The fields of structs that are visible outside of their own file.

use crate::tokens::{
    Kind, Token, attribute, closing, joined, split_at_commas, tokens, without_tests,
};

/// A field that is `pub`, `pub(crate)` or the like.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its struct.
    pub of: String,
    /// Its name, or its number in a tuple.
    pub name: String,
    /// Its type, without blanks.
    pub of_type: String,
    /// Its line.
    pub line: usize,
}

/// Finds the visible fields of the structs in a source.
#[must_use]
pub fn visible_fields(source: &str) -> Vec<Field> {
    let tokens = without_tests(&tokens(source));
    let code: Vec<_> = tokens.into_iter().filter(|token| !token.is_comment()).collect();
    let mut found = Vec::new();
    for at in 0..code.len() {
        if !code[at].is("struct") || code.get(at + 1).is_none_or(|name| name.kind != Kind::Word) {
            continue;
        }
        let body = code[at..].iter().position(|token| ["{", "(", ";"].iter().any(|s| token.is(s)));
        let Some(open) = body.map(|offset| at + offset).filter(|open| !code[*open].is(";")) else {
            continue;
        };
        let fields = split_at_commas(&code[open + 1..closing(&code, open)]);
        let of = &code[at + 1].text;
        found.extend(fields.into_iter().enumerate().filter_map(|(n, field)| visible(of, n, field)));
    }
    found
}

fn visible(of: &str, number: usize, field: &[Token]) -> Option<Field> {
    let mut rest = field;
    while let Some(end) = (!rest.is_empty()).then(|| attribute(rest, 0)).flatten() {
        rest = &rest[end..];
    }
    let line = rest.first().filter(|first| first.is("pub"))?.line;
    rest = &rest[1..];
    if rest.first()?.is("(") && matches!(rest[1].text.as_str(), "crate" | "super" | "in" | "self") {
        rest = &rest[closing(rest, 0) + 1..];
    }
    let is_named = rest.get(1).is_some_and(|colon| colon.is(":"));
    let name = if is_named { rest[0].text.clone() } else { number.to_string() };
    let of_type = joined(&rest[if is_named { 2 } else { 0 }..]);
    Some(Field { of: of.to_owned(), name, of_type, line })
}

/// Returns true for a type that is made of these types alone: `Option<(u64, Duration)>`.
#[must_use]
pub fn is_plain(of_type: &str, plain: &[&str]) -> bool {
    if plain.contains(&of_type) {
        return true;
    }
    let option = of_type.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>'));
    if let Some(inner) = option {
        return is_plain(inner, plain);
    }
    let tuple = of_type.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let inner = tuple.map(tokens);
    inner.is_some_and(|inner| {
        split_at_commas(&inner).iter().all(|part| is_plain(&joined(part), plain))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(source: &str) -> Vec<String> {
        let shown = |field: Field| format!("{}.{}:{}", field.of, field.name, field.of_type);
        visible_fields(source).into_iter().map(shown).collect()
    }

    #[test]
    fn visible_fields_are_found_in_every_kind_of_struct() {
        assert_eq!(
            fields("struct A { pub a: u8, b: u8, pub(crate) c: Vec<u8> }"),
            ["A.a:u8", "A.c:Vec<u8>"]
        );
        assert_eq!(fields("pub struct A<'a, T>(u8, pub(super) &'a T);"), ["A.1:&'a T"]);
        assert_eq!(
            fields("struct A { /// pub\n #[x(y)] pub(in crate::b) a: Box<dyn Fn(u8, u8)> }"),
            ["A.a:Box<dyn Fn(u8,u8)>"]
        );
        assert_eq!(fields("struct A; pub fn f() { } // struct B { pub c: u8 }"), [""; 0]);
        assert_eq!(fields("struct A(pub (u8, u8));"), ["A.0:(u8,u8)"]);
    }

    #[test]
    fn plain_is_what_is_made_of_plain_types() {
        let plain = ["u8", "Vec<u8>", "Duration"];
        for of_type in ["u8", "Option<u8>", "Option<(u8,Duration)>", "(u8,Vec<u8>)", "()"] {
            assert!(is_plain(of_type, &plain), "{of_type}");
        }
        for of_type in ["u16", "Vec<Duration>", "Option<Arc<u8>>", "&u8", "(u8,Master)"] {
            assert!(!is_plain(of_type, &plain), "{of_type}");
        }
    }
}
