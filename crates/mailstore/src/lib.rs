//! Maildir, the POP3 maildrop and its lock, users and passwords.
