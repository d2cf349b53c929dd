//! Constants that are numbers, and whether they have a unit.

use crate::tokens::{Kind, Token, attribute, closing, joined, tokens, without_tests};

/// A constant or static whose type is a number, a time, or a row of these.
#[derive(Debug)]
pub struct Constant {
    /// Its name.
    pub name: String,
    /// Its type, without blanks.
    pub of_type: String,
    /// Its documentation.
    pub doc: String,
    /// Its line.
    pub line: usize,
}

const NUMBERS: [&str; 20] = [
    "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32",
    "f64", "c_int", "c_uint", "c_long", "c_ulong", "time_t", "Duration",
];
/// Words of types that hold a number.
const AROUND_NUMBERS: [&str; 8] =
    ["libc", "std", "core", "time", "Option", "Range", "RangeInclusive", "ops"];

/// Finds the constants of a source that are numbers. One in the line below another shares its
/// documentation, if it has none of its own.
#[must_use]
pub fn constants(source: &str) -> Vec<Constant> {
    let tokens = without_tests(&tokens(source));
    let mut found: Vec<Constant> = Vec::new();
    for mut constant in (0..tokens.len()).filter_map(|at| constant(&tokens, at)) {
        let above = found.last().filter(|above| above.line + 1 == constant.line);
        if let Some(above) = above.filter(|_| constant.doc.is_empty()) {
            constant.doc.clone_from(&above.doc);
        }
        found.push(constant);
    }
    found
}

fn constant(tokens: &[Token], at: usize) -> Option<Constant> {
    let word = &tokens[at];
    let is_const = word.is("const") || word.is("static");
    let before = at.checked_sub(1).map(|before| &tokens[before]);
    if !is_const || before.is_some_and(|before| before.is("*") || before.is("<") || before.is(","))
    {
        return None;
    }
    let rest: Vec<_> = tokens[at + 1..].iter().filter(|token| !token.is_comment()).collect();
    let is_named = rest.first()?.kind == Kind::Word && rest.get(1)?.is(":");
    let length = rest.iter().take(40).position(|token| token.is("="))?;
    let of_type: Vec<Token> = rest[2..length.max(2)].iter().map(|t| (*t).clone()).collect();
    let (name, line) = (rest[0].text.clone(), rest[0].line);
    if !is_named || name == "_" || !is_number(&of_type) {
        return None;
    }
    Some(Constant { name, of_type: joined(&of_type), doc: doc_before(tokens, at), line })
}

/// Returns true for `usize`, `[u64; 3]` and `Option<Duration>`, and false for a slice of bytes,
/// which is text.
fn is_number(of_type: &[Token]) -> bool {
    let end = of_type.iter().position(|token| token.is(";")).unwrap_or(of_type.len());
    let words: Vec<_> = of_type[..end].iter().filter(|token| token.kind == Kind::Word).collect();
    let has = |list: &[&str], token: &Token| list.contains(&token.text.as_str());
    words.iter().any(|token| has(&NUMBERS, token))
        && words.iter().all(|token| has(&NUMBERS, token) || has(&AROUND_NUMBERS, token))
        && !joined(of_type).ends_with("[u8]")
}

/// Returns the documentation above an item, its attributes and its `pub(…)`.
fn doc_before(tokens: &[Token], item: usize) -> String {
    let (mut doc, mut begin) = (Vec::new(), 0);
    let mut at = 0;
    while at < item {
        let token = &tokens[at];
        if token.kind == Kind::Doc {
            doc.push(token.text.trim_start_matches(['/', '*', '!']).trim());
            at += 1;
        } else if let Some(end) = attribute(tokens, at).filter(|end| *end <= item) {
            at = end;
        } else if token.is("pub")
            || (token.is("(") && at == begin + 1 && closing(tokens, at) < item)
        {
            begin = if token.is("pub") { at } else { begin };
            at = if token.is("(") { closing(tokens, at) + 1 } else { at + 1 };
        } else if token.kind == Kind::Comment {
            at += 1;
        } else {
            doc.clear();
            at += 1;
        }
    }
    doc.join(" ")
}

/// Finds constants whose name and documentation have no word for a unit, an RFC's section, or a
/// number that is a name itself (a flag, an errno). A `Duration` has its unit in its value, and
/// needs documentation only.
#[must_use]
pub fn without_unit(path: &str, source: &str, units: &[&str]) -> Vec<String> {
    let wrong = constants(source).into_iter().filter(|constant| {
        let is_time = constant.of_type.contains("Duration") && !constant.doc.is_empty();
        !is_time && !has_unit(&format!("{} {}", constant.name, constant.doc), units)
    });
    let line = |c: Constant| format!("{path}:{}: {}: {}: {}", c.line, c.name, c.of_type, c.doc);
    wrong.map(line).collect()
}

fn has_unit(text: &str, units: &[&str]) -> bool {
    let text = text.to_lowercase();
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '§');
    words.any(|word| {
        let one = word.strip_suffix('s').filter(|one| !one.is_empty()).unwrap_or(word);
        units.contains(&word) || units.contains(&one) || word.starts_with('§')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinguished_from_other_constants() {
        let source = "/// A.\n/// B.\n#[x] pub(crate) const A: usize = 1; const B: &str = \"\";\n\n\
            static C: [libc::c_int; N] = []; const fn d() -> u8 {} fn e<const F: usize>() {}\n\
            const G: &[u8] = b\"\"; const H: Option<std::time::Duration> = None; let i: *const u8;\n\
            static J: AtomicUsize = x; const _: () = (); const K: [(&str, u8); 2] = [];\n\
            #[cfg(test)] const L: u8 = 1;";
        let found = constants(source);
        let names: Vec<_> = found.iter().map(|constant| constant.name.as_str()).collect();
        assert_eq!(names, ["A", "C", "H"]);
        assert_eq!((found[0].doc.as_str(), found[0].line), ("A. B.", 3));
        assert_eq!(found[1].doc, "");
    }

    #[test]
    fn a_number_has_a_unit() {
        let units = ["byte", "rfc"];
        for (source, holds) in [
            ("/// Longest line, in bytes.\nconst A: usize = 1;", true),
            ("const A_BYTES: usize = 1;", true),
            ("/// §4.5.3.1\nconst A: usize = 1;", true),
            ("/// RFC 1350\nconst A: usize = 1;", true),
            ("/// Longest line.\nconst A: usize = 1;", false),
            ("// bytes\nconst A: usize = 1;", false),
            ("/// bytes\nconst A: usize = 1;\nconst B: usize = 2;", true),
            ("/// bytes\nconst A: usize = 1;\n\nconst B: usize = 2;", false),
            ("/// bytes\nconst A: usize = 1;\n/// Longest.\nconst B: usize = 2;", false),
            ("/// Longest wait.\nconst A: Duration = x;", true),
            ("const A: Duration = x;", false),
        ] {
            assert_eq!(without_unit("a.rs", source, &units).is_empty(), holds, "{source}");
        }
    }
}
