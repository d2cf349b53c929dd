//! The manual pages say what `--help` says, and `--help` is what a terminal can show.

use testkit::{check_help, check_page, check_usage, check_usage_code};

const DAEMON: &str = env!("CARGO_BIN_EXE_smtpd");
const CLIENT: &str = env!("CARGO_BIN_EXE_smtpc");

#[test]
fn the_page_of_smtpd_tells_the_options_of_its_help() {
    check_page(DAEMON, "smtpd.8");
}

#[test]
fn the_page_of_smtpc_tells_the_options_of_its_help() {
    check_page(CLIENT, "smtpc.1");
}

#[test]
fn help_fits_80_columns() {
    check_help(DAEMON);
    check_help(CLIENT);
}

#[test]
fn what_is_wrong_with_a_command_line_is_named() {
    check_usage(DAEMON, &["--frob"], "--frob: no such option");
    check_usage(DAEMON, &["-l", "7"], "--listen '7'");
    check_usage(DAEMON, &["-c", "none"], "--max-clients 'none'");
    check_usage(DAEMON, &["-t"], "-t: its argument");
    check_usage(DAEMON, &["-i", "-d"], "--inetd and --daemon");
    check_usage(DAEMON, &["extra"], "'extra'");
    check_usage_code(CLIENT, &["--frob"], "--frob: no such option", 64);
    check_usage(DAEMON, &["--vrfy", "me"], "--vrfy 'me'");
    check_usage(DAEMON, &["--domain", "a b"], "--domain 'a b'");
    check_usage_code(CLIENT, &["-s", "localhost"], "TO is missing", 64);
    check_usage_code(CLIENT, &["-s", "localhost", "a b@c"], "address 'a b@c'", 64);
}
