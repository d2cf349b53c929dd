//! What the rows of the options make: manual pages, the guide's tables, completions.

use testkit::{check_closed_output, check_documents};

const DAEMON: &str = env!("CARGO_BIN_EXE_pop3d");
const CLIENT: &str = env!("CARGO_BIN_EXE_pop3c");

#[test]
fn what_is_committed_is_what_the_rows_of_the_options_make() {
    check_documents(DAEMON, "pop3d.8");
    check_documents(CLIENT, "pop3c.1");
}

#[test]
fn help_and_version_end_silently_when_their_reader_has_gone() {
    check_closed_output(DAEMON);
    check_closed_output(CLIENT);
}
