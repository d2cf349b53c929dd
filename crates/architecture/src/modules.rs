//! The modules of a crate, found from its root as the compiler finds them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::read;
use crate::tokens::{Kind, Token, closing, tokens, without_tests};

/// A file of a crate.
#[derive(Debug)]
pub struct File {
    /// Its path relative to the workspace.
    pub path: PathBuf,
    /// Its module: `["serve", "master"]`; empty for the root.
    pub module: Vec<String>,
    /// Its tokens, without those of tests.
    pub tokens: Vec<Token>,
}

/// A crate: a library or one program of a package.
#[derive(Debug, Default)]
pub struct Crate {
    /// Its files; the root is the first.
    pub files: Vec<File>,
    /// The index of each module's file.
    pub modules: BTreeMap<Vec<String>, usize>,
}

impl Crate {
    /// Reads a crate, starting at its root file.
    ///
    /// # Panics
    /// A file cannot be read.
    #[must_use]
    pub fn load(root: &Path) -> Crate {
        Crate::load_with(root, &|path| path_exists(path).then(|| read(path)))
    }

    /// As [`Crate::load`], with files from `read`.
    ///
    /// # Panics
    /// A module's file is not there.
    pub fn load_with(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Crate {
        let mut whole = Crate::default();
        let mut waiting = vec![(root.to_owned(), Vec::new())];
        while let Some((path, module)) = waiting.pop() {
            let source = read(&path).unwrap_or_else(|| panic!("{} is not there", path.display()));
            let tokens = without_tests(&tokens(&source));
            let number = whole.files.len();
            whole.modules.insert(module.clone(), number);
            let is_folders_own = module.is_empty() || path.ends_with("mod.rs");
            let folder = if is_folders_own {
                path.parent().unwrap().to_owned()
            } else {
                path.with_extension("")
            };
            for found in module_statements(&tokens) {
                let module: Vec<_> = module.iter().chain(&found.path).cloned().collect();
                if found.has_body {
                    whole.modules.insert(module, number);
                    continue;
                }
                let (last, inline) = found.path.split_last().unwrap();
                let folder = inline.iter().fold(folder.clone(), |folder, name| folder.join(name));
                let own = folder.join(format!("{last}.rs"));
                let path = match found.named {
                    Some(name) => path.parent().unwrap().join(name),
                    None if read(&own).is_some() => own,
                    None => folder.join(last).join("mod.rs"),
                };
                waiting.push((path, module));
            }
            whole.files.push(File { path, module, tokens });
        }
        whole
    }
}

fn path_exists(path: &Path) -> bool {
    crate::workspace().join(path).exists()
}

/// `mod name;` or `mod name { … }`
struct Statement {
    /// Its path relative to the file's own module.
    path: Vec<String>,
    has_body: bool,
    /// The file of `#[path = "…"]`.
    named: Option<String>,
}

fn module_statements(tokens: &[Token]) -> Vec<Statement> {
    let (mut found, mut open): (Vec<_>, Vec<(String, usize)>) = (Vec::new(), Vec::new());
    let mut named = None;
    for at in 0..tokens.len() {
        open.retain(|(_, end)| at < *end);
        let [word, name, after] = tokens.get(at..at + 3).unwrap_or_default() else { break };
        if word.is("path") && name.is("=") && after.kind == Kind::Text {
            named = Some(after.text.clone());
        }
        let has_body = after.is("{");
        if word.is("mod") && name.kind == Kind::Word && (has_body || after.is(";")) {
            let path = open.iter().map(|(name, _)| name).chain([&name.text]).cloned().collect();
            if has_body {
                open.push((name.text.clone(), closing(tokens, at + 2)));
            }
            found.push(Statement { path, has_body, named: named.take() });
        }
    }
    found
}

/// Returns the module of a token: the file's own, or an inline one.
#[must_use]
pub fn module_at(file: &File, at: usize) -> Vec<String> {
    let mut module = file.module.clone();
    for begin in 0..at.saturating_sub(2) {
        let [word, name, after] = &file.tokens[begin..begin + 3] else { continue };
        let is_inside = word.is("mod") && after.is("{") && closing(&file.tokens, begin + 2) > at;
        if is_inside {
            module.push(name.text.clone());
        }
    }
    module
}
