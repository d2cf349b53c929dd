//! A POP3 server (RFC 1939), one process per client, and its client.
