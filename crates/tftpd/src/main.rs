//! tftpd: files by the Trivial File Transfer Protocol, one process per transfer.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use forknet::{Facility, Over, Result, RootPolicy, Server, Service, Transport};
use tftpd::options::{self, Config};
use tftpd::report;
use tftpd::server::landlock::Confinement;
use tftpd::server::limits::patience;
use tftpd::server::retransmit::Tftp;
use tftpd::server::single_port;
use tftpd::wire::error_code::ErrorCode;
use tftpd::wire::packet;

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

/// Default of `-c` with `--single-port`, where a client costs no process.
const SINGLE_PORT_CLIENTS: usize = 4096;

fn main() -> ExitCode {
    forknet::main(SERVICE.name, run) // prints one error, maps it to 0, 1, 2
}

fn run(args: Vec<OsString>) -> Result<()> {
    let mut line = forknet::command_line(&SERVICE, &options::OPTIONS, args)?;
    if let Some(log) = line.values.text("report") {
        return report::print(&log);
    }
    let mut config = Config::new(&line.values, line.server.chroot.as_deref())?;
    if let Some(result) = config.trial(&line.values) {
        return result;
    }
    if config.single_port && !line.values.is_given("max-clients") {
        line.server.max_clients = SINGLE_PORT_CLIENTS;
    }
    let max_clients = line.server.max_clients;
    let patience = patience(line.server.over == Over::Queue);
    let files = ["pid-file", "transcript", "transfer-log"];
    let has_files = files.iter().any(|name| line.values.is_given(name));
    let mut server = Server::new(&SERVICE, line.server)?;
    if let Some(path) = line.values.path("transfer-log")? {
        config.transfer_log = server.open_log("transfer log", path)?;
    }
    server.refuse_with(
        packet::error(ErrorCode::NotDefined, "Too many transfers, try again later"),
        packet::error(ErrorCode::NotDefined, "No process or port for the transfer"),
    );
    server.limit_files(config.max_size);
    if let Some(map) = config.map.clone() {
        server.on_hangup(move || map.reload());
    }
    server.bind_datagram()?; //     socket, bind
    server.detach()?; //            -d, -p
    server.drop_privileges()?; //   -u
    config.set_umask();
    config.warnings().into_iter().try_for_each(|warning| server.warn(warning))?;
    // With --single-port the one process re-reads --map, removes the pid file and reopens the
    // transcript, all of which lie outside the root.
    let confinement = match config.single_port && (config.map.is_some() || has_files) {
        true => Confinement::disabled(&config.roots),
        false => Confinement::prepare(&config.roots, config.is_writable(), config.makes_folders),
    };
    if config.single_port {
        confinement.enter();
        return server.serve_alone(|socket| single_port::serve(socket, &config)); // recvfrom, sendto
    }
    server.serve_datagrams(Tftp::new(&config, confinement, max_clients, patience)?) // recvfrom, fork, reap
}
