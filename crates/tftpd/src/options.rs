//! tftpd's own options.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;

use forknet::{Error, OwnOptions, Preset, Result, Row, Values};
use nix::errno::Errno;
use nix::sys::stat::Mode;

use crate::files::atomic_file::IfExists;
use crate::files::quota::Quota;
use crate::files::root::Root;
use crate::map::Map;
use crate::transfer::port_range::PortRange;
use crate::wire::error_code::ErrorCode;
use crate::wire::negotiation::MaxOptions;
use crate::wire::option_name::OptionNames;
use crate::wire::options::{MAX_BLKSIZE, MIN_BLKSIZE};
use crate::wire::request::Direction;

/// Largest value of `--retries`, in retransmissions.
const MAX_RETRIES: u32 = 1000;

/// The values of tftpd's own options.
#[derive(Debug)]
pub struct Config {
    /// `--root`: the folder that is served.
    pub root: Root,
    /// `--create`: new files may be written.
    pub create: bool,
    /// `--on-exist`, `--overwrite`: what becomes of an upload whose name is taken.
    pub if_exists: IfExists,
    /// `--mkdir`: the folders of an upload are made.
    pub makes_folders: bool,
    /// `--read-only`: every WRQ is refused, even with `--create` and `--overwrite`.
    pub read_only: bool,
    /// `--max-size`: largest upload in bytes.
    pub max_size: Option<u64>,
    /// `--quota`: limit on the total size of all files below the root.
    pub quota: Option<Rc<Quota>>,
    /// `--retries`: most retransmissions of one packet.
    pub retries: u32,
    /// `--max-blksize`, `--max-windowsize`: largest block and window sizes.
    pub max_options: MaxOptions,
    /// `--port-range`: the ports of transfers.
    pub port_range: Option<PortRange>,
    /// `--single-port`: one process serves all transfers from the server's port.
    pub single_port: bool,
    /// `--umask`: permissions that new files do not get.
    pub umask: Option<Mode>,
    /// `--quiet-missing`: no ERROR for a file that is not there.
    pub quiet_missing: bool,
    /// `--map`: the rules for names.
    pub map: Option<Rc<Map>>,
}

/// The row of `--retries`, which tftpc has too.
pub const RETRIES: Row = Row {
    name: "retries",
    value: "N",
    default: Preset::Value("6"),
    help: "send a packet again at most N times",
    manual: "Send a packet again at most <n> times, up to 1000.",
    ..Row::EMPTY
};

/// Each option's row, and what the manual page adds to common ones.
pub const OPTIONS: OwnOptions = OwnOptions {
    rows: &[
        Row {
            name: "root",
            value: "DIR",
            default: Preset::Value("/srv/tftp"), // the folder of Debian's TFTP servers
            help: "the folder that is served",
            manual: "The folder whose files are served. It is opened once, at the start: another \
                one that gets its name later is not seen.",
            ..Row::EMPTY
        },
        Row {
            name: "create",
            help: "clients may write new files",
            manual: "Clients may write files that do not exist.",
            ..Row::EMPTY
        },
        Row {
            name: "overwrite",
            help: "clients may replace files that exist",
            manual: "Clients may replace files that exist and that the server's user may write.",
            ..Row::EMPTY
        },
        Row {
            name: "on-exist",
            value: "HOW",
            default: Preset::Value("refuse"),
            choices: &["refuse", "replace", "number", "date"],
            help: "an upload whose name is taken: refuse, replace, number or date",
            manual: "What becomes of an upload whose name is taken: `refuse`, ERROR 6; `replace`, as with \
                `--overwrite`; `number`, it is stored as <name>`.1`, <name>`.2` and so on; `date`, as \
                <name>`.20261130T161500Z`, the time in UTC when it was complete. With the last two no file that is \
                there is changed; they need `--create`, and the log tells the name.",
            ..Row::EMPTY
        },
        Row {
            name: "mkdir",
            help: "make the folders of uploads",
            manual: "Make the folders in the name of an upload that are missing, with `--create`. They stay if the \
                upload fails.",
            ..Row::EMPTY
        },
        Row {
            name: "read-only",
            help: "refuse all writing, in spite of other options",
            manual: "Refuse all writing, whatever `--create` and `--overwrite` say.",
            ..Row::EMPTY
        },
        Row {
            name: "max-size",
            value: "BYTES",
            help: "the longest file that may be written",
            manual: "The longest file that may be written; a longer one ends with ERROR 3. There \
                is no limit unless one is given.",
            ..Row::EMPTY
        },
        Row {
            name: "quota",
            value: "BYTES",
            help: "what all files below the root may have together",
            manual: "What all files below the root may have together, those of hidden folders too; \
                an upload for which that does not suffice ends with ERROR 3, at the latest when it \
                is complete. A file counts as 512 bytes at least, holes count nothing, and a file \
                that is replaced counts no more. All of them are counted for each upload, so give \
                the root no folders with many other files. There is no quota unless one is given.",
            ..Row::EMPTY
        },
        Row {
            name: "max-blksize",
            value: "N",
            default: Preset::Value("65464"),
            help: "blocks of at most N bytes",
            manual: "Grant blocks of at most <n> bytes, from 8 to 65464: what fits the network \
                without fragments is 1468 on Ethernet.",
            ..Row::EMPTY
        },
        Row {
            name: "max-windowsize",
            value: "N",
            default: Preset::Value("64"),
            help: "windows of at most N blocks",
            manual: "Grant windows of at most <n> blocks, from 1 to 65535. A window has at most 16 \
                MiB, 32767 blocks, and when a client writes, what the socket's receive buffer \
                holds.",
            ..Row::EMPTY
        },
        Row {
            name: "no-option",
            value: "NAME",
            repeats: true,
            help: "never grant the option NAME (RFC 2347); repeatable",
            manual: "Never grant the option <name>, as if it were unknown: `blksize`, `blksize2`, `tsize`, `timeout`, \
                `utimeout`, `windowsize` or `rollover`, for clients that ask for one and do not get along with it. \
                May be given several times.",
            ..Row::EMPTY
        },
        Row {
            name: "umask",
            value: "MODE",
            default: Preset::Rule("that of the starter"),
            help: "permissions that new files do not get, octal",
            manual: "The permissions that uploaded files do not get, in octal, as of umask(2): `027` makes files of \
                mode 0640. A file that is replaced keeps its mode.",
            ..Row::EMPTY
        },
        Row {
            name: "quiet-missing",
            help: "send no ERROR for a file that is not there",
            manual: "Send no ERROR for a file that is not there, so that of several servers which get a request only \
                the one that has the file answers. The log names it nevertheless.",
            ..Row::EMPTY
        },
        Row {
            name: "map",
            value: "FILE",
            help: "rules that turn the names asked for into files' names",
            manual: "Turn the names that clients ask for into names of files by the rules in \
                <file>, see {Sx MAP FILE}. It must be a regular file with one link, no symbolic \
                link, that belongs to root or to the server's user and that only its owner may \
                write to. Read at the start and again on SIGHUP; with `--chroot` it is inside, \
                like the folder of `--root`. The names that come of it are resolved below the root \
                as all others are.",
            ..Row::EMPTY
        },
        Row {
            name: "try",
            value: "NAME",
            command_line_only: true,
            help: "say what --map makes of NAME, rule by rule, and serve nothing",
            manual: "Say what the rules of `--map` make of <name>, rule by rule, to read and to write it, and serve \
                nothing. The exit status is 0, or 1 where the name to read is refused.",
            ..Row::EMPTY
        },
        Row {
            name: "from",
            value: "ADDR",
            default: Preset::Value("127.0.0.1"),
            command_line_only: true,
            help: "the client's address for --try",
            manual: "The address of the client for `--try`.",
            ..Row::EMPTY
        },
        Row {
            name: "port-range",
            value: "A:B",
            help: "transfers have ports from A to B only",
            manual: "Transfers have ports from <a> to <b> and no others, for a firewall that lets \
                these pass: as many at once as there are ports, for each address that the server \
                answers from. A process that only stays for a lost ACK gives its port up. One more \
                client gets no answer, or under `--over busy` ERROR 0, \"No process or port for the transfer\".",
            excludes: "single-port",
            ..Row::EMPTY
        },
        Row {
            name: "single-port",
            help: "one process and one port for all transfers",
            manual: "Serve all transfers over the service's port and in one process, told apart by \
                their clients' addresses and ports: for a container or a NAT that lets one port \
                through. A process is forked only to put a complete upload safely on the disk, for \
                as long as that takes. Windows have at most 256 KiB. A client that asks for \
                something else from the same port gives up what it had begun; packets of no \
                transfer meet with silence. Under `--over queue` a request waits at most 10 seconds, and 1024 do. \
                After SIGTERM the port is held until the last transfer has ended.",
            excludes: "port-range",
            ..Row::EMPTY
        },
        Row {
            manual: "Send a packet again at most <n> times, up to 1000, and the first one twice, \
                as long as the client has not proved its address by an answer.",
            ..RETRIES
        },
    ],
    notes: &[
        (
            "max-clients",
            "With `--single-port` the default is 4096. A process that only stays for a lost ACK does not count, and \
                one whose client has not answered yet gives way to a new client, the oldest first: requests \
                with forged addresses keep no client out.",
        ),
        ("over", "it gets ERROR 0, \"Too many transfers, try again later\""),
        ("deadline", "four seconds more for each block"),
        ("chroot", "The folder of `--root` is inside."),
        ("transcript", "A line is a packet, in words."),
    ],
};

impl Config {
    /// Returns whether clients may write files.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !self.read_only && (self.create || self.if_exists == IfExists::Replace)
    }

    /// Returns what will not work with the rights that this process has now.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let why = |errno: Errno| forknet::reason(&errno.into());
        if let Err(errno) = self.root.check() {
            warnings.push(format!("root: {}: no file can be served", why(errno)));
        } else if self.create
            && !self.read_only
            && let Err(errno) = self.root.check_writable()
        {
            let how = "no file can be made in it (--create)";
            warnings.push(format!("root: {}: {how}", why(errno)));
        }
        if let Some(Err(error)) = self.map.as_ref().map(|map| map.check()) {
            warnings.push(format!("{error}: it cannot be read again on SIGHUP"));
        }
        warnings
    }

    /// Does what `--try` asks for; nothing without it.
    pub fn trial(&self, values: &Values) -> Option<Result<()>> {
        values.text("try").map(|name| self.try_name(values, &name))
    }

    /// Prints what the rules make of a name.
    ///
    /// # Errors
    /// [`Error::Usage`]: `--map` is missing, or `--from` is no address; the name may not be read.
    fn try_name(&self, values: &Values, name: &str) -> Result<()> {
        let map = self.map.as_ref().ok_or_else(|| values.error("--try needs --map"))?;
        let from = values.text("from").unwrap_or_default();
        let ip: IpAddr =
            from.parse().map_err(|_| values.wrong("from", &from, "not an IP address"))?;
        let explain =
            |direction| map.explain(name.as_bytes(), direction, SocketAddr::new(ip, 0), &self.root);
        let (read, written) = (explain(Direction::Read), explain(Direction::Write));
        let is_allowed = read.is_ok();
        let text = |found: std::result::Result<String, String>| found.unwrap_or_else(|text| text);
        let all = format!("{}\n\n{}\n", text(read), text(written));
        io::stdout().write_all(all.as_bytes()).map_err(Error::io("standard output"))?;
        if is_allowed { Ok(()) } else { Err(Error::Refused("--try: the name is refused".into())) }
    }

    /// Returns whether a client that is refused with this code gets no ERROR.
    #[must_use]
    pub fn keeps_silent(&self, code: ErrorCode) -> bool {
        self.quiet_missing && code == ErrorCode::NotFound
    }

    /// Reads tftpd's options and opens the root. With `chroot`, the folder of `--chroot`, its path
    /// is relative to it.
    ///
    /// # Errors
    /// A value is no number; the root does not exist or is no folder; a line of `--map` is no rule.
    pub fn new(values: &Values, chroot: Option<&Path>) -> Result<Config> {
        let root = values.text("root").unwrap_or_default();
        let quota = values.number_if_given("quota", 0..=u64::MAX)?;
        let mut config = Config {
            create: values.is_given("create"),
            if_exists: if_exists(values)?,
            makes_folders: values.is_given("mkdir"),
            read_only: values.is_given("read-only"),
            max_size: values.number_if_given("max-size", 0..=u64::MAX)?,
            retries: retries(values)?,
            max_options: MaxOptions {
                blksize: values.number("max-blksize", MIN_BLKSIZE..=MAX_BLKSIZE)?,
                windowsize: values.number("max-windowsize", 1..=u16::MAX)?,
                refused: refused(values)?,
                ..MaxOptions::default()
            },
            umask: umask(values)?,
            quiet_missing: values.is_given("quiet-missing"),
            port_range: values.parsed("port-range")?,
            single_port: values.is_given("single-port"),
            map: map(values, chroot)?,
            quota: None,
            root: Root::open(Path::new(&root), chroot)?,
        };
        if let Some(limit) = quota {
            config.quota =
                Some(Rc::new(Quota::new(&config.root, limit).map_err(Error::io("quota"))?));
        }
        Ok(config)
    }
}

/// Reads the names of `--no-option`.
fn refused(values: &Values) -> Result<OptionNames> {
    let mut names = OptionNames::default();
    for name in values.texts("no-option") {
        if !names.add(name.as_bytes()) {
            let why = "not blksize, blksize2, tsize, timeout, utimeout, windowsize or rollover";
            return Err(values.wrong("no-option", &name, why));
        }
    }
    Ok(names)
}

fn if_exists(values: &Values) -> Result<IfExists> {
    Ok(match values.choice("on-exist")? {
        "replace" => IfExists::Replace,
        "number" => IfExists::Number,
        "date" => IfExists::Date,
        _ if values.is_given("overwrite") => IfExists::Replace,
        _ => IfExists::Fail,
    })
}

fn umask(values: &Values) -> Result<Option<Mode>> {
    let read = |text: String| {
        let bits = u32::from_str_radix(&text, 8).ok().filter(|bits| *bits <= 0o777);
        let bits =
            bits.ok_or_else(|| values.wrong("umask", &text, "not an octal number up to 777"));
        bits.map(Mode::from_bits_truncate)
    };
    values.text("umask").map(read).transpose()
}

fn map(values: &Values, chroot: Option<&Path>) -> Result<Option<Rc<Map>>> {
    let open = |file: String| {
        Map::open(Path::new(&file), chroot, values.text("user").as_deref()).map(Rc::new)
    };
    values.text("map").map(open).transpose()
}

/// Reads the value of `--retries`.
///
/// # Errors
/// [`forknet::Error::Usage`]: it is no number, or one over 1000.
pub fn retries(values: &Values) -> Result<u32> {
    values.number("retries", 0..=MAX_RETRIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str]) -> Result<Config> {
        let args = args.iter().map(std::ffi::OsString::from).collect();
        Config::new(&forknet::parse("tftpd", "", OPTIONS.rows, args)?, None)
    }

    #[test]
    fn uploads_are_refused_by_default() {
        let config = config(&["--root", "/"]).unwrap();
        assert!(!config.create && config.if_exists == IfExists::Fail && !config.read_only);
        assert_eq!((config.max_size, config.retries), (None, 6));
    }

    #[test]
    fn an_invalid_value_is_named() {
        for args in [
            ["--retries", "x"],
            ["--retries", "1001"],
            ["--max-size", "-1"],
            ["--quota", "all"],
            ["--max-blksize", "7"],
            ["--max-blksize", "65465"],
            ["--max-windowsize", "0"],
            ["--max-windowsize", "65536"],
            ["--port-range", "6:5"],
        ] {
            let error = config(&args).unwrap_err();
            assert!(matches!(error, Error::Usage(_)));
            assert!(error.to_string().contains(&format!("{} '{}'", args[0], args[1])), "{error}");
        }
    }
}
