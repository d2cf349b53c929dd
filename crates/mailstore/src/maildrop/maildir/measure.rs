//! Measures a letter, which may be packed.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::compression::{Compression, MAGIC_LENGTH};
use crate::error::{Error, Result};
use crate::maildrop::letter_text::LetterText;
use crate::size_cache::{FileState, Measured, Notes};
use crate::wire_size::WireSize;

/// Size in bytes of a read: it holds most letters.
const BUFFER: usize = 16 * 1024;

/// Reads a letter to its end, in pieces of the buffer's length. One that cannot be unpacked has the size of its file, and
/// is logged.
///
/// # Errors
/// It cannot be read.
pub(super) fn measure(
    mut file: File,
    state: FileState,
    path: impl Fn() -> PathBuf,
    buffer: &mut Vec<u8>,
) -> Result<Measured> {
    let failed = |error: io::Error| Error::io("read", &path())(error);
    let mut notes = Notes::default();
    buffer.resize(BUFFER, 0);
    let refused = |why: &dyn Display| {
        log::warn!("{}: packed by another program, not sent: {why}", path().display());
        state.bytes
    };
    let start = match read(&mut file, buffer) {
        Ok(length) => buffer.get(..length).unwrap_or_default(),
        Err(error) => return Err(failed(error)),
    };
    let octets = match Compression::of(start) {
        None => {
            let mut size = WireSize::new();
            size.feed(start);
            // A short letter ends with the first read.
            if start.len() as u64 != state.bytes {
                size.feed_file(file, buffer).map_err(failed)?;
            }
            size.octets()
        }
        Some(Compression::Gzip) => {
            notes.is_packed = true;
            let unpacked = file.rewind().and_then(|()| WireSize::of_file(LetterText::packed(file)));
            match unpacked {
                Ok(octets) => octets,
                Err(error) if error.raw_os_error().is_some() => return Err(failed(error)),
                Err(error) => {
                    notes.is_refused = true;
                    refused(&error)
                }
            }
        }
        Some(Compression::Other(name)) => {
            notes.is_refused = true;
            refused(&format_args!("it is {name}"))
        }
    };
    Ok(Measured { state, octets, notes })
}

/// Reads once, and again where a signal came in between.
fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Returns how a letter is packed, `None` if it is text.
///
/// # Errors
/// It cannot be read.
pub(super) fn compression(file: &File) -> io::Result<Option<Compression>> {
    let mut start = [0; MAGIC_LENGTH];
    let count = file.read_at(&mut start, 0)?;
    Ok(Compression::of(start.get(..count).unwrap_or_default()))
}
