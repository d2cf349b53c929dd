//! echod: the slides' echo server, one process per client.

mod dg_echo;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use dg_echo::dg_echo;
use echod::{lines, str_echo};
use forknet::{
    Client, Error, Facility, Model, Reaper, Result, RootPolicy, Server, Service, Transport,
};

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
    let line = forknet::command_line(&SERVICE, own_options, args)?;
    let reaper = reaper(line.matches.opt_str("reap").as_deref(), line.server.model)?;
    let mut server = Server::new(&SERVICE, line.server)?;
    server.reap_with(reaper);
    server.serve_datagrams_too(dg_echo, line.matches.opt_present("udp"));
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

fn own_options(options: &mut getopts::Options) {
    let help = "waitpid, wait or none: the slides' three reapers (default waitpid)";
    options.optflag("", "udp", "serve datagrams too, on the same addresses and ports");
    options.optopt("", "reap", help, "HOW");
}

/// Reads `--reap`. Prefork needs `waitpid`, because the parent replaces workers that end.
fn reaper(text: Option<&str>, model: Model) -> Result<Reaper> {
    match text {
        None | Some("waitpid") => Ok(Reaper::Waitpid),
        Some(how @ ("wait" | "none")) if model == Model::Prefork => {
            Err(Error::Usage(format!("--reap '{how}': not with --model prefork")))
        }
        Some("wait") => Ok(Reaper::Wait),
        Some("none") => Ok(Reaper::None),
        Some(other) => Err(Error::Usage(format!("--reap '{other}': not waitpid, wait or none"))),
    }
}
