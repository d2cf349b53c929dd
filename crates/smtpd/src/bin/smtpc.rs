//! smtpc: sends the letter on standard input by SMTP (RFC 5321). Slides: the dialogue of TOPAZ and
//! RED. Called as sendmail, mailq or newaliases it is that program.

use std::process::ExitCode;

use smtpd::{client, sendmail};

fn main() -> ExitCode {
    match sendmail::called_as() {
        Some(name) => sendmail::main(name),
        None => client::main(sendmail::put_in),
    }
}
