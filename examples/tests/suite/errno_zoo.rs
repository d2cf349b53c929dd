//! errno_zoo shows every row of the slides' table, and each as what a system call gave.

use std::process::Command;

use testkit::run;

/// "Posibles valores de errno", both tables.
const SLIDE: &str = "EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EALREADY EBADF ECONNABORTED \
    ECONNREFUSED ECONNRESET EDESTADDRREQ EHOSTDOWN EHOSTUNREACH EINPROGRESS EISCONN EMSGSIZE \
    ENETDOWN ENETRESET ENETUNREACH ENOBUFS ENOPROTOOPT ENOTCONN ENOTSOCK";
/// From the notes and the other slides.
const BESIDE_IT: &str = "ETIMEDOUT EPROTONOSUPPORT EPIPE EINTR EAGAIN";
/// Rows that need a network of their own.
const PRIVATE: &str = "ECONNABORTED EHOSTDOWN EHOSTUNREACH ENETDOWN ENETRESET ENETUNREACH ENOBUFS";

/// A row of the printed table.
#[derive(Debug, Default)]
struct Row {
    symbol: String,
    number: String,
    perror: String,
    cause: String,
    done: String,
}

/// Cells stand beside each other, their lines below each other, in columns that begin where their
/// titles do.
fn parse(table: &str) -> Vec<Row> {
    let titles = table.lines().next().unwrap_or_default();
    let at = ["perror()", "cause", "what was done"].map(|title| titles.find(title).unwrap_or(0));
    let table = table.split(" provoked, ").next().unwrap();
    let rows = table.split("\n\n").flat_map(|block| block.split("---\n").last());
    let rows = rows.filter(|row| row.starts_with('E') && row.contains('\n'));
    let cell = |row: &str, from: usize, to: usize| -> String {
        let lines = row.lines().map(|line| line.get(from..to.min(line.len())).unwrap_or_default());
        lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    };
    rows.map(|row| {
        let name = cell(row, 0, at[0]);
        let (symbol, number) = name.split_once(' ').expect("symbol and number");
        Row {
            symbol: symbol.to_owned(),
            number: number.to_owned(),
            perror: cell(row, at[0], at[1]),
            cause: cell(row, at[1], at[2]),
            done: cell(row, at[2], usize::MAX),
        }
    })
    .collect()
}

/// Its exit status, its rows, and everything it said.
fn finished(command: Command) -> (i32, Vec<Row>, String) {
    let output = run(command, b"");
    let table = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    (output.status.code().expect("an exit status"), parse(&table), table + &errors)
}

fn errno_zoo(names: &[&str]) -> (i32, Vec<Row>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_errno_zoo"));
    command.args(names);
    finished(command)
}

#[test]
fn every_row_of_the_slide_is_there_in_its_order_and_was_provoked() {
    let (code, rows, table) = errno_zoo(&[]);
    let symbols: Vec<&str> = rows.iter().map(|row| row.symbol.as_str()).collect();
    assert_eq!(symbols.join(" "), format!("{SLIDE} {BESIDE_IT}"), "{table}");
    let refused = table.contains("\nno network namespace");
    if refused {
        testkit::not_judged(format_args!("no network namespace allowed, so not these: {PRIVATE}"));
    }
    for row in &rows {
        assert!(!row.done.contains("ANOTHER RESULT"), "{row:?}");
        match row.symbol.as_str() {
            symbol if refused && PRIVATE.split(' ').any(|private| private == symbol) => {
                assert!(row.done.contains("NOT PROVOKED, no network namespace: "), "{row:?}");
            }
            "ENETRESET" => {
                assert!(row.done.contains("NOT GIVEN by this kernel"), "{row:?}");
                for instead in ["ETIMEDOUT", "ECONNRESET", "EHOSTUNREACH"] {
                    assert!(row.done.contains(&format!(": {instead}")), "{row:?}");
                }
            }
            _ => assert!(!row.done.contains("NOT "), "{row:?}"),
        }
    }
    assert_eq!(code, if refused { 3 } else { 0 }, "{table}");
}

#[test]
fn a_row_has_the_number_and_the_words_of_the_c_library_a_cause_and_what_was_done() {
    let (code, rows, table) = errno_zoo(&["ECONNREFUSED", "ENOTSOCK", "EAGAIN"]);
    assert_eq!((code, rows.len()), (0, 3), "{table}");
    let expected = [
        ("ECONNREFUSED", nix::libc::ECONNREFUSED, "Connection refused"),
        ("ENOTSOCK", nix::libc::ENOTSOCK, "Socket operation on non-socket"),
        ("EAGAIN", nix::libc::EAGAIN, "Resource temporarily unavailable"),
    ];
    for (row, (symbol, number, perror)) in rows.iter().zip(expected) {
        assert_eq!((row.symbol.as_str(), row.perror.as_str()), (symbol, perror), "{table}");
        assert_eq!(row.number, number.to_string());
        assert!(row.cause.len() > 10 && row.done.len() > 10, "{row:?}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 100), "wider than a projector");
}

#[test]
fn a_call_that_gives_another_errno_is_shown_as_such_and_the_exit_status_is_1() {
    let mut command = Command::new("env"); // of coreutils; std would clear the mask
    command.args(["--block-signal=ALRM", env!("CARGO_BIN_EXE_errno_zoo"), "EINTR", "EBADF"]);
    let (code, rows, table) = finished(command);
    assert_eq!((code, rows.len()), (1, 2), "{table}");
    let (ebadf, eintr) = (&rows[0].done, &rows[1].done);
    assert!(ebadf.starts_with("recv("), "{table}");
    assert!(eintr.starts_with("ANOTHER RESULT: ") && eintr.ends_with(": EAGAIN"), "{table}");
}

#[test]
fn a_call_that_cannot_be_made_is_shown_as_such_and_the_exit_status_is_3() {
    let mut command = Command::new("sh");
    let zoo = env!("CARGO_BIN_EXE_errno_zoo");
    command.args(["-c", "ulimit -n 4; exec \"$0\" EISCONN EPROTONOSUPPORT", zoo]);
    let (code, rows, table) = finished(command);
    assert_eq!((code, rows.len()), (3, 2), "{table}");
    let expected = "NOT PROVOKED, a step before it: Too many open files (connect() twice)";
    assert_eq!(rows[0].done, expected);
    assert!(rows[1].done.starts_with("socket("), "{table}");
}

#[test]
fn a_name_that_is_no_row_is_bad_usage() {
    let (code, rows, text) = errno_zoo(&["ENOSUCH"]);
    assert_eq!((code, rows.len()), (2, 0));
    assert!(text.contains("errno_zoo: ENOSUCH: not in the table"), "{text}");
}
