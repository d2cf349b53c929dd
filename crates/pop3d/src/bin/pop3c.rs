//! pop3c: reads mail by POP3 (RFC 1939).

use std::process::ExitCode;

fn main() -> ExitCode {
    pop3d::client::main()
}
