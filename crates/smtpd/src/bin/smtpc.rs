//! An SMTP client: sends the letter on standard input. Slides: the dialogue of TOPAZ and RED.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    forknet::main(smtpd::client::NAME, smtpd::client::run)
}
