//! tftpc: fetches or sends a file by the Trivial File Transfer Protocol.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use forknet::{Error, Remote, Result};
use nix::sys::signal::{SigSet, Signal};
use tftpd::channel::{Trace, Way};
use tftpd::client::Order;
use tftpd::commandline::{self, CommandLine};
use tftpd::failure::Failure;
use tftpd::packet::{Direction, describe};
use tftpd::progress::Progress;

fn main() -> ExitCode {
    forknet::main("tftpc", run) // prints one error, maps it to 0, 1, 2
}

fn run(args: Vec<OsString>) -> Result<()> {
    let line = commandline::parse(args)?;
    // A file over the limit of sizes is an error of write(2), not the end by a signal.
    SigSet::from(Signal::SIGXFSZ).thread_block().map_err(Error::os("sigprocmask"))?;
    let CommandLine { server: Remote { host, port }, mut order, verbose, quiet } = line;
    let wanted = !verbose && !quiet;
    if !Progress::of(&order, wanted).is_hidden() {
        order.wishes.tsize = Some(0); // for the bar
    }
    forknet::built_in_services_only();
    order.wait_for_input()?;
    let found = (host.as_str(), port).to_socket_addrs().map_err(Error::io(host.clone()))?;
    let mut last = Error::Refused(format!("{host}: no address"));
    for service in found {
        let progress = Progress::of(&order, wanted);
        let outcome = order.run(service, trace(&order, verbose, &progress), || progress.end())?;
        progress.end();
        let Err(failure) = outcome.result else { return Ok(()) };
        last = Error::Refused(explain(&order, service, &failure));
        if outcome.answered || matches!(failure, Failure::Denied { .. }) {
            break; // another address of the same host would say the same
        }
    }
    Err(last)
}

/// What, where and why.
fn explain(order: &Order, service: SocketAddr, failure: &Failure) -> String {
    let remote = order.remote.escape_ascii();
    match order.direction {
        Direction::Read => format!("get \"{remote}\" from {service} to {}: {failure}", order.local),
        Direction::Write => format!("put {} to \"{remote}\" on {service}: {failure}", order.local),
    }
}

/// Shows every packet, or counts the blocks for the progress bar.
fn trace<'a>(order: &Order, verbose: bool, progress: &Progress) -> Trace<'a> {
    if verbose {
        return Box::new(|way, packet| {
            let who = if way == Way::Out { 'C' } else { 'S' };
            let _stderr_may_be_closed = writeln!(io::stderr(), "{who}: {}", describe(packet));
        });
    }
    match progress.is_hidden() {
        true => Box::new(|_, _| ()),
        false => Box::new(progress.counter(order)),
    }
}
