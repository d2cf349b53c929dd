//! tftpc: fetches or sends a file by the Trivial File Transfer Protocol.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use forknet::{HostPort, Result};
use nix::sys::signal::{SigSet, Signal};
use tftpd::client::command_line::{self, CommandLine};
use tftpd::client::job::Job;
use tftpd::client::progress::ProgressMeter;
use tftpd::error::Error;
use tftpd::transfer::channel::{Trace, Traced};
use tftpd::wire::packet::describe;
use tftpd::wire::request::Direction;

fn main() -> ExitCode {
    forknet::main("tftpc", run) // prints one error, maps it to 0, 1, 2
}

fn run(args: Vec<OsString>) -> Result<()> {
    let line = command_line::parse(args)?;
    // With SIGXFSZ blocked, a file over RLIMIT_FSIZE makes write(2) fail with EFBIG.
    SigSet::from(Signal::SIGXFSZ).thread_block().map_err(forknet::Error::os("sigprocmask"))?;
    let CommandLine { server: HostPort { host, port }, mut job, verbose, quiet } = line;
    let wants_meter = !verbose && !quiet;
    if !ProgressMeter::new(&job, wants_meter).is_hidden() {
        job.options.tsize = Some(0); // for the progress bar
    }
    job.wait_for_input()?;
    let found = forknet::resolve(&host, port).map_err(forknet::Error::io(host.clone()))?;
    let mut last = forknet::Error::Refused(format!("{host}: no address"));
    for service in found {
        let meter = ProgressMeter::new(&job, wants_meter);
        let outcome = job.run(service, trace(&job, verbose, &meter), || meter.clear())?;
        meter.clear();
        let Err(error) = outcome.result else { return Ok(()) };
        last = forknet::Error::Refused(explain(&job, service, &error));
        if outcome.answered || matches!(error, Error::Denied { .. }) {
            break; // another address of this host would give the same answer
        }
    }
    Err(last)
}

/// Describes an error with the operation, the files, the server and the reason.
fn explain(job: &Job, service: SocketAddr, error: &Error) -> String {
    let remote = job.remote.escape_ascii();
    match job.direction {
        Direction::Read => format!("get \"{remote}\" from {service} to {}: {error}", job.local),
        Direction::Write => format!("put {} to \"{remote}\" on {service}: {error}", job.local),
    }
}

/// Returns a trace that prints every packet, or counts the blocks for the progress bar.
fn trace<'a>(job: &Job, verbose: bool, meter: &ProgressMeter) -> Trace<'a> {
    if verbose {
        return Box::new(|traced, packet| {
            let sender = if traced == Traced::Sent { 'C' } else { 'S' };
            let _ = writeln!(io::stderr(), "{sender}: {}", describe(packet)); // best effort
        });
    }
    match meter.is_hidden() {
        true => Box::new(|_, _| ()),
        false => Box::new(meter.counter(job)),
    }
}
