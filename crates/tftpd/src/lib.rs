//! A TFTP server (RFC 1350), one process per transfer, and its client.
