//! A letter on its way: a file without a name.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use forknet::Error;
use nix::fcntl::OFlag;

use crate::client::status::{Failure, Result, Status};

/// A letter that is written once and read from its beginning.
#[derive(Debug)]
pub(crate) struct Spool {
    out: BufWriter<File>,
}

impl Spool {
    /// Opens a file in the folder for temporary files that no other process can open.
    pub(crate) fn new() -> Result<Spool> {
        let folder = std::env::temp_dir();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(OFlag::O_TMPFILE.bits())
            .open(&folder);
        let what = format!("temporary file in {}", folder.display());
        let file = file.map_err(Error::io(what)).map_err(Failure::because(Status::CannotCreate))?;
        Ok(Spool { out: BufWriter::new(file) })
    }

    /// Adds a piece.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.out.write_all(piece).map_err(failed)
    }

    /// Returns the file, to be read from its beginning.
    pub(crate) fn into_file(self) -> Result<File> {
        let mut file = self.out.into_inner().map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        Ok(file)
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::because(Status::Io)(Error::io("temporary file")(error))
}
