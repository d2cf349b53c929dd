//! Lines ended by CRLF, with limits.
