//! TFTP's netascii (RFC 1350 §1, RFC 764): LF <-> CR LF, CR <-> CR NUL.
