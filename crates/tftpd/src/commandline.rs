//! tftpc's command line: `tftpc HOST[:PORT] get REMOTE [LOCAL]`, `put LOCAL [REMOTE]`, or with a
//! `tftp://` URL.

use std::ffi::OsString;
use std::time::Duration;

use getopts::{Matches, Options};

use forknet::{Error, Remote, Result, number, seconds, seconds_within};

use crate::client::Order;
use crate::negotiation::{MAX_BLKSIZE, MIN_BLKSIZE, Wishes};
use crate::options::{declare_retries, retries};
use crate::packet::{Direction, MAX_NAME, MAX_REQUEST, Mode, Request};
use crate::timer::Limits;
use crate::url::Url;

/// The port of the service, unless HOST:PORT names one.
const PORT: u16 = 69;
/// How long nothing may go forward, unless `--timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The LOCAL that stands for standard input or output.
pub const STANDARD: &str = "-";
const USAGE: &str = "Usage: tftpc [OPTION]... HOST[:PORT] get REMOTE [LOCAL]
       tftpc [OPTION]... HOST[:PORT] put LOCAL [REMOTE]
       tftpc [OPTION]... [get] tftp://HOST[:PORT]/REMOTE[;mode=MODE] [LOCAL]
       tftpc [OPTION]... put LOCAL tftp://HOST[:PORT]/[REMOTE][;mode=MODE]
Fetches or sends a file by TFTP (RFC 1350). A LOCAL of - is standard output, or
standard input.";

/// A parsed command line.
#[derive(Debug)]
pub struct CommandLine {
    /// The server.
    pub server: Remote,
    /// What to do there.
    pub order: Order,
    /// Show every packet.
    pub verbose: bool,
    /// Show no progress.
    pub quiet: bool,
}

/// Reads the command line.
///
/// # Errors
/// [`Error::Usage`] says what is wrong with it, [`Error::Answer`] is the text of `--help` and
/// `--version`.
pub fn parse(args: Vec<OsString>) -> Result<CommandLine> {
    let mut options = declared();
    let matches = forknet::parse("tftpc", USAGE, &mut options, args)?;
    let (wishes, retries) = (wishes(&matches)?, retries(&matches)?);
    let idle = seconds(&matches, "timeout")?.unwrap_or(TIMEOUT);
    // Whoever asks knows that the request is its own: all tries are allowed.
    let limits = Limits { retries, unproven_sends: retries + 1, idle, whole: idle };
    let Errand { server, direction, remote, local, mode } = errand(&matches)?;
    let mode = match (mode, matches.opt_str("mode")) {
        (Some(_), Some(_)) => {
            return Err(Error::Usage("--mode and ;mode= exclude each other".into()));
        }
        (mode, None) => mode.unwrap_or(Mode::Octet),
        (None, Some(mode)) => Mode::parse(mode.as_bytes())
            .ok_or_else(|| Error::Usage(format!("--mode '{mode}': not octet or netascii")))?,
    };
    let request = Request::packet(direction, &remote, mode).len() + wishes.list().len();
    if remote.len() > MAX_NAME || request > MAX_REQUEST {
        return Err(Error::Usage(format!("REMOTE is longer than {MAX_NAME} octets")));
    }
    let order = Order { direction, remote, local, mode, wishes, limits, stream: None };
    let [verbose, quiet] = ["verbose", "quiet"].map(|name| matches.opt_present(name));
    Ok(CommandLine { server, order, verbose, quiet })
}

fn declared() -> Options {
    let mut options = Options::new();
    options.optopt("m", "mode", "octet (default) or netascii", "MODE");
    options.optopt("b", "blksize", "ask for blocks of N octets (512 unless granted)", "N");
    options.optopt("", "blksize2", "ask for blocks of N octets, a power of two", "N");
    options.optopt("w", "windowsize", "ask for windows of N blocks (1 unless granted)", "N");
    options.optopt("", "interval", "ask that packets are sent again after S seconds", "S");
    options.optopt("", "rollover", "ask that block N, 0 or 1, follows block 65535", "N");
    options.optflag("", "tsize", "ask for the file's size, or tell it");
    let timeout =
        format!("give up after S seconds without progress (default {})", TIMEOUT.as_secs());
    options.optopt("t", "timeout", &timeout, "S");
    declare_retries(&mut options);
    options.optflag("v", "verbose", "show every packet");
    options.optflag("q", "quiet", "no progress bar");
    options
}

/// The options of RFC 2347 to ask for.
fn wishes(matches: &Matches) -> Result<Wishes> {
    let blksize = number(matches, "blksize", MIN_BLKSIZE..=MAX_BLKSIZE)?;
    let blksize2 = number(matches, "blksize2", MIN_BLKSIZE..=1 << 15)?;
    if let Some(size) = blksize2.filter(|size| !size.is_power_of_two()) {
        return Err(Error::Usage(format!("--blksize2 '{size}': not a power of two")));
    }
    if blksize.and(blksize2).is_some() {
        return Err(Error::Usage("--blksize and --blksize2 exclude each other".into()));
    }
    let interval = seconds_within(matches, "interval", 0.01..=255.0)?;
    let whole = interval.filter(|interval| interval.subsec_nanos() == 0);
    let micros = interval.filter(|_| whole.is_none()).map(|interval| interval.as_micros());
    Ok(Wishes {
        blksize,
        blksize2,
        windowsize: number(matches, "windowsize", 1..=u16::MAX)?,
        rollover: number(matches, "rollover", 0..=1)?,
        timeout: whole.and_then(|whole| u8::try_from(whole.as_secs()).ok()),
        utimeout: micros.and_then(|micros| u32::try_from(micros).ok()),
        tsize: matches.opt_present("tsize").then_some(0),
    })
}

/// What is to go from where to where.
struct Errand {
    server: Remote,
    direction: Direction,
    remote: Vec<u8>,
    local: String,
    /// The URL's.
    mode: Option<Mode>,
}

fn errand(matches: &Matches) -> Result<Errand> {
    let words: Vec<&str> = matches.free.iter().map(String::as_str).collect();
    match *words.as_slice() {
        [url, ..] if Url::is_one(url) => {
            forknet::free_arguments(matches, &["URL", "[LOCAL]"])?;
            fetched(Url::parse(url, PORT)?, words.get(1).copied())
        }
        ["get", url, ..] if Url::is_one(url) => {
            forknet::free_arguments(matches, &["get", "URL", "[LOCAL]"])?;
            fetched(Url::parse(url, PORT)?, words.get(2).copied())
        }
        ["put", local, url, ..] if Url::is_one(url) => {
            forknet::free_arguments(matches, &["put", "LOCAL", "URL"])?;
            let Url { server, file, mode } = Url::parse(url, PORT)?;
            Ok(Errand { mode, ..sent(server, local, Some(file))? })
        }
        [_, "put", ..] => {
            forknet::free_arguments(matches, &["HOST", "get or put", "LOCAL", "[REMOTE]"])?;
            let local = words.get(2).copied().unwrap_or_default();
            let remote = words.get(3).map(|remote| remote.as_bytes().to_vec());
            sent(host(&words)?, local, remote)
        }
        [_, other, ..] if other != "get" => Err(Error::Usage(format!("'{other}': not get or put"))),
        _ => {
            forknet::free_arguments(matches, &["HOST", "get or put", "REMOTE", "[LOCAL]"])?;
            let file = words.get(2).map(|remote| remote.as_bytes().to_vec());
            let file = file.unwrap_or_default();
            fetched(Url { server: host(&words)?, file, mode: None }, words.get(3).copied())
        }
    }
}

fn host(words: &[&str]) -> Result<Remote> {
    Remote::parse(words.first().copied().unwrap_or_default(), PORT)
}

/// A file to be fetched; without LOCAL it is called here as the last part of its name, and so it is
/// in a folder that ends with a slash.
fn fetched(url: Url, local: Option<&str>) -> Result<Errand> {
    let Url { server, file: remote, mode } = url;
    present("REMOTE", &remote)?;
    let mut local = local.map(str::to_owned);
    if local.as_ref().is_none_or(|folder| folder.ends_with('/')) {
        let last = str::from_utf8(last_part(&remote)).unwrap_or_default();
        present("LOCAL", last.as_bytes())?;
        local.get_or_insert_default().push_str(last);
    }
    let local = local.unwrap_or_default();
    present("LOCAL", local.as_bytes())?;
    Ok(Errand { server, direction: Direction::Read, remote, local, mode })
}

/// A file to be sent; without a name it is called there as the last part of LOCAL, and so it is
/// below a name that ends with a slash.
fn sent(server: Remote, local: &str, remote: Option<Vec<u8>>) -> Result<Errand> {
    present("LOCAL", local.as_bytes())?;
    let mut remote = remote.unwrap_or_default();
    if (remote.is_empty() || remote.ends_with(b"/")) && local != STANDARD {
        remote.extend_from_slice(last_part(local.as_bytes()));
    }
    present("REMOTE", &remote)?;
    Ok(Errand { server, direction: Direction::Write, remote, local: local.into(), mode: None })
}

fn present(what: &str, name: &[u8]) -> Result<()> {
    if name.is_empty() { Err(Error::Usage(format!("{what} is missing"))) } else { Ok(()) }
}

fn last_part(name: &[u8]) -> &[u8] {
    name.rsplit(|&octet| octet == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<CommandLine> {
        parse(args.iter().map(OsString::from).collect())
    }

    fn names(args: &[&str]) -> (String, String) {
        let order = parsed(args).unwrap().order;
        (String::from_utf8(order.remote).unwrap(), order.local)
    }

    #[test]
    fn the_other_name_is_the_last_part_of_the_one_that_is_given() {
        for (args, remote, local) in [
            (&["h", "get", "a/b"][..], "a/b", "b"),
            (&["h", "put", "/a/b"], "b", "/a/b"),
            (&["h", "put", "/a/b", "c/"], "c/b", "/a/b"),
            (&["h", "get", "a/b", "c/"], "a/b", "c/b"),
            (&["tftp://h/a/b", "/"], "a/b", "/b"),
            (&["h", "get", "a", "-"], "a", "-"),
            (&["h", "put", "-", "b"], "b", "-"),
            (&["tftp://h/a/b"], "a/b", "b"),
            (&["tftp://h/a/b", "c"], "a/b", "c"),
            (&["get", "tftp://h/a%2Fb"], "a/b", "b"),
            (&["put", "a/b", "tftp://h/"], "b", "a/b"),
            (&["put", "a/b", "tftp://h/c/"], "c/b", "a/b"),
            (&["put", "-", "tftp://h/c"], "c", "-"),
            (&["get", "get", "get"], "get", "get"),
        ] {
            assert_eq!(names(args), (remote.into(), local.into()), "{args:?}");
        }
    }

    #[test]
    fn a_url_names_the_server_and_the_mode() {
        let line = parsed(&["tftp://red.test:70/f;mode=netascii"]).unwrap();
        assert_eq!(
            (line.server.to_string(), line.order.mode),
            ("red.test:70".into(), Mode::Netascii)
        );
        let line = parsed(&["put", "f", "tftp://red.test/f"]).unwrap();
        assert_eq!((line.server.to_string(), line.order.mode), ("red.test:69".into(), Mode::Octet));
    }

    #[test]
    fn options_become_wishes() {
        let wishes =
            |args: &[&str]| parsed(&[args, &["h", "get", "x"]].concat()).unwrap().order.wishes;
        assert_eq!(wishes(&[]), Wishes::default());
        let all =
            wishes(&["-b", "1468", "-w", "64", "--interval", "2", "--rollover", "1", "--tsize"]);
        let expected = Wishes {
            blksize: Some(1468),
            windowsize: Some(64),
            timeout: Some(2),
            rollover: Some(1),
            tsize: Some(0),
            ..Wishes::default()
        };
        assert_eq!(all, expected);
        let expected =
            Wishes { blksize2: Some(1024), utimeout: Some(1_500_000), ..Wishes::default() };
        assert_eq!(wishes(&["--blksize2", "1024", "--interval", "1.5"]), expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let long = "n".repeat(256);
        for (args, complaint) in [
            (&[][..], "HOST is missing"),
            (&["h"], "get or put is missing"),
            (&["h", "got", "x"], "'got': not get or put"),
            (&["h", "get"], "REMOTE is missing"),
            (&["h", "put"], "LOCAL is missing"),
            (&["h", "put", "-"], "REMOTE is missing"),
            (&["h", "get", "x/"], "LOCAL is missing"),
            (&["h", "get", "x/", "y/"], "LOCAL is missing"),
            (&["h", "get", "x", ""], "LOCAL is missing"),
            (&["h", "get", "a", "b", "c"], "unexpected argument 'c'"),
            (&["tftp://h/"], "REMOTE is missing"),
            (&["tftp://h/a/"], "LOCAL is missing"),
            (&["tftp://h/%ff"], "LOCAL is missing"),
            (&["tftp://h/a", "b", "c"], "unexpected argument 'c'"),
            (&["put", "-", "tftp://h/"], "REMOTE is missing"),
            (&["tftp://h"], "'tftp://h': no file"),
            (&["-m", "octet", "tftp://h/f;mode=octet"], "--mode and ;mode= exclude each other"),
            (&["h", "get", &long], "REMOTE is longer than 255 octets"),
            (&["h:0", "get", "x"], "'h:0': not HOST or HOST:PORT"),
            (&["h:x", "get", "x"], "'h:x': not HOST or HOST:PORT"),
            (&["-m", "mail", "h", "get", "x"], "--mode 'mail': not octet or netascii"),
            (
                &["-t", "x", "h", "get", "x"],
                "--timeout 'x': not a number of seconds from 0.001 to 86400",
            ),
            (&["-b", "7", "h", "get", "x"], "--blksize '7': not a whole number from 8 to 65464"),
            (&["--blksize2", "1000", "h", "get", "x"], "--blksize2 '1000': not a power of two"),
            (
                &["-b", "512", "--blksize2", "512", "h", "get", "x"],
                "--blksize and --blksize2 exclude each other",
            ),
            (&["-w", "0", "h", "get", "x"], "--windowsize '0': not a whole number from 1 to 65535"),
            (
                &["--interval", "256", "h", "get", "x"],
                "--interval '256': not a number of seconds from 0.01 to 255",
            ),
        ] {
            let error = parsed(args).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{args:?}");
            assert_eq!(error.to_string(), complaint);
        }
    }
}
