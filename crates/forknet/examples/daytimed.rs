//! daytimed: tells the time of day to each client (RFC 867). docs/course.md shows it as a server of one's own.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forknet::{Client, Facility, OwnOptions, Result, RootPolicy, Server, Service, Transport};

const SERVICE: Service = Service {
    name: "daytimed",
    about: "Tells the time of day (RFC 867), one process per client.",
    port: 13,
    idle: Duration::from_secs(10),
    root: RootPolicy::Nobody,
    facility: Facility::Daemon,
    memory: 64 << 20, // bytes
    transport: Transport::Stream,
};

fn main() -> ExitCode {
    forknet::main(SERVICE.name, run) // prints one error, maps it to 0, 1, 2
}

fn run(args: Vec<OsString>) -> Result<()> {
    let line = forknet::command_line(&SERVICE, &OwnOptions::NONE, args)?;
    let mut server = Server::new(&SERVICE, line.server)?;
    server.listen()?; //            socket, bind, listen
    server.detach()?; //            -d, -p
    server.drop_privileges()?; //   -u
    server.serve(daytime) //        accept, fork, reap
}

/// One client's session: a line, and the end.
fn daytime(client: &mut Client) -> io::Result<()> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    client.conn.write_all(date(seconds).as_bytes())
}

/// Writes out a time, in seconds since 1970, by the calendar that begins each year in March.
fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097); // 400 years
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153; // months since March
    let month = if march < 10 { march + 3 } else { march - 9 };
    let (year, day) = (era * 400 + year + u64::from(month < 3), day - (153 * march + 2) / 5 + 1);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC\r\n")
}
