//! Files of certificates and keys, in PEM (RFC 7468).

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Result};

/// Most certificates of a chain.
const MAX_CHAIN: usize = 16;
/// Most certificates of authorities.
const MAX_AUTHORITIES: usize = 4096;

/// The two files of a server's identity: `--tls-cert` and `--tls-key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The server's certificate, and after it those that lead to one that clients know.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Reads a chain of certificates, the server's own first.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    read_certificates(path, MAX_CHAIN)
}

/// Reads the certificates of authorities.
pub(crate) fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    read_certificates(path, MAX_AUTHORITIES)
}

fn read_certificates(path: &Path, most: usize) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(path, &error))?;
    let found: std::result::Result<Vec<_>, _> = certificates.take(most + 1).collect();
    let found = found.map_err(|error| wrong(path, &error))?;
    match found.len() {
        0 => Err(Error::file("certificate", path)("no certificate in it")),
        count if count <= most => Ok(found),
        _ => Err(Error::file("certificate", path)(format!("more than {most} certificates"))),
    }
}

/// Reads a private key: PKCS #8, PKCS #1 (RSA) or SEC 1 (EC).
pub(crate) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    check_rights(path)?;
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => Error::file("key", path)("no private key in it"),
        error => Error::file("key", path)(reason(&error)),
    })
}

/// Refuses a key that is no secret: one that users other than its owner and group may read or write.
fn check_rights(path: &Path) -> Result<()> {
    let metadata = path.metadata().map_err(pem::Error::Io);
    let mode = metadata.map_err(|error| Error::file("key", path)(reason(&error)))?.mode();
    if mode & 0o006 == 0 {
        return Ok(());
    }
    Err(Error::file("key", path)("other users may read or write it (chmod o-rw)"))
}

fn wrong(path: &Path, error: &pem::Error) -> Error {
    Error::file("certificate", path)(reason(error))
}

/// The reason in words; that of an I/O error without Rust's number.
fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) if error.kind() == ErrorKind::NotFound => {
            "No such file or directory".to_owned()
        }
        pem::Error::Io(error) => {
            let text = error.to_string();
            text.split_once(" (os error ").map_or(text.clone(), |(words, _)| words.to_owned())
        }
        error => format!("not PEM: {error}"),
    }
}
