//! Delivery of what was fetched: into a Maildir, an mbox, a command, or a server of SMTP or LMTP.

// The order of the modules; each imports from its left only:
//   target delivery spool | maildir mbox mda smtp | (this file)

pub(crate) mod delivery;
mod maildir;
mod mbox;
mod mda;
mod smtp;
mod spool;

use std::time::Duration;

use forknet::Stop;
use smtpclient::Protocol;

use super::options::Fetch;
use super::status::Result;
use super::target::Target;
use delivery::Delivery;

/// Opens the place of a target.
///
/// # Errors
/// It cannot be opened or made.
pub(crate) fn open(fetch: &Fetch, stop: Stop, timeout: Duration) -> Result<Box<dyn Delivery>> {
    Ok(match &fetch.target {
        Target::Maildir(path) => Box::new(maildir::MaildirDelivery::open(path)?),
        Target::Mbox(path) => Box::new(mbox::MboxDelivery::new(path)),
        Target::Mda(command) => Box::new(mda::MdaDelivery::new(command)),
        Target::Smtp(place) => {
            Box::new(smtp::SmtpDelivery::new(place, Protocol::Smtp, fetch, (stop, timeout)))
        }
        Target::Lmtp(place) => {
            Box::new(smtp::SmtpDelivery::new(place, Protocol::Lmtp, fetch, (stop, timeout)))
        }
    })
}
