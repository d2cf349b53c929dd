//! echod: the slides' echo server, one process per client.

mod dg_echo;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use dg_echo::dg_echo;
use echod::options::{OPTIONS, reaper};
use echod::{lines, str_echo};
use forknet::{Client, Facility, Result, RootPolicy, Server, Service, Transport};

const SERVICE: Service = Service {
    name: "echod",
    about: "Sends back what it is sent (RFC 862), one process per client.",
    port: 7,
    idle: Duration::from_secs(300),
    root: RootPolicy::Nobody,
    facility: Facility::Daemon,
    memory: 128 << 20,
    transport: Transport::StreamAndDatagram,
};

fn main() -> ExitCode {
    forknet::main(SERVICE.name, run) // prints one error, maps it to 0, 1, 2
}

fn run(args: Vec<OsString>) -> Result<()> {
    let line = forknet::command_line(&SERVICE, &OPTIONS, args)?;
    let reaper = reaper(&line.values, line.server.model)?;
    let mut server = Server::new(&SERVICE, line.server)?;
    server.reap_with(reaper);
    server.serve_datagrams_too(dg_echo, line.values.is_given("udp"));
    server.listen()?; //            socket, bind, listen
    server.detach()?; //            -d, -p
    server.drop_privileges()?; //   -u
    server.serve(session) //        accept, fork, reap
}

/// Serves one client.
fn session(client: &mut Client) -> std::io::Result<()> {
    let transcript = &mut client.transcript;
    str_echo(&mut client.conn, |bytes| {
        if transcript.is_on() {
            lines(bytes).for_each(|line| transcript.client(line));
            lines(bytes).for_each(|line| transcript.server(line));
        }
    })
}
