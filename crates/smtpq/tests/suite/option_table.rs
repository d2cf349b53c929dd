//! What the rows of the options make: manual page, the guide's table, completions.

use testkit::{check_closed_output, check_documents};

use crate::common::SMTPQ;

#[test]
fn what_is_committed_is_what_the_rows_of_the_options_make() {
    check_documents(SMTPQ, "smtpq.8");
}

#[test]
fn help_and_version_end_silently_when_their_reader_has_gone() {
    check_closed_output(SMTPQ);
}
