//! An SMTP server (RFC 5321), one process per client, and its client.
