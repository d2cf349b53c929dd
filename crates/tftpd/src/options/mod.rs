//! tftpd's own options.

mod rows;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;

use forknet::{Error, LogFile, Result, Values};
use nix::errno::Errno;
use nix::sys::stat::Mode;

use crate::files::atomic_file::IfExists;
use crate::files::roots::Roots;
use crate::map::Map;
use crate::transfer::port_range::PortRange;
use crate::wire::error_code::ErrorCode;
use crate::wire::negotiation::MaxOptions;
use crate::wire::option_name::OptionNames;
use crate::wire::options::{MAX_BLKSIZE, MIN_BLKSIZE};
use crate::wire::request::Direction;

pub use self::rows::{OPTIONS, RETRIES};

/// Largest value of `--retries`, in retransmissions.
const MAX_RETRIES: u32 = 1000;

/// The values of tftpd's own options.
#[derive(Debug)]
pub struct Config {
    /// `--root`: the folders that are served.
    pub roots: Roots,
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
    /// `--mtu-blksize`: no block is longer than the route's MTU allows.
    pub mtu_blksize: bool,
    /// `--transfer-log`, once it is open.
    pub transfer_log: Option<LogFile>,
}

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
        let is_alone = self.roots.iter().count() == 1;
        for root in self.roots.iter() {
            let path = root.path().display();
            let what = if is_alone { "root".to_owned() } else { format!("root {path}") };
            if let Err(errno) = root.check() {
                warnings.push(format!("{what}: {}: no file can be served", why(errno)));
            } else if self.is_writable()
                && let Err(errno) = root.check_writable()
            {
                let how = match self.create {
                    true => "no file can be made in it (--create)",
                    false => "no file in it can be replaced (--overwrite)",
                };
                warnings.push(format!("{what}: {}: {how}", why(errno)));
            }
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
        let map =
            self.map.as_ref().ok_or_else(|| values.conflict(&["try"], "--try needs --map"))?;
        let from = values.text("from").unwrap_or_default();
        let ip: IpAddr =
            from.parse().map_err(|_| values.wrong("from", &from, "not an IP address"))?;
        let roots = self.roots.of(Ipv4Addr::UNSPECIFIED.into(), ip);
        let explain =
            |direction| map.explain(name.as_bytes(), direction, SocketAddr::new(ip, 0), &roots);
        let (read, written) = (explain(Direction::Read), explain(Direction::Write));
        let is_allowed = read.is_ok();
        let text = |found: std::result::Result<String, String>| found.unwrap_or_else(|text| text);
        let all = format!("{}\n\n{}\n", text(read), text(written));
        io::stdout().write_all(all.as_bytes()).map_err(Error::io("standard output"))?;
        if is_allowed { Ok(()) } else { Err(Error::Refused("--try: the name is refused".into())) }
    }

    /// Sets the umask of `--umask`, if it is given.
    pub fn set_umask(&self) {
        if let Some(mode) = self.umask {
            nix::sys::stat::umask(mode);
        }
    }

    /// Returns whether a client that is refused with this code gets no ERROR.
    #[must_use]
    pub fn keeps_silent(&self, code: ErrorCode) -> bool {
        self.quiet_missing && code == ErrorCode::NotFound
    }

    /// Reads tftpd's options and opens the roots. With `chroot`, the folder of `--chroot`, its path
    /// is relative to it.
    ///
    /// # Errors
    /// A value is no number; the root does not exist or is no folder; a line of `--map` is no rule.
    pub fn new(values: &Values, chroot: Option<&Path>) -> Result<Config> {
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
            mtu_blksize: values.is_given("mtu-blksize"),
            transfer_log: None,
            roots: Roots::open(&values.texts("root"), chroot)?,
        };
        if let Some(limit) = quota {
            config.roots.limit(limit).map_err(Error::io("quota"))?;
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
        assert_eq!((config.max_size, config.retries), (None, 20));
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
