//! What the programs are built of: no procedural macro, which cannot be built with the static flags, and
//! licences that deny.toml allows. Asks Cargo, without the network.

use std::path::Path;
use std::process::Command;

use architecture::{read, workspace};

/// Returns the packages of the programs and of what builds them, each with its licence.
fn packages() -> Vec<(String, String)> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["tree", "--locked", "--offline", "--workspace", "--edges", "normal,build"]);
    cargo.args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"]);
    let output = cargo.current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let mut found: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once('|'))
        .map(|(package, licence)| (package.to_owned(), licence.to_owned()))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Whether an expression of SPDX, `A OR B`, `A AND (B OR C)` or the old `A/B`, can be met.
fn is_allowed(licence: &str, allowed: &[&str]) -> bool {
    let licence = licence.replace('/', " OR ");
    licence.split(" AND ").all(|part| {
        let part = part.trim_matches(['(', ')']);
        part.split(" OR ").any(|name| allowed.contains(&name.trim()))
    })
}

#[test]
fn no_program_has_a_procedural_macro_in_its_tree() {
    let packages = packages();
    assert!(packages.iter().any(|(package, _)| package.starts_with("nix v")), "{packages:?}");
    let macros: Vec<_> =
        packages.iter().filter(|(package, _)| package.contains("(proc-macro)")).collect();
    assert!(macros.is_empty(), "{macros:?}");
}

#[test]
fn every_dependency_has_a_licence_that_deny_toml_allows() {
    let deny = read(Path::new("deny.toml"));
    let (_, list) = deny.split_once("allow = [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let allowed: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    let packages = packages();
    let others: Vec<_> =
        packages.iter().filter(|(_, licence)| !is_allowed(licence, &allowed)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_licence_is_allowed_when_all_that_it_demands_is() {
    let allowed = ["MIT", "ISC"];
    for (licence, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("MIT/GPL-3.0", true),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("MIT AND GPL-3.0", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(licence, &allowed), expected, "{licence}");
    }
}
