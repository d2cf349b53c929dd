//! tftpc's side: a file fetched or sent.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use crate::channel::{Channel, Trace};
use crate::content::{Assembly, Blocks};
use crate::conversation::Conversation;
use crate::draft::{Draft, Existing};
use crate::failure::Failure;
use crate::negotiation::{Caps, Wishes, grant};
use crate::packet::{Direction, Mode, Request};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::timer::Limits;

/// How long the client stays after its last ACK, in case that was lost (RFC 1350 §6): only where
/// something was lost or delayed before, because somebody waits for the prompt. The file is safe,
/// and a server that misses the last ACK finds the port closed and ends too.
const DALLY: Duration = Duration::from_millis(1500);
/// The LOCAL that stands for standard input or output.
const STANDARD: &str = "-";

/// What is to be done.
#[derive(Debug)]
pub struct Order {
    /// RRQ or WRQ.
    pub direction: Direction,
    /// The file's name on the server.
    pub remote: Vec<u8>,
    /// The file's name here, or `-`.
    pub local: String,
    /// How it travels.
    pub mode: Mode,
    /// The options to ask for.
    pub wishes: Wishes,
    /// The client's patience.
    pub limits: Limits,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Why the file did not get across, if it did not.
    pub result: Result<(), Failure>,
    /// The server has answered: trying another address of the same name would not help.
    pub answered: bool,
}

impl Order {
    /// Carries out the order with the server at `service`. `complete` is called once the file has
    /// got across, before the client stays for a last ACK that may have been lost.
    ///
    /// # Errors
    /// The local file can't be opened or made; nothing was sent then.
    pub fn run(
        &self,
        service: SocketAddr,
        trace: Trace<'_>,
        complete: impl FnOnce(),
    ) -> forknet::Result<Outcome> {
        let remote = self.remote.escape_ascii();
        let socket = match socket_for(service) {
            Ok(socket) => socket,
            Err(error) => {
                return Ok(Outcome { result: Err(Failure::Socket(error)), answered: false });
            }
        };
        let channel = Channel::asking(&socket, service, trace);
        let request = Request::packet(self.direction, &self.remote, self.mode);
        let request = [request, self.wishes.list()].concat();
        match self.direction {
            Direction::Read => {
                let output = Output::create(&self.local)
                    .map_err(forknet::Error::io(format!("get \"{remote}\" to {}", self.local)))?;
                let file = Assembly::new(output, self.mode, None);
                self.make_room(&channel);
                let receiver = Receiver::asking(file, Output::keep, request, self.wishes);
                let mut conversation = Conversation::new(receiver, channel, self.limits);
                let result = conversation.run();
                if result.is_ok() {
                    complete();
                    if !conversation.transfer.smooth {
                        conversation.dally(DALLY);
                    }
                }
                Ok(Outcome { result, answered: conversation.channel.is_fixed() })
            }
            Direction::Write => {
                let input = open(&self.local, self.mode);
                let input = input.map_err(forknet::Error::io(format!("put {}", self.local)))?;
                let sender = Sender::asking(input, request, self.wishes);
                let mut conversation = Conversation::new(sender, channel, self.limits);
                let result = conversation.run();
                if result.is_ok() {
                    complete();
                }
                Ok(Outcome { result, answered: conversation.channel.is_fixed() })
            }
        }
    }

    /// For the largest window that the server may send.
    fn make_room(&self, channel: &Channel<'_>) {
        let asked = self.wishes.list();
        let most = Caps { windowsize: u16::MAX, ..Caps::default() };
        let options = grant(&asked, self.direction, most, None).options;
        if options.windowsize > 1 {
            channel.expect_rows(options.room());
        }
    }
}

/// A socket with a port of its own, that hears of closed ports at once.
fn socket_for(service: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match service {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    match service {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
    }
    Ok(socket)
}

fn open(local: &str, mode: Mode) -> io::Result<Blocks<Box<dyn Read>>> {
    if local == STANDARD {
        return Ok(Blocks::new(Box::new(io::stdin()), mode));
    }
    let file = File::open(local)?;
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(Errno::EISDIR.into());
    }
    let file: Box<dyn Read> = Box::new(file);
    Ok(if meta.is_file() { Blocks::ahead(file, mode) } else { Blocks::new(file, mode) })
}

/// Where a fetched file goes.
enum Output {
    /// A file that appears when it is complete, and its name in its folder.
    File(Draft, Vec<u8>),
    /// Standard output, a device, a pipe: what can't be replaced.
    Stream(Box<dyn Write>),
}

impl Output {
    fn create(local: &str) -> io::Result<Output> {
        if local == STANDARD {
            return Ok(Output::Stream(Box::new(io::stdout())));
        }
        let mut path = Path::new(local).to_owned();
        let existing = match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => return Err(Errno::EISDIR.into()),
            Ok(meta) if !meta.is_file() => {
                return Ok(Output::Stream(Box::new(File::options().write(true).open(path)?)));
            }
            Ok(meta) => {
                File::options().write(true).open(&path)?; // one that may not be written is not replaced
                path = fs::canonicalize(&path)?; // the file is replaced, not a link to it
                Some(std::os::unix::fs::MetadataExt::mode(&meta))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?,
            _ => File::open(".")?,
        };
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let draft = Draft::begin(folder.into())?;
        if let Some(bits) = existing {
            draft.set_permissions(bits & 0o777)?;
        }
        Ok(Output::File(draft, std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec()))
    }

    /// The file is complete.
    fn keep(self) -> io::Result<()> {
        match self {
            Output::File(draft, name) => draft.publish(&name, Existing::Replace),
            Output::Stream(mut stream) => stream.flush(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Output::File(draft, _) => draft.write(octets),
            Output::Stream(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::File(draft, _) => draft.flush(),
            Output::Stream(stream) => stream.flush(),
        }
    }
}
