//! smtpc: sends the letter on standard input by SMTP (RFC 5321). Slides: the dialogue of TOPAZ and
//! RED.

use std::process::ExitCode;

fn main() -> ExitCode {
    smtpd::client::main()
}
