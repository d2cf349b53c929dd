//! smtpd: receives letters for the users of this machine by SMTP (RFC 5321), one process per
//! client. Slides: "Протокол SMTP (RFC-5321)"; TCP echo server, `main`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use forknet::{Facility, RootPolicy, Server, Service, Transport};
use smtpd::delivery::answer::answer;
use smtpd::delivery::start::start;
use smtpd::options::{self, Config};
use smtpd::session::smtp_session;

const SERVICE: Service = Service {
    name: "smtpd",
    about: "Takes letters by SMTP (RFC 5321) for local users, into their Maildirs.",
    port: 25,
    idle: Duration::from_secs(300), // RFC 5321 §4.5.3.2.7: five minutes at least
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

fn run(args: Vec<OsString>) -> forknet::Result<()> {
    let line = forknet::command_line(&SERVICE, &options::OPTIONS, args)?;
    let config = Config::read(&line.values)?;
    if line.server.chroot.is_none() {
        config.check()?;
    }
    let is_checked = line.server.check;
    let mut server = Server::new(&SERVICE, line.server)?;
    let host = &config.hostname;
    server.refuse_with(
        format!("421 4.3.2 {host} too many clients, try again later\r\n"),
        format!("421 4.3.2 {host} cannot serve now, try later\r\n"),
    );
    server.refuse_proxy_with(format!(
        "554 5.7.0 {host} PROXY is not for you, or its header is wrong\r\n"
    ));
    server.end_idle_on_shutdown();
    server.limit_files(Some(config.max_size).filter(|size| *size > 0)); // 0 is no limit

    if let Some(tls) = &config.tls {
        server.offer_tls(tls.clone(), config.listen_tls.clone());
    }
    server.listen()?; //            socket, bind, listen
    server.detach()?; //            -d, -p
    server.keep(
        || start(&config, is_checked), // users, mailboxes, the queue
        |question| answer(&config, question),
        |note| config.mail.noted(note), // failed logins
    )?;
    server.drop_privileges()?; //   -u
    server.serve(|client| smtp_session(&config, client)) // accept, fork, reap
}
