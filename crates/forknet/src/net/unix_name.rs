//! Names of UNIX-domain sockets.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::socket::UnixAddr;

use crate::text::printable;

/// Bytes of sun_path without the NUL that ends it (unix(7)).
const MAX_NAME: usize = 107;

/// The value after `unix:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixName {
    /// A file in the file system.
    Path(PathBuf),
    /// `@NAME`: a name of Linux's abstract namespace, which is no file and ends with its socket.
    /// Every user of the machine can connect (unix(7), "Abstract sockets").
    Abstract(Vec<u8>),
}

impl UnixName {
    /// Reads a path, made absolute, or `@NAME`. A file whose name begins with @ is `./@NAME`.
    ///
    /// # Errors
    /// The reason why the text is no such name: it is empty, or too long for a socket's address.
    pub fn parse(text: &str) -> Result<UnixName, String> {
        let name = match text.strip_prefix('@') {
            Some(name) => UnixName::Abstract(name.as_bytes().to_vec()),
            None if text.is_empty() => return Err("no path".into()),
            None => UnixName::Path(std::path::absolute(text).map_err(|e| e.to_string())?),
        };
        match name.bytes().len() {
            0 => Err("no name behind the @".into()),
            _ if text.contains('\0') => Err("a name holds no NUL".into()),
            length if length > MAX_NAME => {
                Err(format!("{length} octets are too long for a socket, {MAX_NAME} fit"))
            }
            _ => Ok(name),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            UnixName::Path(path) => path.as_os_str().as_bytes(),
            UnixName::Abstract(name) => name,
        }
    }

    /// Returns the file, if it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            UnixName::Path(path) => Some(path),
            UnixName::Abstract(_) => None,
        }
    }

    pub(crate) fn address(&self) -> nix::Result<UnixAddr> {
        match self {
            UnixName::Path(path) => UnixAddr::new(path.as_path()),
            UnixName::Abstract(name) => UnixAddr::new_abstract(name),
        }
    }

    /// Reads a name from the kernel; `None` for a socket that is not bound.
    pub(crate) fn from_address(address: &UnixAddr) -> Option<UnixName> {
        let path = address.path().map(|path| UnixName::Path(path.to_owned()));
        path.or_else(|| address.as_abstract().map(|name| UnixName::Abstract(name.to_vec())))
    }
}

/// Escapes what does not print, because a client may choose its own name.
impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self, UnixName::Abstract(_)) {
            f.write_str("@")?;
        }
        f.write_str(&printable(self.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_absolute_and_an_abstract_name_stays() {
        assert!(UnixName::parse("x").unwrap().path().unwrap().is_absolute());
        assert_eq!(UnixName::parse("@x").unwrap(), UnixName::Abstract(b"x".to_vec()));
        assert!(UnixName::parse("./@x").unwrap().to_string().ends_with("/@x"));
    }

    #[test]
    fn a_name_too_long_for_an_address_is_refused() {
        let long = format!("/{}", "x".repeat(MAX_NAME - 1));
        assert!(UnixName::parse(&long).unwrap().address().is_ok());
        let why = UnixName::parse(&format!("{long}x")).unwrap_err();
        assert_eq!(why, "108 octets are too long for a socket, 107 fit");
        for (text, why) in [("", "no path"), ("@", "no name"), ("/a\0b", "NUL")] {
            assert!(UnixName::parse(text).unwrap_err().contains(why), "{text:?}");
        }
    }

    #[test]
    fn a_name_from_the_kernel_is_shown_without_its_control_characters() {
        let name = UnixName::from_address(&UnixAddr::new_abstract(b"a\x1b\0b").unwrap()).unwrap();
        assert_eq!(name.to_string(), "@a\\u{1b}\\u{0}b");
        assert_eq!(UnixName::from_address(&UnixAddr::new_unnamed()), None);
    }
}
