//! A network between a client and a server that speak UDP, to be run by hand or by a script:
//! `relay HOST:PORT [--delay MS] [--lost %] [--doubled %] [--late % --by MS] [--seed N]`.
//!
//! Prints `listening on ADDR:PORT`, what clients are to talk to, and runs until it is killed.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use testkit::relay::{Relay, Weather};

const USAGE: &str =
    "usage: relay HOST:PORT [--delay MS] [--lost %] [--doubled %] [--late % --by MS] [--seed N]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((service, weather, seed)) = read(&args) else {
        let _nobody_reads = writeln!(io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    let relay = Relay::start(service, weather.script(seed));
    let _nobody_reads = writeln!(io::stderr(), "listening on {}", relay.addr());
    loop {
        thread::park();
    }
}

fn read(args: &[String]) -> Option<(SocketAddr, Weather, u64)> {
    let (service, options) = args.split_first()?;
    let (mut weather, mut seed) = (Weather::CALM, 1);
    for option in options.chunks(2) {
        let [name, value] = option else { return None };
        match name.as_str() {
            "--delay" => weather.delay = milliseconds(value)?,
            "--by" => weather.by = milliseconds(value)?,
            "--lost" => weather.lost = number(value)?,
            "--doubled" => weather.doubled = number(value)?,
            "--late" => weather.late = number(value)?,
            "--seed" => seed = number(value)?,
            _ => return None,
        }
    }
    Some((service.parse().ok()?, weather, seed))
}

fn number<N: FromStr>(text: &str) -> Option<N> {
    text.parse().ok()
}

/// With a fraction or without.
fn milliseconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(number::<f64>(text)? / 1000.0).ok()
}
