//! echoc: its command line, and the client for the server's kind of socket.

mod dg_cli;
mod str_cli;

use std::ffi::OsString;

use forknet::{Error, Preset, Result, Row, UnixName, Values};

const USAGE: &str = "Usage: echoc [OPTION]... HOST PORT\n       \
    echoc [OPTION]... unix:PATH | unix-dgram:PATH\n\
    Sends standard input to an echo server and prints what comes back: by TCP or a\n\
    UNIX-domain stream as it comes, by UDP or UNIX-domain datagrams line by line.\n\
    unix:@NAME is a name of the abstract namespace.";
const OPTIONS: &[Row] = &[
    Row {
        name: "udp",
        short: "u",
        help: "send each line as a UDP datagram",
        manual: "Send each line as a UDP datagram. An answer that is lost is not asked for again: \
            {Nm} gives up after the time of `-t`.",
        ..Row::EMPTY
    },
    Row {
        name: "timeout",
        short: "t",
        value: "S",
        default: Preset::Value("30"),
        help: "seconds to wait for an answer",
        manual: "Wait at most <s> seconds for the connection, and for an echo that is due. A \
            fraction is allowed.",
        ..Row::EMPTY
    },
];

/// Runs the client.
///
/// # Errors
/// Bad usage, or some bytes did not come back.
pub fn run(args: Vec<OsString>) -> Result<()> {
    let values = forknet::parse("echoc", USAGE, OPTIONS, args)?;
    let timeout = values.seconds("timeout")?;
    match server(&values)? {
        Server::Tcp(host, port) => {
            str_cli::str_cli(forknet::connect(host, port, timeout)?, timeout) // socket, connect
        }
        Server::Unix(name) => str_cli::str_cli(forknet::connect_unix(&name, timeout)?, timeout),
        Server::Udp(host, port) => dg_cli::dg_cli(forknet::connect_udp(host, port)?, timeout),
        Server::UnixDatagram(name) => {
            dg_cli::dg_cli(vec![forknet::connect_unix_datagram(&name)?], timeout)
        }
    }
}

/// The address of the server.
#[derive(Debug, PartialEq, Eq)]
enum Server<'a> {
    Tcp(&'a str, u16),
    Udp(&'a str, u16),
    Unix(UnixName),
    UnixDatagram(UnixName),
}

fn server(values: &Values) -> Result<Server<'_>> {
    let host = values.operands().first().map_or("", String::as_str);
    let udp = values.is_given("udp");
    let named =
        |text| UnixName::parse(text).map_err(|why| Error::Usage(format!("'{host}': {why}")));
    let unix = match (host.strip_prefix("unix:"), host.strip_prefix("unix-dgram:")) {
        (Some(_), _) if udp => {
            return Err(Error::Usage(format!("'{host}' is no UDP; say unix-dgram:PATH")));
        }
        (Some(name), _) => Some(Server::Unix(named(name)?)),
        (_, Some(name)) => Some(Server::UnixDatagram(named(name)?)),
        _ => None,
    };
    if let Some(unix) = unix {
        return forknet::free_arguments(values, &["HOST"]).map(|()| unix);
    }
    forknet::free_arguments(values, &["HOST", "PORT"])?;
    let port = values.operands().get(1).map_or("", String::as_str);
    let Some(number) = port.parse().ok().filter(|port| *port != 0) else {
        return Err(Error::Usage(format!("port '{port}': not a number from 1 to 65535")));
    };
    Ok(if udp { Server::Udp(host, number) } else { Server::Tcp(host, number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(args: &[&str]) -> String {
        run(args.iter().map(OsString::from).collect()).unwrap_err().to_string()
    }

    #[test]
    fn both_arguments_are_needed_and_the_port_is_a_number() {
        assert!(complaint(&["localhost"]).contains("PORT is missing"));
        assert!(complaint(&["localhost", "0"]).contains("port '0'"));
        assert!(complaint(&["localhost", "7", "8"]).contains("unexpected argument '8'"));
    }

    #[test]
    fn a_unix_name_stands_alone_and_is_no_udp() {
        assert!(complaint(&["unix:/x", "7"]).contains("unexpected argument '7'"));
        assert!(complaint(&["-u", "unix:/x"]).contains("say unix-dgram:PATH"));
        assert!(complaint(&["unix-dgram:"]).contains("'unix-dgram:': no path"));
    }
}
