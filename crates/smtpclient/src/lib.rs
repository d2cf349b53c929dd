//! The client side of SMTP (RFC 5321) and LMTP (RFC 2033), blocking: what smtpq and smtpc send by, smtpd hands mail
//! to a server of LMTP by, and pop3c delivers by.
//!
//! ```text
//!  Mailer    letters for one destination: its hosts by MX, each by all its addresses, until one takes the letter
//!   |- Route    the hosts and addresses, each looked up when its turn comes
//!   |- Session  one connection: greeting, EHLO, STARTTLS, AUTH; then letter by letter MAIL, RCPT, DATA or BDAT
//! ```
//! Each recipient has an outcome of its own: a [`Delivered`], or a [`Failure`] that says how far the session had come,
//! what was waited for, whether to try again, and the codes for a report (RFC 3464) and for the shell (sysexits(3)).

// The order of the modules; each imports from its left only:
//   status | reply envelope letter | failure settings extensions route | connection | session | progress |
//   transaction | mailer

mod connection;
mod envelope;
mod extensions;
mod failure;
mod letter;
mod mailer;
mod progress;
mod reply;
mod route;
mod session;
mod settings;
mod status;
mod transaction;

pub use envelope::{Envelope, Recipient};
pub use extensions::Extensions;
pub use failure::{Delivered, Failure, Outcome, Result, Stage};
pub use letter::{Facts, FileLetter, Letter};
pub use mailer::Mailer;
pub use reply::{Enhanced, Malformed, Reply, ReplyLines};
pub use route::{Destination, Place, Route, Target};
pub use session::Session;
pub use settings::{EightBit, Login, Protocol, Settings, Show, Timeouts, TlsUse};
pub use status::Status;
