//! Maildir, mbox, the POP3 maildrop and its lock, aliases.
//!
//! The SMTP server stores a letter in a [`Maildir`] ([`Draft`], [`Synced`], [`Published`]). The
//! POP3 server lists, reads and removes the letters of a [`Maildrop`]. Both find a user's mail by
//! [`MailPattern`], and work in it by the descriptor of a [`Folder`]. The POP3 client appends to an mbox. Letters
//! for other servers are in a [`Queue`].

// The order of the modules; each imports from its left only:
//   error | mail_pattern durable_dir file_name wire_size compression remote_fs sweep |
//   folder | aliases session_lock dovecot_lock size_cache id_list | maildir mbox queue | maildrop

mod aliases;
mod compression;
mod dovecot_lock;
mod durable_dir;
mod error;
mod file_name;
mod folder;
mod id_list;
mod mail_pattern;
mod maildir;
mod maildrop;
mod mbox;
mod queue;
mod remote_fs;
mod session_lock;
mod size_cache;
mod sweep;
mod wire_size;

pub use aliases::{
    AliasTarget, Aliases, Fault, Found, Included, MAX_TARGETS, Problem, read_include, targets,
};
pub use durable_dir::durable_create_dir;
pub use error::{Error, Result, is_full};
pub use file_name::prepare;
pub use folder::{Folder, Walked};
pub use mail_pattern::{MailKind, MailPattern};
pub use maildir::{Draft, Maildir, Published, SafeMaildirs, Synced};
pub use maildrop::{LetterText, LockedMbox, MaildirOptions, Maildrop, Removal, UniqueIds};
pub use mbox::append::{append_to_mbox, try_mbox};
pub use mbox::index::MboxIds;
pub use mbox::spool::Spool;
pub use mbox::spool_line::{SpoolAt, SpoolLine, serve as serve_spool};
pub use queue::{
    LockedLetter, Queue, QueueDraft, QueueEnvelope, QueueRecipient, QueuedDraft, QueuedLetter,
    RecipientState, RunnerLock, Stage, UnderWay,
};
pub use wire_size::WireSize;
