//! pop3d: a POP3 server (RFC 1939), one process per client.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use forknet::{Client, Error, Facility, Result, RootPolicy, Server, Service, Transport};
use pop3d::authorization::Config;
use pop3d::options;
use pop3d::protocol::Protocol;
use pop3d::session::{converse, host};

const SERVICE: Service = Service {
    name: "pop3d",
    about: "Hands out the mail of Maildirs by POP3 (RFC 1939), one process per client.",
    port: 110,
    idle: Duration::from_secs(600), // RFC 1939 §3: ten minutes at least
    root: RootPolicy::Refuse,
    facility: Facility::Mail,
    memory: 512 << 20,
    transport: Transport::Stream,
};

fn main() -> ExitCode {
    forknet::main(SERVICE.name, run) // prints one error, maps it to 0, 1, 2
}

fn run(args: Vec<OsString>) -> Result<()> {
    let line = forknet::command_line(&SERVICE, options::declare, args)?;
    if line.matches.opt_present("hash") {
        line.serves_nobody()?;
        return Err(Error::Answer(options::hash()?));
    }
    let config = options::config(&line)?;
    let mut server = Server::new(&SERVICE, line.server)?;
    server.busy = b"-ERR [SYS/TEMP] too many clients, try again later\r\n".to_vec();
    server.unavailable = b"-ERR [SYS/TEMP] no resources, try again later\r\n".to_vec();
    server.listen()?; //            socket, bind, listen
    server.detach()?; //            -d, -p
    server.drop_privileges()?; //   -u
    options::check(&config.users)?;
    server.serve(|client| session(client, &config)) // accept, fork, reap
}

/// One client's conversation.
fn session(client: &mut Client, config: &Config) -> io::Result<()> {
    let (peer, local) = (client.peer.to_string(), client.peer.is_loopback());
    let protocol = Protocol::new(config.clone(), peer, local, host(), client.title);
    converse(&mut client.conn, protocol, &mut client.transcript)
}
