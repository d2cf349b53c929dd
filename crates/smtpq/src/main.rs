//! smtpq: sends the letters of the queue, one process per destination.

use std::cell::Cell;
use std::ffi::OsString;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use forknet::{Error, Facility, Result, RootPolicy, Server, Service, Transport};
use smtpq::commands;
use smtpq::options::{Command, Config, OPTIONS};
use smtpq::runner::{Manner, Runner, access, check_queue, lock_queue, make_queue};
use smtpq::watch::Watcher;

const SERVICE: Service = Service {
    name: "smtpq",
    about: "Sends the letters of the queue by SMTP (RFC 5321), one process per destination.",
    port: 25,
    idle: Duration::from_secs(300), // RFC 5321 §4.5.3.2
    root: RootPolicy::Never,
    facility: Facility::Mail,
    memory: 512 << 20, // bytes
    transport: Transport::Jobs,
};

fn main() -> ExitCode {
    // prints one error, maps it to 0, 1, 2
    forknet::main_with_codes(SERVICE.name, |args| {
        run(commands::of_mailq(args))
            .map_err(|error| (if matches!(error, Error::Usage(_)) { 2 } else { 1 }, error))
    })
}

fn run(args: Vec<OsString>) -> Result<u8> {
    let line = forknet::command_line(&SERVICE, &OPTIONS, args)?;
    let config = Config::read(&line.values)?;
    let [is_once, flushes] = ["once", "flush"].map(|name| line.values.is_given(name));
    let mut manner = Manner { is_once, flushes, processes: line.server.max_clients };
    if let Some(command) = Command::read(&line.values)? {
        line.is_no_server()?;
        let queue = commands::open(&config.queue, &command)?;
        if let Some(code) = commands::run(&queue, &command)? {
            return Ok(code);
        }
        manner.is_once = true; // --flush, and there is no runner
    }
    let (user, check) = (line.server.user.clone(), line.server.check);
    let access = access(&config)?;
    let mut server = Server::new(&SERVICE, line.server)?;
    if check {
        check_queue(&config, user.as_deref())?;
        return server.drop_privileges().map(|()| 0);
    }
    let hangup = Rc::new(Cell::new(false));
    let flag = Rc::clone(&hangup);
    server.on_hangup(move || flag.set(true));
    let queue = make_queue(&config, user.as_deref())?;
    server.detach()?; //            -d, -p
    let watcher = Watcher::of(&queue);
    server.drop_privileges()?; //   -u
    let lock = lock_queue(&queue, manner)?;
    let runner = Runner::new((queue, lock), watcher, (config, access), manner, hangup);
    server.run_jobs(runner)?; //    next job, fork, reap
    Ok(0)
}
