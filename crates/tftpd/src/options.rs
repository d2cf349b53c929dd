//! tftpd's own options.

use std::path::Path;
use std::rc::Rc;

use getopts::{Matches, Options};

use forknet::{Error, Ports, Result, number};

use crate::map::Map;
use crate::negotiation::{Caps, MAX_BLKSIZE, MIN_BLKSIZE};
use crate::quota::Quota;
use crate::root::Root;

/// The root unless `--root` names another: the folder that Debian's TFTP servers use.
const ROOT: &str = "/srv/tftp";
/// How often one packet is sent again, unless `--retries` says otherwise.
pub const RETRIES: u32 = 6;
/// The most that `--retries` takes.
const MAX_RETRIES: u32 = 1000;

/// What the server may do.
#[derive(Debug)]
pub struct Config {
    /// The folder that is served.
    pub root: Root,
    /// New files may be written.
    pub create: bool,
    /// Existing files may be replaced.
    pub overwrite: bool,
    /// Every WRQ is refused, whatever the other two say.
    pub read_only: bool,
    /// The longest file that may be written, in octets.
    pub max_size: Option<u64>,
    /// What all files may have together.
    pub quota: Option<Rc<Quota>>,
    /// How often one packet is sent again.
    pub retries: u32,
    /// The largest blocks and windows.
    pub caps: Caps,
    /// The ports that transfers may have, if not any.
    pub ports: Option<Ports>,
    /// All transfers have the service's port, and one process.
    pub single_port: bool,
    /// The rules of `--map`.
    pub map: Option<Rc<Map>>,
}

/// Adds tftpd's options to those that every daemon has.
pub fn declare(options: &mut Options) {
    options.optopt("", "root", &format!("the folder that is served (default {ROOT})"), "DIR");
    options.optflag("", "create", "clients may write new files");
    options.optflag("", "overwrite", "clients may replace files that exist");
    options.optflag("", "read-only", "refuse all writing, whatever else is said");
    options.optopt("", "max-size", "the longest file that may be written", "BYTES");
    options.optopt("", "quota", "what all files below the root may have together", "BYTES");
    let blksize = format!("blocks of at most N octets (default {MAX_BLKSIZE})");
    options.optopt("", "max-blksize", &blksize, "N");
    let windowsize = Caps::default().windowsize;
    let windowsize = format!("windows of at most N blocks (default {windowsize})");
    options.optopt("", "max-windowsize", &windowsize, "N");
    options.optopt("", "map", "rules that turn the names asked for into files' names", "FILE");
    options.optopt("", "port-range", "transfers have ports from A to B only", "A:B");
    options.optflag("", "single-port", "one process and one port for all transfers");
    declare_retries(options);
}

/// `--retries`, which tftpc has too.
pub fn declare_retries(options: &mut Options) {
    let retries = format!("send a packet again at most N times (default {RETRIES})");
    options.optopt("", "retries", &retries, "N");
}

impl Config {
    /// True where clients may write anything at all.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !self.read_only && (self.create || self.overwrite)
    }

    /// Reads tftpd's options and opens the root, as it is seen in `jail`, the folder of `--chroot`.
    ///
    /// # Errors
    /// A value is no number; the root does not exist or is no folder; a rule of `--map` is none.
    pub fn new(matches: &Matches, jail: Option<&Path>) -> Result<Config> {
        let root = matches.opt_str("root").unwrap_or_else(|| ROOT.to_owned());
        let quota = number(matches, "quota", 0..=u64::MAX)?;
        let mut config = Config {
            create: matches.opt_present("create"),
            overwrite: matches.opt_present("overwrite"),
            read_only: matches.opt_present("read-only"),
            max_size: number(matches, "max-size", 0..=u64::MAX)?,
            retries: retries(matches)?,
            caps: caps(matches)?,
            ports: ports(matches)?,
            single_port: matches.opt_present("single-port"),
            map: map(matches, jail)?,
            quota: None,
            root: Root::open(Path::new(&root), jail)?,
        };
        if let Some(limit) = quota {
            config.quota =
                Some(Rc::new(Quota::of(&config.root, limit).map_err(Error::io("quota"))?));
        }
        Ok(config)
    }
}

fn caps(matches: &Matches) -> Result<Caps> {
    let caps = Caps::default();
    let blksize = number(matches, "max-blksize", MIN_BLKSIZE..=MAX_BLKSIZE)?;
    let windowsize = number(matches, "max-windowsize", 1..=u16::MAX)?;
    Ok(Caps {
        blksize: blksize.unwrap_or(caps.blksize),
        windowsize: windowsize.unwrap_or(caps.windowsize),
        ..caps
    })
}

fn map(matches: &Matches, jail: Option<&Path>) -> Result<Option<Rc<Map>>> {
    let open = |file: String| Map::open(Path::new(&file), jail).map(Rc::new);
    matches.opt_str("map").map(open).transpose()
}

fn ports(matches: &Matches) -> Result<Option<Ports>> {
    let parse = |text: String| {
        text.parse().map_err(|why| Error::Usage(format!("--port-range '{text}': {why}")))
    };
    let ports = matches.opt_str("port-range").map(parse).transpose()?;
    if ports.is_some() && matches.opt_present("single-port") {
        return Err(Error::Usage("--port-range and --single-port: only one of them".into()));
    }
    Ok(ports)
}

/// The value of `--retries`.
///
/// # Errors
/// [`forknet::Error::Usage`]: it is no number, or one over 1000.
pub fn retries(matches: &Matches) -> Result<u32> {
    Ok(number(matches, "retries", 0..=MAX_RETRIES)?.unwrap_or(RETRIES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str]) -> Result<Config> {
        let mut options = Options::new();
        declare(&mut options);
        Config::new(&options.parse(args).unwrap(), None)
    }

    #[test]
    fn nothing_may_be_written_by_default() {
        let config = config(&["--root", "/"]).unwrap();
        assert!(!config.create && !config.overwrite && !config.read_only);
        assert_eq!((config.max_size, config.retries), (None, RETRIES));
    }

    #[test]
    fn a_bad_value_is_named() {
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
            assert!(matches!(error, forknet::Error::Usage(_)));
            assert!(error.to_string().contains(&format!("{} '{}'", args[0], args[1])), "{error}");
        }
    }
}
