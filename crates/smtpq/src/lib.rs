//! smtpq: takes letters out of the queue and sends them to other servers (RFC 5321 §4.5.4.1), one process per
//! destination.
//!
//! ```text
//!  smtpq parent       scans the queue, knows what is due (Schedule), forks, reaps, removes what is done
//!   |- red.test, 3 letters     locks its letters, gives up all else, sends them over one connection
//!   |- author of 674b2f1a-...  notifies an author of what has become of a letter
//! ```

// The order of the modules; each imports from its left only:
//   options | destination | due schedule watch commands | bounce | deliver notify | runner

pub mod bounce;
pub mod commands;
pub mod deliver;
pub mod destination;
pub mod due;
pub mod notify;
pub mod options;
pub mod runner;
pub mod schedule;
pub mod watch;
