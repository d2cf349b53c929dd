//! The manual pages say what `--help` says, and `--help` is what a terminal can show.

use testkit::{check_help, check_page, check_usage};

const DAEMON: &str = env!("CARGO_BIN_EXE_tftpd");
const CLIENT: &str = env!("CARGO_BIN_EXE_tftpc");

#[test]
fn the_page_of_tftpd_tells_the_options_of_its_help() {
    check_page(DAEMON, "tftpd.8");
}

#[test]
fn the_page_of_tftpc_tells_the_options_of_its_help() {
    check_page(CLIENT, "tftpc.1");
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
    check_usage(DAEMON, &["--no-option", "size"], "--no-option 'size': not blksize");
    check_usage(DAEMON, &["--umask", "8"], "--umask '8': not an octal number");
    check_usage(DAEMON, &["-t"], "-t: its argument");
    check_usage(DAEMON, &["-i", "-d"], "--inetd and --daemon");
    check_usage(DAEMON, &["extra"], "'extra'");
    check_usage(CLIENT, &["--frob"], "--frob: no such option");
    check_usage(DAEMON, &["--retries", "many"], "--retries 'many'");
    check_usage(CLIENT, &["localhost", "got", "x"], "'got'");
    check_usage(CLIENT, &["-m", "mail", "localhost", "get", "x"], "--mode 'mail'");
}
