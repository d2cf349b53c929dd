//! tftpd's own options.

use std::path::Path;
use std::rc::Rc;

use getopts::{Matches, Options};

use forknet::{Error, Result, number};

use crate::files::quota::Quota;
use crate::files::root::Root;
use crate::map::Map;
use crate::transfer::port_range::PortRange;
use crate::wire::negotiation::MaxOptions;
use crate::wire::options::{MAX_BLKSIZE, MIN_BLKSIZE};

/// The root unless `--root` names another: the folder of Debian's TFTP servers.
const DEFAULT_ROOT: &str = "/srv/tftp";
/// Most retransmissions of one packet, unless `--retries` says otherwise.
const DEFAULT_RETRIES: u32 = 6;
/// Most retransmissions that `--retries` takes.
const MAX_RETRIES: u32 = 1000;

/// The values of tftpd's own options.
#[derive(Debug)]
pub struct Config {
    /// `--root`: the folder that is served.
    pub root: Root,
    /// `--create`: new files may be written.
    pub create: bool,
    /// `--overwrite`: existing files may be replaced.
    pub overwrite: bool,
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
    /// `--map`: the rules for names.
    pub map: Option<Rc<Map>>,
}

/// Adds tftpd's options to those of every daemon.
pub fn declare(options: &mut Options) {
    let root = format!("the folder that is served (default {DEFAULT_ROOT})");
    options.optopt("", "root", &root, "DIR");
    options.optflag("", "create", "clients may write new files");
    options.optflag("", "overwrite", "clients may replace files that exist");
    options.optflag("", "read-only", "refuse all writing, whatever else is said");
    options.optopt("", "max-size", "the longest file that may be written", "BYTES");
    options.optopt("", "quota", "what all files below the root may have together", "BYTES");
    let blksize = format!("blocks of at most N octets (default {MAX_BLKSIZE})");
    options.optopt("", "max-blksize", &blksize, "N");
    let windowsize = MaxOptions::default().windowsize;
    let windowsize = format!("windows of at most N blocks (default {windowsize})");
    options.optopt("", "max-windowsize", &windowsize, "N");
    options.optopt("", "map", "rules that turn the names asked for into files' names", "FILE");
    options.optopt("", "port-range", "transfers have ports from A to B only", "A:B");
    options.optflag("", "single-port", "one process and one port for all transfers");
    declare_retries(options);
}

/// Adds `--retries`, which tftpc has too.
pub fn declare_retries(options: &mut Options) {
    let retries = format!("send a packet again at most N times (default {DEFAULT_RETRIES})");
    options.optopt("", "retries", &retries, "N");
}

impl Config {
    /// Returns whether clients may write files.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !self.read_only && (self.create || self.overwrite)
    }

    /// Reads tftpd's options and opens the root. With `chroot`, the folder of `--chroot`, its path
    /// is relative to it.
    ///
    /// # Errors
    /// A value is no number; the root does not exist or is no folder; a line of `--map` is no rule.
    pub fn new(matches: &Matches, chroot: Option<&Path>) -> Result<Config> {
        let root = matches.opt_str("root").unwrap_or_else(|| DEFAULT_ROOT.to_owned());
        let quota = number(matches, "quota", 0..=u64::MAX)?;
        let mut config = Config {
            create: matches.opt_present("create"),
            overwrite: matches.opt_present("overwrite"),
            read_only: matches.opt_present("read-only"),
            max_size: number(matches, "max-size", 0..=u64::MAX)?,
            retries: retries(matches)?,
            max_options: max_options(matches)?,
            port_range: port_range(matches)?,
            single_port: matches.opt_present("single-port"),
            map: map(matches, chroot)?,
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

fn max_options(matches: &Matches) -> Result<MaxOptions> {
    let max = MaxOptions::default();
    let blksize = number(matches, "max-blksize", MIN_BLKSIZE..=MAX_BLKSIZE)?;
    let windowsize = number(matches, "max-windowsize", 1..=u16::MAX)?;
    Ok(MaxOptions {
        blksize: blksize.unwrap_or(max.blksize),
        windowsize: windowsize.unwrap_or(max.windowsize),
        ..max
    })
}

fn map(matches: &Matches, chroot: Option<&Path>) -> Result<Option<Rc<Map>>> {
    let open = |file: String| {
        Map::open(Path::new(&file), chroot, matches.opt_str("u").as_deref()).map(Rc::new)
    };
    matches.opt_str("map").map(open).transpose()
}

fn port_range(matches: &Matches) -> Result<Option<PortRange>> {
    let parse = |text: String| {
        text.parse().map_err(|why| Error::Usage(format!("--port-range '{text}': {why}")))
    };
    let port_range = matches.opt_str("port-range").map(parse).transpose()?;
    if port_range.is_some() && matches.opt_present("single-port") {
        return Err(Error::Usage("--port-range and --single-port: only one of them".into()));
    }
    Ok(port_range)
}

/// Reads the value of `--retries`.
///
/// # Errors
/// [`forknet::Error::Usage`]: it is no number, or one over 1000.
pub fn retries(matches: &Matches) -> Result<u32> {
    Ok(number(matches, "retries", 0..=MAX_RETRIES)?.unwrap_or(DEFAULT_RETRIES))
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
    fn uploads_are_refused_by_default() {
        let config = config(&["--root", "/"]).unwrap();
        assert!(!config.create && !config.overwrite && !config.read_only);
        assert_eq!((config.max_size, config.retries), (None, DEFAULT_RETRIES));
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
            assert!(matches!(error, forknet::Error::Usage(_)));
            assert!(error.to_string().contains(&format!("{} '{}'", args[0], args[1])), "{error}");
        }
    }
}
