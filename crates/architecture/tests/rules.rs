//! Checks the sources against the rules of docs/architecture.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
#[path = "rules/dependencies.rs"]
mod dependencies;
#[path = "rules/words.rs"]
mod words;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use architecture::constants::without_unit;
use architecture::fields::{is_plain, visible_fields};
use architecture::functions::{first_missing, functions, strings_with};
use architecture::imports::{circles, upward};
use architecture::manifest::Manifest;
use architecture::modules::Crate;
use architecture::safety::{KEYWORD, mentions, without_reason};
use architecture::{read, sources, workspace};

/// The layers of each crate, from left to right: a file imports from its own layer and from those to
/// the left of it. Modules that share a layer stand in one string.
const LAYERS: [(&str, &[&str]); 11] = [
    (
        "accounts",
        &[
            "error",
            "secret",
            "encoding names mechanism prepared lines",
            "password",
            "account",
            "users_file system",
            "accounts",
            "challenge",
            "sasl",
            "checker",
            "guesses login_times checkpassword dovecot_auth",
        ],
    ),
    ("dsn", &["text", "recipient returned", "report seven_bit"]),
    ("dns", &["domain failure idna tlsa", "message resolv_conf", "resolver", "mail_hosts"]),
    ("forknet", &["error text", "log", "net", "options", "setup", "serve", "program"]),
    (
        "maild",
        &[
            "rows credentials",
            "auth_socket check_program",
            "token",
            "options",
            "question hash guessing login_delay",
            "check rights client",
            "mailbox spool front",
        ],
    ),
    (
        "tls",
        &["rows error", "pem", "keys", "chains tickets session dane", "server client", "identity"],
    ),
    (
        "smtpclient",
        &[
            "status",
            "reply extensions letter",
            "envelope failure",
            "settings",
            "route",
            "connection",
            "session",
            "progress",
            "transaction",
            "mailer",
        ],
    ),
    ("pop3d", &["options", "protocol", "session", "client"]),
    (
        "smtpd",
        &[
            "duplicates",
            "options",
            "protocol outbox",
            "header",
            "milter",
            "delivery",
            "session",
            "client",
            "sendmail",
        ],
    ),
    (
        "smtpq",
        &[
            "options",
            "destination",
            "due schedule watch commands",
            "bounce",
            "deliver notify",
            "runner",
        ],
    ),
    (
        "tftpd",
        &["wire", "error", "files", "transfer", "map", "options", "server", "report", "client"],
    ),
];

/// The packages of the workspace, and which of them each depends on. Tests may use [`FOR_TESTS`] too.
const PACKAGES: [(&str, &[&str]); 20] = [
    ("crates/sys", &[]),
    ("crates/netascii", &[]),
    ("crates/forknet", &["sys"]),
    ("crates/mailstore", &["sys"]),
    ("crates/accounts", &["sys"]),
    ("crates/dns", &["sys"]),
    ("crates/tls", &["forknet", "dns"]),
    ("crates/dsn", &[]),
    ("crates/maild", &["forknet", "mailstore", "accounts"]),
    ("crates/smtpclient", &["forknet", "netascii", "accounts", "tls", "dns", "maild"]),
    ("crates/unp", &["sys", "forknet"]),
    ("crates/echod", &["forknet"]),
    (
        "crates/pop3d",
        &["forknet", "netascii", "mailstore", "accounts", "tls", "maild", "smtpclient"],
    ),
    (
        "crates/smtpd",
        &[
            "forknet",
            "netascii",
            "mailstore",
            "accounts",
            "tls",
            "maild",
            "dns",
            "dsn",
            "smtpclient",
        ],
    ),
    ("crates/smtpq", &["sys", "forknet", "mailstore", "maild", "dns", "dsn", "tls", "smtpclient"]),
    ("crates/tftpd", &["sys", "forknet", "netascii"]),
    ("crates/testkit", &[]),
    ("crates/architecture", &[]),
    ("examples", &["unp"]),
    ("docs/labs/tasks", &["unp"]),
];
const FOR_TESTS: [&str; 3] = ["testkit", "sys", "unp"];

/// The one crate whose code the compiler need not check.
const UNCHECKED: &str = "crates/sys";

/// Types that a visible field of `serve/` may have.
const PLAIN: [&str; 25] = [
    "u8",
    "u16",
    "u32",
    "u64",
    "usize",
    "i32",
    "i64",
    "bool",
    "&'static str",
    "String",
    "Vec<u8>",
    "Vec<usize>",
    "Duration",
    "Instant",
    "SystemTime",
    "SocketAddr",
    "IpAddr",
    "Peer",
    "Slot",
    "Counters",
    "Ended",
    "Refusal",
    "Numbers",
    "Rate",
    "Reaper",
];
/// Structs that a session owns.
const HANDED_OVER: [&str; 2] = ["Client", "Request"];

/// The crates whose numbers need a unit.
const WITH_UNITS: [&str; 13] = [
    "dsn",
    "smtpclient",
    "forknet",
    "sys",
    "tftpd",
    "pop3d",
    "smtpd",
    "smtpq",
    "mailstore",
    "accounts",
    "maild",
    "netascii",
    "echod",
];
/// Words for units, in the singular: sizes and times, what is counted, and numbers that are names.
const UNITS: [&str; 3] = [
    "bit byte octet page word line character column \
     nanosecond microsecond millisecond ms second minute hour day tick percent",
    "account addresses answer argument attempt block child children client command connection datagram \
     descriptor errors event failure file folder letter level link login message packet polls port processes \
     recipient reply request retransmission round rule socket thread transfer tries user waits worker",
    "rfc errno code opcode flag index number signal type",
];

/// Texts of log lines that tests, scripts and administrators read.
const CONTRACT_LINES: [&str; 4] = ["listening on ", " start: ", " end: ", " refused: "];
/// The file that writes them.
const CONTRACT_FILE: &str = "crates/forknet/src/log/contract.rs";

/// Lines of a file, and of a daemon's `main.rs`.
const LONGEST_FILE: usize = 450;
const LONGEST_MAIN: usize = 80;
/// Lines of the function that is the loop.
const LONGEST_LOOP: usize = 30;

/// The steps of the fork model for a client: slide "Final (correct) Version of TCP Echo Server",
/// and what a server needs around it.
const LOOP: [&str; 12] = [
    ".wait()",
    ".must_stop()",
    ".shut_down()",
    ".accept(",
    ".admit(",
    "fork(",
    "Fork::Child",
    ".close_listeners()",
    "session::run(",
    "Fork::Parent(",
    ".add(",
    ".cannot_serve(",
];

/// Fails with these violations, if there are any.
fn none(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n  {}\n", wrong.join("\n  "));
}

/// Returns the folders of the packages in the workspace.
fn packages() -> BTreeSet<String> {
    let crates = workspace().join("crates").read_dir().unwrap();
    let crates = crates.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let others = ["examples", "docs/labs/tasks"].map(str::to_owned);
    crates.map(|name| format!("crates/{name}")).chain(others).collect()
}

/// Returns the root files of a package's library and programs.
fn roots(package: &str) -> Vec<PathBuf> {
    let is_root = |path: &PathBuf| {
        let inside = path.strip_prefix(Path::new(package).join("src"));
        let Some(inside) = inside.ok().and_then(Path::to_str) else { return false };
        let parts: Vec<_> = inside.split('/').collect();
        matches!(parts[..], ["lib.rs" | "main.rs"] | ["bin", _] | ["bin", _, "main.rs"])
    };
    sources(package).into_iter().filter(is_root).collect()
}

fn source_files(package: &str) -> Vec<PathBuf> {
    sources(&format!("{package}/src"))
}

#[test]
fn a_file_imports_from_its_own_layer_and_from_those_to_the_left() {
    for (package, layers) in LAYERS {
        let root = format!("crates/{package}/src/lib.rs");
        none(&layers.join(" | "), &upward(&Crate::load(Path::new(&root)), layers));
    }
}

#[test]
fn no_crate_has_a_circle_of_imports() {
    let roots: Vec<_> = packages().iter().flat_map(|package| roots(package)).collect();
    assert!(roots.len() > packages().len(), "{roots:?}");
    let circles: Vec<_> = roots.iter().flat_map(|root| circles(&Crate::load(root))).collect();
    none("files that import each other", &circles);
}

#[test]
fn dependencies_between_packages_point_one_way() {
    let names: BTreeSet<_> = PACKAGES.iter().map(|(folder, _)| (*folder).to_owned()).collect();
    assert_eq!(packages(), names, "the packages and the table");
    let name = |folder: &str| folder.rsplit('/').next().unwrap().to_owned();
    let all: Vec<_> = PACKAGES.iter().map(|(folder, _)| name(folder)).collect();
    for (number, (folder, allowed)) in PACKAGES.iter().enumerate() {
        let manifest = Manifest::parse(&read(&Path::new(folder).join("Cargo.toml")));
        let ours =
            |section| manifest.packages(section).into_iter().filter(|p| all.iter().any(|a| a == p));
        let wrong = ours("dependencies").filter(|package| !allowed.contains(package));
        let tests = ours("dev-dependencies").filter(|package| !FOR_TESTS.contains(package));
        let wrong: Vec<_> = wrong.chain(tests).map(str::to_owned).collect();
        none(&format!("{folder} depends on"), &wrong);
        assert_eq!(manifest.packages("build-dependencies"), [""; 0], "{folder}");
        let is_before = |package: &&str| all[..number].iter().any(|a| a == package);
        assert!(allowed.iter().all(is_before), "{folder}: the table's order");
    }
}

#[test]
fn only_sys_has_code_that_the_compiler_does_not_check() {
    let all = sources(".");
    let outside = all.iter().filter(|path| !path.starts_with(UNCHECKED));
    let wrong: Vec<_> =
        outside.flat_map(|path| mentions(&path.display().to_string(), &read(path))).collect();
    none("outside of sys", &wrong);

    let lint = format!("{KEYWORD}_code");
    let workspace = Manifest::parse(&read(Path::new("Cargo.toml")));
    assert_eq!(workspace.value("workspace.lints.rust", &lint), Some("\"forbid\""));
    for package in packages().iter().filter(|package| *package != UNCHECKED) {
        let text = read(&Path::new(package).join("Cargo.toml"));
        let manifest = Manifest::parse(&text);
        assert_eq!(manifest.value("lints", "workspace"), Some("true"), "{package}");
        assert!(!text.contains(KEYWORD), "{package}/Cargo.toml");
    }
}

#[test]
fn each_unchecked_block_says_why_it_holds() {
    let all = sources(UNCHECKED);
    assert!(all.iter().any(|path| !mentions("", &read(path)).is_empty()), "there are some");
    let wrong =
        all.iter().flat_map(|path| without_reason(&path.display().to_string(), &read(path)));
    none("SAFETY", &wrong.collect::<Vec<_>>());
}

#[test]
fn the_fields_of_serve_are_private_or_plain_data() {
    let mut wrong = Vec::new();
    let mut handed_over = BTreeSet::new();
    for path in sources("crates/forknet/src/serve") {
        for field in visible_fields(&read(&path)) {
            if HANDED_OVER.contains(&field.of.as_str()) {
                handed_over.insert(field.of);
            } else if !is_plain(&field.of_type, &PLAIN) {
                let (place, line) = (path.display(), field.line);
                wrong.push(format!(
                    "{place}:{line}: {}.{}: {}",
                    field.of, field.name, field.of_type
                ));
            }
        }
    }
    none("visible fields", &wrong);
    assert_eq!(handed_over.len(), HANDED_OVER.len(), "an exception that is not needed");
}

#[test]
fn a_number_has_a_unit() {
    let units: Vec<_> = UNITS.iter().flat_map(|units| units.split(' ')).collect();
    let files = WITH_UNITS.iter().flat_map(|name| source_files(&format!("crates/{name}")));
    let wrong =
        files.flat_map(|path| without_unit(&path.display().to_string(), &read(&path), &units));
    none("constants without unit or RFC", &wrong.collect::<Vec<_>>());
}

#[test]
fn the_lines_that_others_read_are_written_in_one_file() {
    let mut wrong = Vec::new();
    let mut written = Vec::new();
    for path in source_files("crates/forknet") {
        let found = strings_with(&path.display().to_string(), &read(&path), &CONTRACT_LINES);
        if path == Path::new(CONTRACT_FILE) { written.extend(found) } else { wrong.extend(found) }
    }
    none("outside of log/contract.rs", &wrong);
    for text in CONTRACT_LINES {
        assert!(written.iter().any(|line| line.contains(text)), "no file writes '{text}'");
    }
}

#[test]
fn no_file_is_too_long() {
    let length = |path: &PathBuf| read(path).lines().count();
    let is_too_long = |path: &PathBuf| {
        let is_main = path.starts_with("crates") && path.ends_with("src/main.rs");
        length(path) > if is_main { LONGEST_MAIN } else { LONGEST_FILE }
    };
    let all = sources(".");
    assert!(all.len() > 100, "{} files", all.len());
    let wrong = all.iter().filter(|path| is_too_long(path));
    let wrong = wrong.map(|path| format!("{}: {} lines", path.display(), length(path)));
    none("lines", &wrong.collect::<Vec<_>>());
}

#[test]
fn the_fork_model_is_the_slides_loop() {
    let functions = functions(&read(Path::new("crates/forknet/src/serve/fork.rs")));
    let missing: Vec<_> =
        functions.iter().map(|function| first_missing(&function.code, &LOOP)).collect();
    let whole = missing.iter().position(Option::is_none);
    let function = &functions[whole.unwrap_or_else(|| panic!("not in this order: {missing:?}"))];
    assert!(function.lines <= LONGEST_LOOP, "{}: {} lines", function.name, function.lines);
}
