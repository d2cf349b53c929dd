//! A session that panics, which none of the daemons has.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use forknet::{Client, Facility, Result, RootPolicy, Server, Service, Transport};
use testkit::{Daemon, MODELS, Peer, TempDir, each_model, state, wait_until};

use crate::own_server;

pub const SERVICE: Service = Service {
    name: "panicd",
    about: "Echoes, and panics when it is told to.",
    port: 7,
    idle: Duration::from_secs(60),
    root: RootPolicy::Nobody,
    facility: Facility::Daemon,
    memory: 128 << 20,
    transport: Transport::Stream,
};

/// The daemons' page, with a line on standard output that stays in its buffer.
pub fn run(args: Vec<OsString>) -> Result<()> {
    let line = forknet::command_line(&SERVICE, &forknet::OwnOptions::NONE, args)?;
    let mut server = Server::new(&SERVICE, line.server)?;
    server.listen()?;
    server.detach()?;
    server.drop_privileges()?;
    println!("started");
    print!("half a line that no newline flushes");
    server.serve(session)
}

fn session(client: &mut Client) -> io::Result<()> {
    let mut octets = [0; 64];
    loop {
        let n = client.conn.read(&mut octets)?;
        assert!(!octets.starts_with(b"panic"), "as the client wishes");
        if n == 0 {
            return Ok(());
        }
        client.conn.write_all(&octets[..n])?;
    }
}

fn hello(peer: &mut Peer) {
    peer.send("hello\n");
    peer.expect("hello\n");
}

pub fn case_06_a_session_that_panics_ends_alone_and_nothing_is_written_twice() {
    each_model(&MODELS, a_session_panics);
}

fn a_session_panics(model: &'static str) {
    let dir = TempDir::new();
    let pid_file = dir.path().join("pid");
    let output = dir.path().join("output");
    let mut command = own_server(&SERVICE);
    command.args(["-l", "127.0.0.1:0", "-m", model, "--grace", "1"]);
    command.args(["-u", &nix::unistd::geteuid().to_string(), "-p", pid_file.to_str().unwrap()]);
    command.stdin(Stdio::null()).stdout(File::create(&output).unwrap()).stderr(Stdio::piped());
    let daemon = Daemon::adopt(command.spawn().unwrap());
    let pid = daemon.pid();

    let mut other = (model != "iterative").then(|| Peer::connect(daemon.addr()));
    other.iter_mut().for_each(hello);
    for _ in 0..3 {
        let mut panicking = Peer::connect(daemon.addr());
        hello(&mut panicking);
        panicking.send("panic\n");
        assert!(panicking.is_closed());
    }
    other.iter_mut().for_each(hello); // those that were there are there
    drop(other);
    hello(&mut Peer::connect(daemon.addr()));
    daemon.wait_log("as the client wishes"); // told
    wait_until("each end is logged", || daemon.log().matches("exit 101").count() == 3);

    assert_eq!(fs::read_to_string(&pid_file).unwrap(), format!("{pid}\n"));
    wait_until("there is one server still", || servers(&daemon) == [pid]);
    let addr = daemon.addr();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!pid_file.exists() && TcpStream::connect(addr).is_err() && state(pid).is_none());
    let said = fs::read_to_string(&output).unwrap();
    assert_eq!(said, "started\nhalf a line that no newline flushes", "under {model}");
}

/// Who says that it is the parent.
fn servers(daemon: &Daemon) -> Vec<i32> {
    let is_parent = |pid: &i32| testkit::title(*pid).contains("parent");
    let all = [vec![daemon.pid()], testkit::children(daemon.pid())].concat();
    all.into_iter().filter(is_parent).collect()
}
