//! pop3c: reads mail by POP3 (RFC 1939).

use std::process::ExitCode;

fn main() -> ExitCode {
    forknet::main("pop3c", pop3d::client::run)
}
