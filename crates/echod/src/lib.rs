//! The echo server of the slides (RFC 862) and its client.
