//! The local file of a transfer. `-` is standard input or output.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use sys::fatal_signal;

use crate::files::atomic_file::{AtomicFile, IfExists};
use crate::files::block_reader::BlockReader;
use crate::files::source::Source;
use crate::wire::request::Mode;

/// The LOCAL operand for standard input or output.
pub const STDIO: &str = "-";
/// Bytes of one read(2) of a stream.
const BUFFER: usize = 64 * 1024;
/// Most symbolic links followed to a file that does not exist yet (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Input that can be read only once and may block: standard input, a pipe, a device.
#[derive(Debug)]
pub struct InputStream {
    /// The first bytes, read by [`InputStream::open`].
    head: Vec<u8>,
    rest: File,
}

impl InputStream {
    /// Opens `local` if it is not a regular file, and waits for the first `window` bytes or the end
    /// of input. A server that has granted an upload waits only seconds for the first blocks, which
    /// is too short for a slow pipe.
    ///
    /// # Errors
    /// The input is a directory, or a system call fails.
    pub fn open(local: &str, window: usize) -> io::Result<Option<InputStream>> {
        let rest = if local == STDIO {
            File::from(io::stdin().as_fd().try_clone_to_owned()?)
        } else {
            let file = File::open(local)?;
            let meta = file.metadata()?;
            if meta.is_dir() {
                return Err(Errno::EISDIR.into());
            }
            if meta.is_file() {
                return Ok(None);
            }
            file
        };
        let mut head = Vec::new();
        (&rest).take(window as u64).read_to_end(&mut head)?;
        Ok(Some(InputStream { head, rest }))
    }
}

/// A file to send, and its size in bytes on the wire if that is known.
pub type Input = (BlockReader<Box<dyn Read>>, Option<u64>);

/// Opens the stream, or otherwise the regular file `local`.
///
/// # Errors
/// A system call fails.
pub fn open_input(local: &str, stream: Option<&InputStream>, mode: Mode) -> io::Result<Input> {
    if let Some(InputStream { head, rest }) = stream {
        let rest = BufReader::with_capacity(BUFFER, rest.try_clone()?);
        let all = Cursor::new(head.clone()).chain(rest);
        return Ok((BlockReader::new(Box::new(all), mode), None));
    }
    let file = Source::new(File::open(local)?)?;
    let size = file.size().and_then(|size| mode.size_on_wire(size));
    Ok((BlockReader::regular_file(Box::new(file), mode), size))
}

/// A file to be written, or a stream.
pub struct Output {
    target: Target,
    /// Bytes written so far.
    written: u64,
}

enum Target {
    /// A file that appears once it is complete, and its name in its folder.
    File(AtomicFile, Vec<u8>),
    /// An output that can't be replaced: standard output, a device, a pipe.
    Stream(Box<dyn Write>),
}

impl Output {
    /// Creates the file `local`, or opens the stream that it names.
    ///
    /// # Errors
    /// A system call fails.
    pub fn create(local: &str) -> io::Result<Output> {
        let target = if local == STDIO {
            Target::Stream(Box::new(io::stdout()))
        } else {
            open_target(Path::new(local))?
        };
        Ok(Output { target, written: 0 })
    }

    /// Publishes the file, unless it is shorter than the size that the server `announced`.
    ///
    /// # Errors
    /// The file is shorter, or a system call fails.
    pub fn commit(self, announced: &Rc<Cell<Option<u64>>>) -> io::Result<()> {
        if let Some(announced) = announced.get().filter(|announced| *announced > self.written) {
            let why = format!("{} octets of {announced} came", self.written);
            return Err(io::Error::other(why));
        }
        match self.target {
            Target::File(file, name) => file.publish(&name, IfExists::Replace).map(drop),
            Target::Stream(mut stream) => stream.flush(),
        }
    }
}

fn open_target(local: &Path) -> io::Result<Target> {
    let mut path = local.to_owned();
    let existing = match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => return Err(Errno::EISDIR.into()),
        Ok(meta) if !meta.is_file() => {
            return Ok(Target::Stream(Box::new(File::options().write(true).open(path)?)));
        }
        Ok(meta) => {
            File::options().write(true).open(&path)?; // protects a file without write permission
            path = fs::canonicalize(&path)?; // replaces the file, not a link to it
            Some(meta.mode())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path = follow_links(path)?;
            None
        }
        Err(error) => return Err(error),
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?,
        _ => File::open(".")?,
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let file = AtomicFile::create(folder.into())?;
    if let Some(temp_name) = file.temp_name().map(<[u8]>::to_vec) {
        fatal_signal::remove(file.folder().try_clone()?, temp_name)?;
    }
    if let Some(mode) = existing {
        file.copy_permissions(mode)?;
    }
    Ok(Target::File(file, name.as_bytes().to_vec()))
}

/// Returns the missing file that a symbolic link points to. The link stays, as with open(2).
fn follow_links(mut path: PathBuf) -> io::Result<PathBuf> {
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        path.pop(); // a link is relative to its own folder
        path.push(target);
    }
    Err(Errno::ELOOP.into())
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.target {
            Target::File(file, _) => file.write(bytes)?,
            Target::Stream(stream) => stream.write(bytes)?,
        };
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::File(file, _) => file.flush(),
            Target::Stream(stream) => stream.flush(),
        }
    }
}
