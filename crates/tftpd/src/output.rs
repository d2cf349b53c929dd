//! Where a file that tftpc fetches goes.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::commandline::STANDARD;
use crate::draft::{Draft, Existing};
use crate::interrupt::before_the_end;

/// Links that are followed to a file that is not there yet (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A file in the making, or a stream.
pub struct Output {
    to: To,
    octets: u64,
}

enum To {
    /// A file that appears when it is complete, and its name in its folder.
    File(Draft, Vec<u8>),
    /// Standard output, a device, a pipe: what can't be replaced.
    Stream(Box<dyn Write>),
}

impl Output {
    /// Begins a file for the name `local`, or opens the stream that it stands for.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(local: &str) -> io::Result<Output> {
        let to = if local == STANDARD {
            To::Stream(Box::new(io::stdout()))
        } else {
            file_or_device(Path::new(local))?
        };
        Ok(Output { to, octets: 0 })
    }

    /// The file is complete, unless the server has `announced` more octets.
    ///
    /// # Errors
    /// The file is shorter than that; what the system says.
    pub fn keep(self, announced: &Rc<Cell<Option<u64>>>) -> io::Result<()> {
        if let Some(announced) = announced.get().filter(|announced| *announced > self.octets) {
            let why = format!("{} octets of {announced} came", self.octets);
            return Err(io::Error::other(why));
        }
        match self.to {
            To::File(draft, name) => draft.publish(&name, Existing::Replace),
            To::Stream(mut stream) => stream.flush(),
        }
    }
}

fn file_or_device(local: &Path) -> io::Result<To> {
    let mut path = local.to_owned();
    let existing = match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => return Err(Errno::EISDIR.into()),
        Ok(meta) if !meta.is_file() => {
            return Ok(To::Stream(Box::new(File::options().write(true).open(path)?)));
        }
        Ok(meta) => {
            File::options().write(true).open(&path)?; // one that may not be written is not replaced
            path = fs::canonicalize(&path)?; // the file is replaced, not a link to it
            Some(meta.mode())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path = behind_links(path)?;
            None
        }
        Err(error) => return Err(error),
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?,
        _ => File::open(".")?,
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let draft = Draft::begin(folder.into())?;
    if let Some(hidden) = draft.hidden().map(<[u8]>::to_vec) {
        let folder = draft.folder().try_clone()?;
        before_the_end(move || {
            let _may_be_gone = unlinkat(&folder, &hidden[..], UnlinkatFlags::NoRemoveDir);
        })?;
    }
    if let Some(bits) = existing {
        draft.set_permissions(bits & 0o777)?;
    }
    Ok(To::File(draft, name.as_bytes().to_vec()))
}

/// The file that a link leads to and that is not there yet: the link stays, as open(2) would have it.
fn behind_links(mut path: PathBuf) -> io::Result<PathBuf> {
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        path.pop(); // a link counts from its own folder
        path.push(target);
    }
    Err(Errno::ELOOP.into())
}

impl Write for Output {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = match &mut self.to {
            To::File(draft, _) => draft.write(octets)?,
            To::Stream(stream) => stream.write(octets)?,
        };
        self.octets += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::File(draft, _) => draft.flush(),
            To::Stream(stream) => stream.flush(),
        }
    }
}
