//! pop3d: a POP3 server (RFC 1939), one process per client.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use forknet::{Error, Facility, Result, RootPolicy, Server, Service, Transport};
use pop3d::options::{self, Config};
use pop3d::session::{answer, pop3_session};

const SERVICE: Service = Service {
    name: "pop3d",
    about: "Hands out the mail of Maildirs by POP3 (RFC 1939), one process per client.",
    port: 110,
    idle: Duration::from_secs(600), // RFC 1939 §3: ten minutes at least
    root: RootPolicy::Never,
    facility: Facility::Mail,
    memory: 512 << 20, // bytes
    transport: Transport::Stream,
};

fn main() -> ExitCode {
    if maild::is_report() {
        return maild::report(); // we are run as the user by --checkpassword
    }
    forknet::main(SERVICE.name, run) // prints one error, maps it to 0, 1, 2
}

fn run(args: Vec<OsString>) -> Result<()> {
    let line = forknet::command_line(&SERVICE, &options::OPTIONS, args)?;
    if line.values.is_given("hash") {
        line.is_no_server()?;
        return Err(Error::Answer(maild::hash::hash(&line.values)?));
    }
    let config = Config::read(&line.values)?;
    if line.server.chroot.is_none() {
        config.mail.check()?;
    }
    let mut server = Server::new(&SERVICE, line.server)?;
    server.refuse_with(
        "-ERR [SYS/TEMP] too many clients, try again later\r\n",
        "-ERR [SYS/TEMP] no resources, try again later\r\n",
    );
    server.refuse_proxy_with("-ERR [SYS/PERM] PROXY is not for you, or its header is wrong\r\n");
    if let Some(tls) = &config.tls {
        server.offer_tls(tls.clone(), config.listen_tls.clone());
    }
    server.listen()?; //            socket, bind, listen
    server.detach()?; //            -d, -p
    server.keep(
        || config.start(), // passwords, mailboxes
        |question| answer(&config, question),
        |note| config.mail.noted(note), // failed logins
    )?;
    server.drop_privileges()?; //   -u
    server.serve(|client| pop3_session(&config, client)) // accept, fork, reap
}
