//! The manual page says what `--help` says, and `--help` is what a terminal can show.

use testkit::{check_help, check_page, check_usage};

use crate::common::SMTPQ;

#[test]
fn the_page_tells_the_options_of_the_help() {
    check_page(SMTPQ, "smtpq.8");
}

#[test]
fn help_fits_80_columns() {
    check_help(SMTPQ);
}

#[test]
fn what_is_wrong_with_a_command_line_is_named() {
    check_usage(SMTPQ, &["--frob"], "--frob: no such option");
    check_usage(SMTPQ, &["--once"], "--queue");
    check_usage(SMTPQ, &["--queue", "/q", "--retry", "soon"], "--retry 'soon'");
    check_usage(SMTPQ, &["--queue", "/q", "--list", "--flush"], "only one of them");
    check_usage(SMTPQ, &["--queue", "/q", "extra"], "'extra'");
}
