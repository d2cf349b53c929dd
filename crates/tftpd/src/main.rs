//! tftpd: files by the Trivial File Transfer Protocol, one process per transfer.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use forknet::{Facility, Reread, Result, RootPolicy, Server, Service, Transport};
use tftpd::confine::Confinement;
use tftpd::desk;
use tftpd::options::{self, Config};
use tftpd::packet::{self, Code};
use tftpd::server::answer;
use tftpd::service::is_request;

const SERVICE: Service = Service {
    name: "tftpd",
    about: "Serves files below one folder by TFTP (RFC 1350), one process per transfer.",
    port: 69,
    idle: Duration::from_secs(30),
    root: RootPolicy::Nobody,
    facility: Facility::Daemon,
    memory: 128 << 20,
    transport: Transport::Datagram,
};

fn main() -> ExitCode {
    forknet::main(SERVICE.name, run) // prints one error, maps it to 0, 1, 2
}

fn run(args: Vec<OsString>) -> Result<()> {
    let line = forknet::command_line(&SERVICE, options::declare, args)?;
    let config = Config::new(&line.matches, line.server.chroot.as_deref())?;
    let has_pid_file = line.server.pid_file.is_some();
    let mut server = Server::new(&SERVICE, line.server)?;
    server.busy = packet::error(Code::NotDefined, "Too many transfers, try again later");
    server.unavailable = packet::error(Code::NotDefined, "No process or port for the transfer");
    server.is_request = is_request;
    server.longest_file = config.max_size;
    server.ports = config.ports;
    server.reread = config.map.clone().map(|map| Reread::new(move || map.read_again()));
    server.bind_datagram()?; //     socket, bind
    server.detach()?; //            -d, -p
    server.drop_privileges()?; //   -u
    if let Err(errno) = config.root.check() {
        log::warn!("root: {}: no file can be served", forknet::reason(&errno.into()));
    }
    if let Some(Err(error)) = config.map.as_ref().map(|map| map.check()) {
        log::warn!("{error}: SIGHUP will not help");
    }
    // One process for all also reads --map again and removes the pid file, which lie outside.
    let confinement = match config.single_port && (config.map.is_some() || has_pid_file) {
        true => Confinement::none(),
        false => Confinement::prepare(&config.root, config.is_writable()),
    };
    if config.single_port {
        confinement.enter();
        return server.serve_alone(|postbox| desk::serve(postbox, &config)); // recvfrom, sendto
    }
    server.serve_datagrams(|request| {
        confinement.enter();
        answer(request, &config)
    }) // recvfrom, fork, reap
}
