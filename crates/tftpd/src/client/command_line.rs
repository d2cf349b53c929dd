//! tftpc's command line: `tftpc HOST[:PORT] get REMOTE [LOCAL]`, `put LOCAL [REMOTE]`, or with a
//! `tftp://` URL.

use std::ffi::OsString;

use forknet::{Error, HostPort, Preset, Result, Row, Values};

use super::job::Job;
use super::local_file::STDIO;
use super::url::Url;
use crate::options::{RETRIES, retries};
use crate::transfer::timer::RetryLimits;
use crate::wire::options::{MAX_BLKSIZE, MAX_BLKSIZE2, MIN_BLKSIZE};
use crate::wire::request::{Direction, MAX_REQUEST, Mode, Request};
use crate::wire::requested_options::RequestedOptions;

/// Default port of the server (RFC 1350 §4).
const DEFAULT_PORT: u16 = 69;
/// Range of `--interval` in seconds: `utimeout` of tftp-hpa, `timeout` of RFC 2349.
const INTERVAL: std::ops::RangeInclusive<f64> = 0.01..=255.0;
const USAGE: &str = "Usage: tftpc [OPTION]... HOST[:PORT] get REMOTE [LOCAL]
       tftpc [OPTION]... HOST[:PORT] put LOCAL [REMOTE]
       tftpc [OPTION]... [get] tftp://HOST[:PORT]/REMOTE[;mode=MODE] [LOCAL]
       tftpc [OPTION]... put LOCAL tftp://HOST[:PORT]/[REMOTE][;mode=MODE]
Fetches or sends a file by TFTP (RFC 1350). A LOCAL of - is standard output, or
standard input.";

const OPTIONS: &[Row] = &[
    Row {
        name: "mode",
        short: "m",
        value: "MODE",
        default: Preset::Value("octet"),
        choices: &["octet", "netascii"],
        help: "octet or netascii",
        manual: "`octet`, the file as it is, or `netascii`, text whose line ends are CRLF on the \
            way.",
        ..Row::EMPTY
    },
    Row {
        name: "blksize",
        short: "b",
        value: "N",
        excludes: "blksize2",
        help: "ask for blocks of N bytes (512 unless granted)",
        manual: "Ask for blocks of <n> bytes, 8 to 65464; larger ones are quicker. On Ethernet \
            1468 is the most that needs no fragments. 512 unless granted.",
        ..Row::EMPTY
    },
    Row {
        name: "blksize2",
        value: "N",
        excludes: "blksize",
        help: "ask for blocks of N bytes, a power of two",
        manual: "The same for a power of two, 32768 at most, as tftp-hpa's server knows it.",
        ..Row::EMPTY
    },
    Row {
        name: "windowsize",
        short: "w",
        value: "N",
        help: "ask for windows of N blocks (1 unless granted)",
        manual: "Ask for windows of <n> blocks, up to 65535, of which only the last one is \
            acknowledged. 1 unless granted. `get` asks for no more than a socket has room for, \
            which on Linux {Va net.core.rmem_max} bounds for every user but root.",
        ..Row::EMPTY
    },
    Row {
        name: "interval",
        value: "S",
        help: "ask that packets are sent again after S seconds",
        manual: "Ask that packets are sent again after <s> seconds: by the option 'timeout' for \
            whole seconds, 255 at most, else by 'utimeout', which tftp-hpa's server knows. \
            Otherwise each end measures the network and finds its own.",
        ..Row::EMPTY
    },
    Row {
        name: "rollover",
        value: "N",
        help: "ask that block N, 0 or 1, follows block 65535",
        manual: "Ask that block <n>, 0 or 1, follows block 65535.",
        ..Row::EMPTY
    },
    Row {
        name: "tsize",
        help: "ask for the file's size, or tell it",
        manual: "Ask for the file's size, or tell it to the server, which may then refuse at once \
            what is too large. A fetched file that turns out to be shorter is not kept.",
        ..Row::EMPTY
    },
    Row {
        name: "timeout",
        short: "t",
        value: "S",
        default: Preset::Value("30"),
        help: "give up after S seconds without progress",
        manual: "Give up when nothing has gone forward for <s> seconds; a fraction is allowed.",
        ..Row::EMPTY
    },
    RETRIES,
    Row {
        name: "verbose",
        short: "v",
        help: "show every packet",
        manual: "Show every packet on standard error.",
        ..Row::EMPTY
    },
    Row {
        name: "quiet",
        short: "q",
        help: "no progress bar",
        manual: "Show no bar.",
        ..Row::EMPTY
    },
];

/// A parsed command line.
#[derive(Debug)]
pub struct CommandLine {
    /// The server.
    pub server: HostPort,
    /// The transfer.
    pub job: Job,
    /// `--verbose`: shows every packet.
    pub verbose: bool,
    /// `--quiet`: shows no progress.
    pub quiet: bool,
}

/// Reads the command line.
///
/// # Errors
/// [`Error::Usage`] for an invalid command line, [`Error::Answer`] with the text of `--help` and
/// `--version`.
pub fn parse(args: Vec<OsString>) -> Result<CommandLine> {
    let values = forknet::parse("tftpc", USAGE, OPTIONS, args)?;
    let (options, retries) = (requested_options(&values)?, retries(&values)?);
    let idle = values.seconds("timeout")?;
    // The server's address is the user's choice and not forged.
    let limits = RetryLimits { retries, unproven_sends: retries + 1, idle, whole: idle };
    let Operands { server, direction, remote, local, mode } = operands(&values)?;
    let mode = match (mode, values.is_given("mode")) {
        (Some(_), true) => {
            return Err(Error::Usage("--mode and ;mode= exclude each other".into()));
        }
        (Some(mode), false) => mode,
        (None, _) => mode_of(&values)?,
    };
    let request = Request::encode(direction, &remote, mode).len() + options.encode().len();
    if request > MAX_REQUEST {
        let over = request - MAX_REQUEST;
        return Err(Error::Usage(format!(
            "REMOTE is {over} bytes too long: a request has {MAX_REQUEST} (RFC 2347)"
        )));
    }
    let job = Job { direction, remote, local, mode, options, limits, stream: None };
    let [verbose, quiet] = ["verbose", "quiet"].map(|name| values.is_given(name));
    Ok(CommandLine { server, job, verbose, quiet })
}

/// Reads the options of RFC 2347 to ask for.
fn requested_options(values: &Values) -> Result<RequestedOptions> {
    let blksize2 = values.number_if_given("blksize2", MIN_BLKSIZE..=MAX_BLKSIZE2)?;
    if let Some(size) = blksize2.filter(|size| !size.is_power_of_two()) {
        return Err(values.wrong("blksize2", &size.to_string(), "not a power of two"));
    }
    let interval = values.seconds_within("interval", INTERVAL)?;
    let seconds_only = interval.filter(|interval| interval.subsec_nanos() == 0);
    let micros = interval.filter(|_| seconds_only.is_none()).map(|interval| interval.as_micros());
    Ok(RequestedOptions {
        blksize: values.number_if_given("blksize", MIN_BLKSIZE..=MAX_BLKSIZE)?,
        blksize2,
        windowsize: values.number_if_given("windowsize", 1..=u16::MAX)?,
        rollover: values.number_if_given("rollover", 0..=1)?,
        timeout: seconds_only.and_then(|seconds_only| u8::try_from(seconds_only.as_secs()).ok()),
        utimeout: micros.and_then(|micros| u32::try_from(micros).ok()),
        tsize: values.is_given("tsize").then_some(0),
    })
}

fn mode_of(values: &Values) -> Result<Mode> {
    let text = values.text("mode").unwrap_or_default();
    let mode = Mode::parse(text.as_bytes());
    mode.ok_or_else(|| values.wrong("mode", &text, "not octet or netascii"))
}

/// The operands of the command line.
struct Operands {
    server: HostPort,
    direction: Direction,
    remote: Vec<u8>,
    local: String,
    /// The mode that the URL names.
    mode: Option<Mode>,
}

fn operands(values: &Values) -> Result<Operands> {
    let words: Vec<&str> = values.operands().iter().map(String::as_str).collect();
    match *words.as_slice() {
        [url, ..] if Url::has_scheme(url) => {
            forknet::free_arguments(values, &["URL", "[LOCAL]"])?;
            get(Url::parse(url, DEFAULT_PORT)?, words.get(1).copied())
        }
        ["get", url, ..] if Url::has_scheme(url) => {
            forknet::free_arguments(values, &["get", "URL", "[LOCAL]"])?;
            get(Url::parse(url, DEFAULT_PORT)?, words.get(2).copied())
        }
        ["put", local, url, ..] if Url::has_scheme(url) => {
            forknet::free_arguments(values, &["put", "LOCAL", "URL"])?;
            let Url { server, file, mode } = Url::parse(url, DEFAULT_PORT)?;
            Ok(Operands { mode, ..put(server, local, Some(file))? })
        }
        [_, "put", ..] => {
            forknet::free_arguments(values, &["HOST", "get or put", "LOCAL", "[REMOTE]"])?;
            let local = words.get(2).copied().unwrap_or_default();
            let remote = words.get(3).map(|remote| remote.as_bytes().to_vec());
            put(host(&words)?, local, remote)
        }
        [_, other, ..] if other != "get" => Err(Error::Usage(format!("'{other}': not get or put"))),
        _ => {
            forknet::free_arguments(values, &["HOST", "get or put", "REMOTE", "[LOCAL]"])?;
            let file = words.get(2).map(|remote| remote.as_bytes().to_vec());
            let file = file.unwrap_or_default();
            get(Url { server: host(&words)?, file, mode: None }, words.get(3).copied())
        }
    }
}

fn host(words: &[&str]) -> Result<HostPort> {
    HostPort::parse(words.first().copied().unwrap_or_default(), DEFAULT_PORT)
}

/// Returns the operands of get. If LOCAL is missing or ends with a slash, the local file gets the
/// last part of REMOTE as its name.
fn get(url: Url, local: Option<&str>) -> Result<Operands> {
    let Url { server, file: remote, mode } = url;
    require("REMOTE", &remote)?;
    let mut local = local.map(str::to_owned);
    if local.as_ref().is_none_or(|folder| folder.ends_with('/')) {
        let last = str::from_utf8(last_part(&remote)).unwrap_or_default();
        require("LOCAL", last.as_bytes())?;
        local.get_or_insert_default().push_str(last);
    }
    let local = local.unwrap_or_default();
    require("LOCAL", local.as_bytes())?;
    Ok(Operands { server, direction: Direction::Read, remote, local, mode })
}

/// Returns the operands of put. If REMOTE is missing or ends with a slash, the file on the server
/// gets the last part of LOCAL as its name.
fn put(server: HostPort, local: &str, remote: Option<Vec<u8>>) -> Result<Operands> {
    require("LOCAL", local.as_bytes())?;
    let mut remote = remote.unwrap_or_default();
    if (remote.is_empty() || remote.ends_with(b"/")) && local != STDIO {
        remote.extend_from_slice(last_part(local.as_bytes()));
    }
    require("REMOTE", &remote)?;
    Ok(Operands { server, direction: Direction::Write, remote, local: local.into(), mode: None })
}

fn require(what: &str, name: &[u8]) -> Result<()> {
    if name.is_empty() { Err(Error::Usage(format!("{what} is missing"))) } else { Ok(()) }
}

fn last_part(name: &[u8]) -> &[u8] {
    name.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<CommandLine> {
        parse(args.iter().map(OsString::from).collect())
    }

    fn names(args: &[&str]) -> (String, String) {
        let job = parsed(args).unwrap().job;
        (String::from_utf8(job.remote).unwrap(), job.local)
    }

    #[test]
    fn a_missing_name_is_the_last_part_of_the_given_one() {
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
            (line.server.to_string(), line.job.mode),
            ("red.test:70".into(), Mode::Netascii)
        );
        let line = parsed(&["put", "f", "tftp://red.test/f"]).unwrap();
        assert_eq!((line.server.to_string(), line.job.mode), ("red.test:69".into(), Mode::Octet));
    }

    #[test]
    fn options_become_requested_options() {
        let requested =
            |args: &[&str]| parsed(&[args, &["h", "get", "x"]].concat()).unwrap().job.options;
        assert_eq!(requested(&[]), RequestedOptions::default());
        let all =
            requested(&["-b", "1468", "-w", "64", "--interval", "2", "--rollover", "1", "--tsize"]);
        let expected = RequestedOptions {
            blksize: Some(1468),
            windowsize: Some(64),
            timeout: Some(2),
            rollover: Some(1),
            tsize: Some(0),
            ..RequestedOptions::default()
        };
        assert_eq!(all, expected);
        let expected = RequestedOptions {
            blksize2: Some(1024),
            utimeout: Some(1_500_000),
            ..RequestedOptions::default()
        };
        assert_eq!(requested(&["--blksize2", "1024", "--interval", "1.5"]), expected);
    }

    #[test]
    fn usage_errors_name_the_fault() {
        let long = "n".repeat(504);
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
            (&["h", "get", &long], "REMOTE is 1 bytes too long: a request has 512 (RFC 2347)"),
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
                "--blksize and --blksize2: only one of them",
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
