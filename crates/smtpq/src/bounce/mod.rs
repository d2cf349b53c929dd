//! Notifications to the author of a letter: what could not be delivered, and what takes long (RFC 3464).
