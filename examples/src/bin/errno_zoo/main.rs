//! errno_zoo: every row of the slides' table "Posibles valores de errno", provoked by a system call
//! that fails with it, and a few that the notes and the other slides name.
//!
//! Run: `cargo run -p examples --bin errno_zoo`, or with some names: `errno_zoo ECONNRESET EPIPE`.
//! You see symbol and number, the text of perror(), the slide's cause, and what was done.
//! No result is hard-coded: a row shows the errno that its call gave, and reports when that is not
//! the row's errno.
//!
//! Calls that would disturb the machine, or need a broken network (ENETDOWN, EHOSTDOWN and the
//! like), are made in a network namespace of the program's own. Root can create one; other users
//! can if the system allows user namespaces. If neither is allowed those rows are not tried and
//! show the reason.
//!
//! Exit status: 0 when every row came out (or was shown to be gone from this kernel), 1 when a call
//! gave another errno, 2 for a name that is no row, 3 when rows could not be tried.

mod connections;
mod descriptors;
mod icmp;
mod messages;
mod names;
mod namespace;
mod network;
mod outcome;
mod rows;
mod table;
mod tools;

use std::process::ExitCode;

use outcome::Verdict;
use rows::Row;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let all = || rows::ON_THE_SLIDE.iter().chain(rows::BESIDE_IT);
    if let Some(stranger) = names.iter().find(|name| !all().any(|row| row.is_called(name))) {
        eprintln!("errno_zoo: {stranger}: not in the table\nusage: errno_zoo [ERRNO]...");
        return ExitCode::from(2);
    }
    let wanted = |row: &&Row| names.is_empty() || names.iter().any(|name| row.is_called(name));
    let private = namespace::enter();
    let mut verdicts = Vec::new();
    for rows in [rows::ON_THE_SLIDE, rows::BESIDE_IT] {
        let rows: Vec<&Row> = rows.iter().filter(wanted).collect();
        if rows.is_empty() {
            continue;
        }
        table::head();
        for row in rows {
            let outcome = row.provoke(private.as_ref());
            table::row(row, &outcome);
            verdicts.push(outcome.verdict);
        }
    }
    table::foot(&verdicts, private.as_ref().err());
    match verdicts.iter().max() {
        None | Some(Verdict::Provoked | Verdict::Gone) => ExitCode::SUCCESS,
        Some(Verdict::NotTried) => ExitCode::from(3),
        Some(Verdict::Another) => ExitCode::FAILURE,
    }
}
