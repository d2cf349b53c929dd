//! Measures a letter, which may be packed.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::compression::{Compression, MAGIC_LENGTH};
use crate::error::{Error, Result};
use crate::maildrop::letter_text::LetterText;
use crate::size_cache::{FileState, Measured, Notes};
use crate::wire_size::WireSize;

/// Reads a letter to its end. One that cannot be unpacked has the size of its file, and is logged.
///
/// # Errors
/// It cannot be read.
pub(super) fn measure(file: File, state: FileState, path: &Path) -> Result<Measured> {
    let (mut notes, failed) = (Notes::default(), Error::io("read", path));
    let refused = |why: &dyn Display| {
        log::warn!("{}: packed by another program, not sent: {why}", path.display());
        state.bytes
    };
    let octets = match compression(&file) {
        Err(error) => return Err(failed(error)),
        Ok(None) => WireSize::of_file(file).map_err(failed)?,
        Ok(Some(Compression::Gzip)) => {
            notes.is_packed = true;
            match WireSize::of_file(LetterText::packed(file)) {
                Ok(octets) => octets,
                Err(error) if error.raw_os_error().is_some() => return Err(failed(error)),
                Err(error) => {
                    notes.is_refused = true;
                    refused(&error)
                }
            }
        }
        Ok(Some(Compression::Other(name))) => {
            notes.is_refused = true;
            refused(&format_args!("it is {name}"))
        }
    };
    Ok(Measured { state, octets, notes })
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
