//! Imports between the files of a crate: `use`, and paths in the code.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::{Crate, File, module_at};
use crate::tokens::{Kind, Token};

/// An import of a file from another file of its crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// Index of the importing file.
    pub from: usize,
    /// Index of the imported file.
    pub to: usize,
    /// Its line.
    pub line: usize,
}

/// Finds all imports between the files of a crate. A name that a module re-exports counts as that
/// module's.
#[must_use]
pub fn imports(whole: &Crate) -> Vec<Import> {
    let mut found = BTreeSet::new();
    for (from, file) in whole.files.iter().enumerate() {
        for (path, line) in paths(whole, file) {
            let longest = (0..=path.len()).rev().find_map(|n| whole.modules.get(&path[..n]));
            if let Some(to) = longest.copied().filter(|to| *to != from) {
                found.insert(Import { from, to, line });
            }
        }
    }
    found.into_iter().collect()
}

/// Returns the absolute paths in a file into its own crate, with their lines.
fn paths(whole: &Crate, file: &File) -> Vec<(Vec<String>, usize)> {
    let tokens: Vec<_> = file.tokens.iter().filter(|token| !token.is_comment()).cloned().collect();
    let file = File { path: file.path.clone(), module: file.module.clone(), tokens };
    let tokens = &file.tokens;
    let has_inline_modules = tokens.windows(3).any(|w| w[0].is("mod") && w[2].is("{"));
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let is_use = tokens[at].is("use") && !tokens.get(at + 1).is_some_and(|next| next.is("<"));
        let (written, next) = if is_use {
            use_tree(tokens, at + 1)
        } else if is_path_start(tokens, at) {
            let (path, next) = plain_path(tokens, at);
            (vec![path], next)
        } else {
            at += 1;
            continue;
        };
        let here = if has_inline_modules { module_at(&file, at) } else { file.module.clone() };
        let absolute = written.iter().filter_map(|path| absolute(whole, &here, path));
        found.extend(absolute.map(|path| (path, tokens[at].line)));
        at = next;
    }
    found
}

/// Returns true for the first word of `a::b`, except in `::a::b` and `pub(in a::b)`.
fn is_path_start(tokens: &[Token], at: usize) -> bool {
    let is_path = tokens[at].kind == Kind::Word && tokens.get(at + 1).is_some_and(|t| t.is("::"));
    let before = |n: usize, text| at >= n && tokens[at - n].is(text);
    is_path && !before(1, "::") && !(before(1, "in") && before(2, "(") && before(3, "pub"))
}

/// Returns the words of `a::b::c`, and the index after them.
fn plain_path(tokens: &[Token], begin: usize) -> (Vec<String>, usize) {
    let (mut path, mut at) = (vec![tokens[begin].text.clone()], begin + 1);
    while at + 1 < tokens.len() && tokens[at].is("::") && tokens[at + 1].kind == Kind::Word {
        path.push(tokens[at + 1].text.clone());
        at += 2;
    }
    (path, at)
}

/// Returns the paths of a `use`, and the index after it.
fn use_tree(tokens: &[Token], begin: usize) -> (Vec<Vec<String>>, usize) {
    let (mut found, mut prefix, mut open) = (Vec::new(), Vec::<String>::new(), Vec::new());
    let mut at = begin;
    let mut is_complete = true; // what was read since the last brace or comma is in the list
    while at < tokens.len() && !tokens[at].is(";") {
        let token = &tokens[at];
        if token.is("{") {
            open.push(prefix.len());
            is_complete = true;
        } else if token.is("}") || token.is(",") {
            if !is_complete {
                found.push(prefix.clone());
            }
            is_complete = true;
            prefix.truncate(open.last().copied().unwrap_or(0));
            if token.is("}") {
                open.pop();
            }
        } else if token.is("as") {
            at += 1; // its local name
        } else if token.kind == Kind::Word || token.is("*") {
            is_complete = false;
            if prefix.is_empty() || !token.is("self") {
                prefix.push(token.text.clone());
            }
        } else if token.is("::") && prefix.is_empty() {
            prefix.push("::".to_owned()); // another crate's
        }
        at += 1;
    }
    if !is_complete {
        found.push(prefix);
    }
    (found, at + 1)
}

/// Returns a path from the crate's root; `None` for one into another crate.
fn absolute(whole: &Crate, here: &[String], path: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let ups = path.iter().take_while(|word| *word == "super").count();
    let from = |base: &[String], rest: &[String]| Some([base, rest].concat());
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" if ups == 0 => from(here, rest),
        "super" => from(&here[..here.len().checked_sub(ups)?], &path[ups..]),
        _ => {
            let child = [here, &path[..1]].concat();
            whole.modules.contains_key(&child).then(|| [here, path].concat())
        }
    }
}

/// Finds circles: sets of files that import each other, directly or through others.
#[must_use]
pub fn circles(whole: &Crate) -> Vec<String> {
    let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for import in imports(whole) {
        next.entry(import.from).or_default().insert(import.to);
    }
    let reach: Vec<_> = (0..whole.files.len()).map(|file| reachable(&next, file)).collect();
    let mut found = BTreeSet::new();
    for file in 0..whole.files.len() {
        let circle: Vec<_> = (0..whole.files.len())
            .filter(|other| reach[file].contains(other) && reach[*other].contains(&file))
            .collect();
        if !circle.is_empty() {
            found.insert(circle);
        }
    }
    let names = |circle: &Vec<usize>| {
        let name = |file: &usize| whole.files[*file].path.display().to_string();
        let mut names: Vec<_> = circle.iter().map(name).collect();
        names.sort();
        names.join(", ")
    };
    found.iter().map(names).collect()
}

fn reachable(next: &BTreeMap<usize, BTreeSet<usize>>, from: usize) -> BTreeSet<usize> {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
    while let Some(file) = waiting.pop() {
        let new = next.get(&file).into_iter().flatten().filter(|to| seen.insert(**to));
        waiting.extend(new.copied().collect::<Vec<_>>());
    }
    seen
}

/// Finds imports to the right. `layers` are in order; modules that share a layer are in one string.
#[must_use]
pub fn upward(whole: &Crate, layers: &[&str]) -> Vec<String> {
    let layer_of = |file: usize| {
        let first = whole.files[file].module.first()?;
        layers.iter().position(|layer| layer.split(' ').any(|module| module == first))
    };
    let mut wrong = Vec::new();
    for (number, file) in whole.files.iter().enumerate().skip(1) {
        if layer_of(number).is_none() {
            wrong.push(format!("{}: in no layer of the table", file.path.display()));
        }
    }
    for Import { from, to, line } in imports(whole).into_iter().filter(|import| import.from > 0) {
        let (file, other) = (&whole.files[from], &whole.files[to]);
        let place = format!("{}:{line}", file.path.display());
        match (layer_of(from), layer_of(to)) {
            (Some(from), Some(to)) if to <= from => {}
            (Some(from), Some(to)) => wrong.push(format!(
                "{place}: {} imports {}, from a layer to its right",
                layers[from], layers[to]
            )),
            _ => wrong.push(format!("{place}: imports {}", other.path.display())),
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Makes a crate from files such as `("net/mod.rs", "source")`.
    fn made_of(files: &'static [(&str, &str)]) -> Crate {
        Crate::load_with(Path::new("lib.rs"), &|path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, source)| (*source).to_owned())
        })
    }

    fn edges(whole: &Crate) -> Vec<(String, String)> {
        let name = |file: usize| whole.files[file].path.display().to_string();
        let mut edges: Vec<_> =
            imports(whole).iter().map(|import| (name(import.from), name(import.to))).collect();
        edges.sort();
        edges
    }

    const ROOT: (&str, &str) = ("lib.rs", "mod a; mod b; mod c; #[cfg(test)] mod tests;");

    #[test]
    fn every_way_to_name_another_file_counts() {
        for source in [
            "use crate::b::X;",
            "pub(crate) use super::b::X;",
            "use super::{c::Y, b::{self, X as Z}};",
            "use crate::{b, c};",
            "fn f() { crate::b::f() }",
            "fn f(x: &super::b::X) {}",
            "mod inner { fn f() { super::super::b::f() } }",
            "use crate::b::*;",
        ] {
            let leaked: &'static str = source;
            let files = Box::leak(Box::new([ROOT, ("a.rs", leaked), ("b.rs", ""), ("c.rs", "")]));
            let whole = made_of(files);
            let edges = edges(&whole);
            assert!(edges.contains(&("a.rs".into(), "b.rs".into())), "{source}: {edges:?}");
        }
    }

    #[test]
    fn what_is_no_import_does_not_count() {
        for source in [
            "// use crate::b::X;",
            "fn f() { g(\"crate::b::X\") }",
            "#[cfg(test)] mod tests { use crate::b::X; }",
            "use ::b::X; use other::b::X; fn f() { ::b::f() }",
            "pub(in crate::b) fn f() {} pub(crate) fn g() {}",
            "mod inner { fn f() { super::g() } } fn g() {}",
        ] {
            let files = Box::leak(Box::new([ROOT, ("a.rs", source), ("b.rs", ""), ("c.rs", "")]));
            assert_eq!(edges(&made_of(files)), [], "{source}");
        }
    }

    #[test]
    fn a_name_that_the_root_re_exports_makes_a_circle() {
        let whole = made_of(&[
            ("lib.rs", "mod a; mod b; pub use a::X;"),
            ("a.rs", "use crate::b::Y;"),
            ("b.rs", "use crate::X;"),
        ]);
        assert_eq!(circles(&whole).len(), 1);
    }

    #[test]
    fn circles_are_found_however_long_they_are() {
        let long = made_of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "mod c; use crate::b::X;"),
            ("a/c.rs", "use super::Y;"),
            ("b.rs", "fn f() { crate::a::c::f() }"),
        ]);
        assert_eq!(circles(&long), ["a.rs, a/c.rs, b.rs"]);
        let none =
            made_of(&[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::X;"), ("b.rs", "")]);
        assert!(circles(&none).is_empty());
    }

    #[test]
    fn an_import_to_the_right_is_found() {
        let whole = made_of(&[
            ("lib.rs", "mod error; mod text; mod net;"),
            ("error.rs", "use crate::text::x;"),
            ("text.rs", "use crate::net::x;"),
            ("net/mod.rs", "use crate::error::x;"),
        ]);
        let wrong = upward(&whole, &["error text", "net"]);
        assert_eq!(wrong, ["text.rs:1: error text imports net, from a layer to its right"]);
        assert_eq!(upward(&whole, &["error text"]).len(), 3); // net/mod.rs, and both ways to it
    }
}
