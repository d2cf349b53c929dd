//! The manual pages say what `--help` says, and `--help` is what a terminal can show.

use testkit::{check_help, check_page, check_usage, check_usage_code};

const DAEMON: &str = env!("CARGO_BIN_EXE_pop3d");
const CLIENT: &str = env!("CARGO_BIN_EXE_pop3c");

#[test]
fn the_page_of_pop3d_tells_the_options_of_its_help() {
    check_page(DAEMON, "pop3d.8");
}

#[test]
fn the_page_of_pop3c_tells_the_options_of_its_help() {
    check_page(CLIENT, "pop3c.1");
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
    check_usage(DAEMON, &["--plaintext", "yes"], "--plaintext 'yes'");
    check_usage(DAEMON, &["--mail", "%x"], "--mail '%x'");
    for (args, named) in [
        (&["--frob"][..], "--frob: no such option"),
        (&["localhost", "frob"], "'frob'"),
        (&["localhost:x", "stat"], "'localhost:x'"),
    ] {
        check_usage_code(CLIENT, args, named, 64); // EX_USAGE
    }
}
