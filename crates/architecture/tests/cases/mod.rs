//! docs/cases.md and the names of tests agree: each number in a name is a case, and each case has a test.
//! Each file of a suite is a module of it, because one that is not would never run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use architecture::{read, sources, workspace};

/// Where tests stand.
const WITH_TESTS: [&str; 2] = ["crates", "examples"];
/// Scripts that name the case which they show.
const SCRIPTS: &str = "scripts/interop";

/// The number at the start of a text.
fn number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// The numbers that follow a word in a text.
fn numbers_behind(word: &str, text: &str) -> BTreeSet<u32> {
    text.match_indices(word).filter_map(|(at, _)| number(&text[at + word.len()..])).collect()
}

/// The numbered paragraphs of docs/cases.md.
fn cases() -> Vec<u32> {
    let text = read(Path::new("docs/cases.md"));
    let is_case = |line: &&str| line.split_once(". **").is_some_and(|(n, _)| number(n).is_some());
    text.lines().filter(is_case).filter_map(number).collect()
}

/// The numbers in the names of tests, with a file that has each.
fn in_tests() -> BTreeSet<(u32, PathBuf)> {
    let files = WITH_TESTS.iter().flat_map(|folder| sources(folder));
    let numbers = files.flat_map(|file| {
        numbers_behind("fn case_", &read(&file)).into_iter().map(move |n| (n, file.clone()))
    });
    numbers.collect()
}

#[test]
fn the_cases_are_numbered_from_one_on() {
    let cases = cases();
    assert!(cases.len() > 20, "docs/cases.md: {cases:?}");
    assert_eq!(cases, (1..=cases.len() as u32).collect::<Vec<_>>());
}

#[test]
fn each_number_in_the_name_of_a_test_is_a_case_and_each_case_has_a_test() {
    let (cases, tests) = (cases().into_iter().collect::<BTreeSet<_>>(), in_tests());
    let unknown: Vec<_> = tests.iter().filter(|(number, _)| !cases.contains(number)).collect();
    assert!(unknown.is_empty(), "not in docs/cases.md: {unknown:?}");
    let tested: BTreeSet<u32> = tests.iter().map(|(number, _)| *number).collect();
    let untested: Vec<_> = cases.difference(&tested).collect();
    assert!(untested.is_empty(), "cases without a test: {untested:?}");
}

#[test]
fn each_number_in_a_script_is_a_case() {
    let mut folders = vec![workspace().join(SCRIPTS)];
    let (cases, mut found) = (cases(), 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            // A file that is no text names no case.
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            for number in numbers_behind("\"case ", &text) {
                found += 1;
                assert!(cases.contains(&number), "{}: case {number}", entry.path().display());
            }
        }
    }
    assert!(found > 5, "{SCRIPTS} names {found} cases");
}

/// The modules that a file of Rust declares.
fn modules(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let declared = text.lines().filter_map(|line| {
        let line = line.trim_start().trim_start_matches("pub ");
        Some(line.strip_prefix("mod ")?.split_once(';')?.0.to_owned())
    });
    declared.collect()
}

#[test]
fn each_file_of_a_suite_is_a_module_of_it() {
    let (mut checked, mut unused) = (0, Vec::new());
    for file in WITH_TESTS.iter().flat_map(|folder| sources(folder)) {
        let Some((_, below)) = file.to_str().unwrap().split_once("/tests/suite/") else { continue };
        if below == "main.rs" {
            continue;
        }
        // suite/a.rs and suite/a/mod.rs are named in suite/main.rs, suite/a/b.rs in suite/a.rs or a/mod.rs.
        let is_folder = file.ends_with("mod.rs");
        let named = if is_folder { file.parent().unwrap() } else { &file };
        let (name, folder) =
            (named.file_stem().unwrap().to_str().unwrap(), named.parent().unwrap());
        let parents = [folder.join("main.rs"), folder.join("mod.rs"), folder.with_extension("rs")];
        let parents = parents.map(|parent| workspace().join(parent));
        checked += 1;
        if !parents.iter().any(|parent| modules(parent).iter().any(|module| module == name)) {
            unused.push(file);
        }
    }
    assert!(checked > 80, "{checked} files");
    assert!(unused.is_empty(), "in no program: {unused:?}");
}
