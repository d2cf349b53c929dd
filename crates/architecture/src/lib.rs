//! For tests only: reads the sources of the workspace as text, and finds violations of its rules.
//!
//! The rules themselves, with the table of layers, are in `tests/rules.rs`, those for words in
//! `tests/rules/words.rs`. Sources are read as tokens: a word in a comment or in a string is no
//! code, and items under `#[cfg(test)]` are left out. Functions return violations as lines
//! `FILE:LINE: what is wrong`, so that a rule holds when there are none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod constants;
pub mod fields;
pub mod functions;
pub mod imports;
pub mod manifest;
pub mod modules;
pub mod safety;
pub mod tokens;
pub mod words;

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Reads a file of the workspace.
///
/// # Panics
/// It cannot be read.
#[must_use]
pub fn read(path: &Path) -> String {
    fs::read_to_string(workspace().join(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the `.rs` files below a folder of the workspace, sorted, as paths relative to it,
/// without built and hidden ones.
///
/// # Panics
/// A folder cannot be read.
#[must_use]
pub fn sources(folder: &str) -> Vec<PathBuf> {
    let root = workspace();
    let (mut folders, mut files) = (vec![root.join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries.map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                files.push(path.strip_prefix(&root).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}
