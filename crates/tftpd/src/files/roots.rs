//! `--root`, given once or several times: the folders that are served, in the order in which they are searched.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use forknet::Network;
use nix::errno::Errno;

use super::atomic_file::IfExists;
use super::quota::Quota;
use super::root::{Root, UploadTarget};
use super::source::Source;
use crate::error::Error;
use crate::wire::error_code::ErrorCode;

/// All roots.
#[derive(Debug)]
pub struct Roots(Vec<Served>);

/// A root, and the requests that it is for.
#[derive(Debug)]
pub struct Served {
    whose: Whose,
    /// The folder.
    pub root: Root,
    /// `--quota`: the limit on its files.
    pub quota: Option<Rc<Quota>>,
}

/// The requests that a root is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// All of them.
    All,
    /// `ADDR=DIR`: those that were sent to this address; or if no root is for the address that was asked, those of this
    /// client.
    Address(IpAddr),
    /// `NET/BITS=DIR`: those of clients in this network.
    Clients(Network),
}

impl Whose {
    /// Splits the value of `--root` into the requests that it is for, and the folder.
    fn parse(value: &str) -> (Whose, &str) {
        let of_address = value.split_once('=').and_then(|(before, folder)| {
            let whose = match before.parse::<IpAddr>() {
                Ok(address) => Whose::Address(address.to_canonical()),
                Err(_) => Whose::Clients(Network::parse(before)?),
            };
            Some((whose, folder))
        });
        of_address.unwrap_or((Whose::All, value))
    }
}

impl Roots {
    /// Opens the folders of the values of `--root`. With `chroot`, the folder of `--chroot`, their paths are relative to it.
    ///
    /// # Errors
    /// As [`Root::open`].
    pub fn open(values: &[String], chroot: Option<&Path>) -> forknet::Result<Roots> {
        let open = |value: &String| {
            let (whose, folder) = Whose::parse(value);
            Ok(Served { whose, root: Root::open(Path::new(folder), chroot)?, quota: None })
        };
        values.iter().map(open).collect::<forknet::Result<_>>().map(Roots)
    }

    /// Limits the files below each root.
    ///
    /// # Errors
    /// dup(2) fails.
    pub fn limit(&mut self, quota: u64) -> io::Result<()> {
        for served in &mut self.0 {
            served.quota = Some(Rc::new(Quota::new(&served.root, quota)?));
        }
        Ok(())
    }

    /// Returns all of them.
    pub fn iter(&self) -> impl Iterator<Item = &Root> {
        self.0.iter().map(|served| &served.root)
    }

    /// Returns the roots for requests of a client to one of our addresses: first those that are for such requests alone,
    /// then those for all.
    #[must_use]
    pub fn of(&self, local: IpAddr, client: IpAddr) -> RootsOf<'_> {
        let (local, client) = (local.to_canonical(), client.to_canonical());
        let is_asked = |served: &&Served| served.whose == Whose::Address(local);
        let has_own = self.0.iter().any(|served| is_asked(&served));
        let own = self.0.iter().filter(|served| match served.whose {
            Whose::All => false,
            Whose::Address(address) => address == if has_own { local } else { client },
            Whose::Clients(network) => network.contains(client),
        });
        RootsOf(own.chain(self.0.iter().filter(|served| served.whose == Whose::All)).collect())
    }
}

/// The roots for one request, in the order in which they are searched.
#[derive(Clone, Debug)]
pub struct RootsOf<'r>(Vec<&'r Served>);

impl<'r> RootsOf<'r> {
    /// Opens a file for reading: the first of this name.
    ///
    /// # Errors
    /// As [`Root::open_source`]; ERROR 1 if no root is for this request.
    pub fn open_source(&self, name: &[u8]) -> Result<Source, Error> {
        let mut missing = Error::denied(ErrorCode::NotFound, "No folder for this address");
        for served in &self.0 {
            match served.root.open_source(name) {
                Err(error @ Error::Denied { code: ErrorCode::NotFound, .. }) => missing = error,
                answer => return answer,
            }
        }
        Err(missing)
    }

    /// Returns whether one of them has a file of this name.
    #[must_use]
    pub fn has_file(&self, name: &[u8]) -> bool {
        self.0.iter().any(|served| served.root.has_file(name))
    }

    /// Returns whether one of them has the folder for a file of this name.
    #[must_use]
    pub fn has_folder_of(&self, name: &[u8]) -> bool {
        self.0.iter().any(|served| served.root.has_folder_of(name))
    }

    /// Returns the names that follow the path of a root at the beginning of this one.
    pub fn below<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'n [u8]> {
        self.0.iter().filter_map(move |served| served.root.below(name))
    }

    /// Returns the root of an upload: the first that has a file of this name, or else the first that has its folder, or else
    /// the first.
    fn of_upload(&self, name: &[u8]) -> Option<&'r Served> {
        let all = || self.0.iter().copied();
        let with_file = all().find(|served| served.root.has_file(name));
        let with_folder = || all().find(|served| served.root.has_folder_of(name));
        with_file.or_else(with_folder).or_else(|| all().next())
    }

    /// Finds the folder and the name of an upload, as [`Root::upload_target`] does, and its quota. Makes the folders that are
    /// missing if `makes_folders`.
    ///
    /// # Errors
    /// As [`Root::upload_target`] and [`Root::make_folders_of`].
    pub fn upload_target(
        &self,
        name: &[u8],
        if_exists: IfExists,
        makes_folders: bool,
    ) -> Result<(UploadTarget, Option<Rc<Quota>>), Error> {
        let served = self.of_upload(name).ok_or(Errno::ENOENT)?;
        if makes_folders && !served.root.has_folder_of(name) {
            if let Some(quota) = &served.quota {
                quota.check_folders_of(name)?;
            }
            served.root.make_folders_of(name)?;
        }
        Ok((served.root.upload_target(name, if_exists)?, served.quota.clone()))
    }
}

/// Formats the paths, for `--try`.
impl fmt::Display for RootsOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..).zip(&self.0).try_for_each(|(n, served)| {
            write!(f, "{}{}", if n == 0 { "" } else { ", " }, served.root.path().display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use testkit::TempDir;

    const FOLDERS: [&str; 4] = ["common", "ours", "theirs", "net"];

    fn roots(dir: &TempDir, of: &[(&str, &str)]) -> Roots {
        for folder in FOLDERS {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let value = |(address, folder): &(&str, &str)| {
            format!("{address}{}", dir.path().join(folder).display())
        };
        Roots::open(&of.iter().map(value).collect::<Vec<_>>(), None).unwrap()
    }

    fn order(roots: &Roots, local: &str, client: &str) -> Vec<String> {
        let of = roots.of(local.parse().unwrap(), client.parse().unwrap());
        let name = |served: &&Served| served.root.path().file_name().unwrap().to_owned();
        of.0.iter().map(|served| name(served).into_string().unwrap()).collect()
    }

    #[test]
    fn a_root_may_be_for_an_address_of_ours_or_of_clients() {
        let dir = TempDir::new();
        let roots = roots(
            &dir,
            &[
                ("", "common"),
                ("192.0.2.1=", "ours"),
                ("198.51.100.7=", "theirs"),
                ("198.51.100.0/24=", "net"),
            ],
        );
        assert_eq!(order(&roots, "192.0.2.2", "203.0.113.9"), ["common"]);
        assert_eq!(order(&roots, "192.0.2.1", "203.0.113.9"), ["ours", "common"]);
        assert_eq!(order(&roots, "192.0.2.2", "198.51.100.7"), ["theirs", "net", "common"]);
        assert_eq!(order(&roots, "192.0.2.2", "::ffff:198.51.100.8"), ["net", "common"]);
        assert_eq!(order(&roots, "192.0.2.1", "198.51.100.7"), ["ours", "net", "common"]);
        let none = super::Roots(Vec::new());
        let none = none.of([0; 4].into(), [0; 4].into());
        assert_eq!(
            none.open_source(b"x").unwrap_err().to_string(),
            "No folder for this address (ERROR 1)"
        );
    }

    #[test]
    fn a_folder_with_an_equals_sign_is_one() {
        for value in ["/srv/a=b", "a=/srv", "192.0.2.300=/srv", "=x"] {
            assert_eq!(Whose::parse(value), (Whose::All, value));
        }
        let v6 = "2001:db8::1".parse().unwrap();
        assert_eq!(Whose::parse("2001:db8::1=/a=b"), (Whose::Address(v6), "/a=b"));
    }

    #[test]
    fn roots_are_searched_in_order() {
        let dir = TempDir::new();
        let roots = roots(&dir, &[("", "ours"), ("", "common")]);
        dir.file("ours/both", "ours");
        dir.file("common/both", "common");
        dir.file("common/one", "common");
        fs::create_dir(dir.path().join("common/sub")).unwrap();
        let of = roots.of([127, 0, 0, 1].into(), [127, 0, 0, 1].into());
        let read = |name: &[u8]| {
            let mut text = String::new();
            let source = of.open_source(name);
            source.map(|mut source| source.read_to_string(&mut text).map(|_| text).unwrap())
        };
        assert_eq!(read(b"both").unwrap(), "ours");
        assert_eq!(read(b"one").unwrap(), "common");
        assert_eq!(read(b"none").unwrap_err().to_string(), "No such file or directory (ERROR 1)");
        let place = |name: &[u8]| {
            let (target, _) = of.upload_target(name, IfExists::Replace, false).unwrap();
            let mut folder = String::new();
            for named in FOLDERS {
                let is_same = fs::metadata(dir.path().join(named)).unwrap();
                let held =
                    std::fs::File::from(target.folder.try_clone().unwrap()).metadata().unwrap();
                use std::os::unix::fs::MetadataExt;
                if is_same.ino() == held.ino() {
                    folder = named.into();
                }
            }
            folder
        };
        assert_eq!(place(b"one"), "common", "where the file is");
        assert_eq!(place(b"new"), "ours", "the first with the folder");
        assert!(of.upload_target(b"sub/new", IfExists::Fail, false).is_ok());
        assert!(of.upload_target(b"nowhere/new", IfExists::Fail, false).is_err());
    }
}
