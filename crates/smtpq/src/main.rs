//! smtpq: sends the letters of the queue, one process per destination.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use forknet::{Facility, Result, RootPolicy, Service, Transport};
use smtpq::options::{Config, OPTIONS};

const SERVICE: Service = Service {
    name: "smtpq",
    about: "Sends the letters of the queue by SMTP (RFC 5321), one process per destination.",
    port: 25,
    idle: Duration::from_secs(300), // RFC 5321 §4.5.3.2
    root: RootPolicy::Never,
    facility: Facility::Mail,
    memory: 512 << 20, // bytes
    transport: Transport::Jobs,
};

fn main() -> ExitCode {
    forknet::main(SERVICE.name, run) // prints one error, maps it to 0, 1, 2
}

fn run(args: Vec<OsString>) -> Result<()> {
    let line = forknet::command_line(&SERVICE, &OPTIONS, args)?;
    Config::read(&line.values)?;
    Ok(())
}
