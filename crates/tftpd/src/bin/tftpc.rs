//! tftpc: fetches or sends a file by the Trivial File Transfer Protocol.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use forknet::{Error, Remote, Result};
use indicatif::{ProgressBar, ProgressStyle};
use nix::sys::signal::{SigSet, Signal};
use tftpd::channel::{Trace, Way};
use tftpd::client::Order;
use tftpd::commandline::{self, CommandLine};
use tftpd::failure::Failure;
use tftpd::packet::{Direction, Mode, Packet, describe};

fn main() -> ExitCode {
    forknet::main("tftpc", run) // prints one error, maps it to 0, 1, 2
}

fn run(args: Vec<OsString>) -> Result<()> {
    let line = commandline::parse(args)?;
    // A file over the limit of sizes is an error of write(2), not the end by a signal.
    SigSet::from(Signal::SIGXFSZ).thread_block().map_err(Error::os("sigprocmask"))?;
    let CommandLine { server: Remote { host, port }, order, verbose } = line;
    forknet::built_in_services_only();
    let found = (host.as_str(), port).to_socket_addrs().map_err(Error::io(host.clone()))?;
    let mut last = Error::Refused(format!("{host}: no address"));
    for service in found {
        let bar = progress_bar(&order, verbose);
        let outcome = order.run(service, trace(order.direction, verbose, bar.clone()), || {
            bar.finish_and_clear();
        })?;
        bar.finish_and_clear();
        let Err(failure) = outcome.result else { return Ok(()) };
        last = Error::Refused(explain(&order, service, &failure));
        if outcome.answered || matches!(failure, Failure::Silent | Failure::Denied { .. }) {
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

/// On a terminal: how much of the file has travelled, and of how much where that is known.
/// indicatif draws nothing elsewhere.
fn progress_bar(order: &Order, verbose: bool) -> ProgressBar {
    if verbose || order.local == "-" {
        return ProgressBar::hidden();
    }
    let size = match order {
        Order { direction: Direction::Write, mode: Mode::Octet, local, .. } => {
            std::fs::metadata(local).ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len())
        }
        _ => None,
    };
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:30} {bytes} of {total_bytes}, {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {bytes}, {binary_bytes_per_sec}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Shows every packet, or counts the blocks for the progress bar, each one once.
fn trace<'a>(direction: Direction, verbose: bool, bar: ProgressBar) -> Trace<'a> {
    if verbose {
        return Box::new(|way, packet| {
            let who = if way == Way::Out { 'C' } else { 'S' };
            let _stderr_may_be_closed = writeln!(io::stderr(), "{who}: {}", describe(packet));
        });
    }
    if bar.is_hidden() {
        return Box::new(|_, _| ());
    }
    let data_goes = if direction == Direction::Read { Way::In } else { Way::Out };
    let mut next = 1;
    Box::new(move |way, packet| match Packet::parse(packet) {
        Ok(Packet::Data { block, data }) if way == data_goes && block == next => {
            next = next.wrapping_add(1);
            bar.inc(data.len() as u64);
        }
        _ => (),
    })
}
