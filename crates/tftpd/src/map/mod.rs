//! `--map FILE`: rules that map requested names to file names.
//!
//! The rules only choose a name. The kernel resolves it below the root like every other name
//! ([`crate::files::root`]), so no rule can leave the root.
//!
//! ```text
//! slash                                # boot\x64\wdsnbp.com  -> boot/x64/wdsnbp.com
//! prefix /tftpboot/ ''                 # /tftpboot/vmlinuz    -> vmlinuz
//! regex ^pxelinux\.cfg/01-(.*)$ hosts/$1/boot.cfg
//! try %i/$0                            # 192.0.2.7/vmlinuz, where there is such a file
//! put from 192.0.2.0/24 prefix '' incoming/%x/
//! deny \.key$
//! ```

mod context;
mod mapped_name;
mod neighbours;
mod parse;
mod rtnetlink;
mod rules;
mod template;

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use self::context::RequestContext;
use self::neighbours::Neighbours;
use self::rules::{Outcome, Rule};
use crate::error::Error;
use crate::files::root::open_inside;
use crate::files::roots::RootsOf;
use crate::wire::request::Direction;

/// Largest rules file in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// The rules of `--map`, read when the server starts and again on SIGHUP.
#[derive(Debug)]
pub struct Map {
    path: PathBuf,
    rules: RefCell<Vec<Rule>>,
    neighbours: Neighbours,
}

impl Map {
    /// Reads the file. With `chroot`, the folder of `--chroot`, the path is relative to it. The
    /// file may belong to `user`, the argument of `-u`.
    ///
    /// # Errors
    /// The file cannot be read, users other than root and the server's may have written it
    /// ([`forknet::check_owned`]), or a line is not a rule: `map FILE: line 3: no such rule
    /// 'lowr'`.
    pub fn open(path: &Path, chroot: Option<&Path>, user: Option<&str>) -> forknet::Result<Map> {
        let path = match chroot {
            // -d changes to /
            None => std::path::absolute(path).map_err(forknet::Error::io(label(path)))?,
            Some(_) => Path::new("/").join(path),
        };
        let rules = RefCell::new(read(&path, chroot, user)?);
        Ok(Map { path, rules, neighbours: Neighbours::open() })
    }

    /// Checks that this process can read the file again after privileges were dropped and the root
    /// was changed.
    ///
    /// # Errors
    /// As [`Map::open`].
    pub fn check(&self) -> forknet::Result<()> {
        read(&self.path, None, None).map(drop)
    }

    /// Reads the file again and logs the result. If that fails, the old rules stay.
    pub fn reload(&self) {
        match read(&self.path, None, None) {
            Ok(rules) => {
                log::info!("{}: {} rules", label(&self.path), rules.len());
                self.rules.replace(rules);
            }
            Err(error) => log::error!("{error}: keeping the old rules"),
        }
    }

    /// Returns the file name for the name in a client's request.
    ///
    /// # Errors
    /// ERROR 2 if a rule denies the name, or makes it too long.
    pub fn file_name(
        &self,
        name: &[u8],
        direction: Direction,
        client: SocketAddr,
        roots: &RootsOf<'_>,
    ) -> Result<Vec<u8>, Error> {
        self.apply(name, direction, client, roots, |_, _| ())
    }

    /// Returns what becomes of a name, rule by rule, in lines for people (`--try`); the last one is the name of the file,
    /// or says that the name is refused.
    ///
    /// # Errors
    /// The same lines, where the name is refused.
    pub fn explain(
        &self,
        name: &[u8],
        direction: Direction,
        client: SocketAddr,
        roots: &RootsOf<'_>,
    ) -> Result<String, String> {
        let mut lines = format!("{direction} \"{}\" from {}\n", name.escape_ascii(), client.ip());
        let mut before = name.to_vec();
        let result = self.apply(name, direction, client, roots, |rule, outcome| {
            let outcome = match outcome {
                Outcome::NotForThis => "not for this request".to_owned(),
                Outcome::Name(name) if name == before => "no change".to_owned(),
                Outcome::Name(name) => {
                    before = name.to_vec();
                    format!("\"{}\"", name.escape_ascii())
                }
                Outcome::Last(name) => format!("\"{}\", the end", name.escape_ascii()),
                Outcome::Denied => "refused".to_owned(),
            };
            lines += &format!("line {}: {}: {outcome}\n", rule.line, rule.text);
        });
        match result {
            Ok(file) => {
                let is_there = match direction {
                    Direction::Read => roots.has_file(&file),
                    Direction::Write => roots.has_folder_of(&file),
                };
                let what = if direction == Direction::Read { "file" } else { "folder" };
                let found = if is_there { "is there" } else { "is not there" };
                Ok(format!("{lines}the name is \"{}\", whose {what} {found}", file.escape_ascii()))
            }
            Err(error) => Err(format!("{lines}refused: {error}")),
        }
    }

    fn apply(
        &self,
        name: &[u8],
        direction: Direction,
        client: SocketAddr,
        roots: &RootsOf<'_>,
        traced: impl FnMut(&Rule, Outcome<'_>),
    ) -> Result<Vec<u8>, Error> {
        let context = RequestContext {
            direction,
            peer: client.ip().to_canonical(),
            hardware_address: &|| self.neighbours.find(client),
            below: &|name| roots.below(name).map(<[u8]>::to_vec).collect(),
            exists: &|name| match direction {
                Direction::Read => roots.has_file(name),
                Direction::Write => roots.has_folder_of(name),
            },
        };
        rules::apply(&self.rules.borrow(), name, &context, traced)
    }
}

fn label(path: &Path) -> String {
    format!("map {}", path.display())
}

fn read(path: &Path, chroot: Option<&Path>, user: Option<&str>) -> forknet::Result<Vec<Rule>> {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::from(open_inside(chroot, path, flags, &label(path))?);
    forknet::check_owned(&label(path), &file, user)?;
    let mut text = Vec::new();
    let length =
        file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(forknet::Error::io(label(path)))?;
    if length as u64 > MAX_FILE {
        let why = format!("{}: longer than {MAX_FILE} bytes", label(path));
        return Err(forknet::Error::Refused(why));
    }
    parse::rules(&text)
        .map_err(|fault| forknet::Error::Refused(format!("{}: {fault}", label(path))))
}

#[cfg(test)]
mod tests;
