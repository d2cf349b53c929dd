//! Where a file that tftpc sends comes from.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::commandline::STANDARD;
use crate::content::Blocks;
use crate::negotiation::size_in;
use crate::packet::Mode;
use crate::source::Source;

/// Octets read of a stream at a time.
const BUFFER: usize = 64 * 1024;

/// Standard input, a pipe, a device: what can be read but once, and may keep its reader waiting.
#[derive(Debug)]
pub struct Stream {
    /// Its beginning.
    head: Vec<u8>,
    rest: File,
}

impl Stream {
    /// Opens `local`, where that is no regular file, and waits until so many octets have come, or all: a
    /// server that has granted an upload waits for its first blocks for seconds, not for a slow pipe.
    ///
    /// # Errors
    /// It is a folder; what the system says.
    pub fn open(local: &str, window: usize) -> io::Result<Option<Stream>> {
        let rest = if local == STANDARD {
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
        Ok(Some(Stream { head, rest }))
    }
}

/// A file to be sent, and how many octets of it will travel, where that is known.
pub type Input = (Blocks<Box<dyn Read>>, Option<u64>);

/// Begins with the stream, or else with the regular file `local`.
///
/// # Errors
/// What the system says.
pub fn begin(local: &str, stream: Option<&Stream>, mode: Mode) -> io::Result<Input> {
    if let Some(Stream { head, rest }) = stream {
        let rest = BufReader::with_capacity(BUFFER, rest.try_clone()?);
        let all = Cursor::new(head.clone()).chain(rest);
        return Ok((Blocks::new(Box::new(all), mode), None));
    }
    let file = Source::new(File::open(local)?)?;
    let size = file.size().and_then(|size| size_in(mode, size));
    Ok((Blocks::ahead(Box::new(file), mode), size))
}
