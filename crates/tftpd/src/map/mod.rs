//! `--map FILE`: rules that turn the names that clients ask for into names of files.
//!
//! The rules only choose a name. Whatever name comes of them is then resolved below the root by
//! the kernel, as every other name is ([`crate::root`]): no rule can lead outside.
//!
//! ```text
//! slash                                # boot\x64\wdsnbp.com  -> boot/x64/wdsnbp.com
//! prefix /tftpboot/ ''                 # /tftpboot/vmlinuz    -> vmlinuz
//! regex ^pxelinux\.cfg/01-(.*)$ hosts/$1/boot.cfg
//! try %i/$0                            # 192.0.2.7/vmlinuz, where there is such a file
//! put from 192.0.2.0/24 prefix '' incoming/%x/
//! deny \.key$
//! ```

mod neighbours;
mod network;
mod parse;
mod rtnetlink;
mod rules;
mod template;

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use forknet::{Error, Result};
use nix::fcntl::OFlag;

use neighbours::Neighbours;
use rules::{Asking, Rule};

use crate::failure::Failure;
use crate::packet::Direction;
use crate::root::{Root, open_inside};

/// A longer file is no file of rules.
const MAX_FILE: u64 = 256 * 1024;

/// The rules of `--map`, read when the server starts and again on SIGHUP.
#[derive(Debug)]
pub struct Map {
    path: PathBuf,
    rules: RefCell<Vec<Rule>>,
    neighbours: Neighbours,
}

impl Map {
    /// Reads the file; with a `jail`, the folder of `--chroot`, the path counts from there.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is no rule: `map FILE: line 3: no such rule 'lowr'`.
    pub fn open(path: &Path, jail: Option<&Path>) -> Result<Map> {
        let path = match jail {
            None => std::path::absolute(path).map_err(Error::io(what(path)))?, // -d changes to /
            Some(_) => Path::new("/").join(path),
        };
        let rules = RefCell::new(read(&path, jail)?);
        Ok(Map { path, rules, neighbours: Neighbours::open() })
    }

    /// Looks whether this process will be able to read the file again: after privileges were
    /// dropped and the root was changed, perhaps not.
    ///
    /// # Errors
    /// As [`Map::open`].
    pub fn check(&self) -> Result<()> {
        read(&self.path, None).map(drop)
    }

    /// Reads the file again; the log tells what came of it. Where it cannot be read or has a fault
    /// the rules from before stay.
    pub fn read_again(&self) {
        match read(&self.path, None) {
            Ok(rules) => {
                log::info!("{}: {} rules", what(&self.path), rules.len());
                self.rules.replace(rules);
            }
            Err(error) => log::error!("{error}: the rules from before stay"),
        }
    }

    /// The file's name for a name that a client asked for.
    ///
    /// # Errors
    /// ERROR 2: a rule denies it, or the name grew too long.
    pub fn name(
        &self,
        name: &[u8],
        direction: Direction,
        from: SocketAddr,
        root: &Root,
    ) -> std::result::Result<Vec<u8>, Failure> {
        let peer = from.ip().to_canonical();
        let asking = Asking {
            direction,
            peer,
            hardware: &|| self.neighbours.find(from),
            is_there: &|name| match direction {
                Direction::Read => root.has_file(name),
                Direction::Write => root.has_folder_of(name),
            },
        };
        rules::apply(&self.rules.borrow(), name, &asking)
    }
}

fn what(path: &Path) -> String {
    format!("map {}", path.display())
}

fn read(path: &Path, jail: Option<&Path>) -> Result<Vec<Rule>> {
    // O_NONBLOCK: a FIFO must not keep the server waiting.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::from(open_inside(jail, path, flags, &what(path))?);
    let mut text = Vec::new();
    let limit = MAX_FILE + 1;
    let length = file.take(limit).read_to_end(&mut text).map_err(Error::io(what(path)))?;
    if length as u64 > MAX_FILE {
        let why = format!("{}: longer than {MAX_FILE} octets", what(path));
        return Err(Error::Refused(why));
    }
    parse::rules(&text).map_err(|fault| Error::Refused(format!("{}: {fault}", what(path))))
}

#[cfg(test)]
mod tests;
