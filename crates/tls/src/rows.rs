//! The rows of options: a server's, and a client's.

use forknet::Row;

/// `--tls-cert`.
pub const CERT: Row = Row {
    name: "tls-cert",
    value: "FILE",
    repeats: true,
    help: "the certificate chain of TLS, in PEM; with --tls-key, repeatable",
    manual: "Offer TLS 1.2 and 1.3 with the certificate in <file>, in PEM, behind it those that lead to \
        an authority that clients know. Given several times, each with a `--tls-key`, the name that a \
        client asks for chooses (SNI), and the first is for all others. SIGHUP reads the files again; \
        if something is wrong with them, the log says what, and the old ones go on.",
    ..Row::EMPTY
};

/// `--tls-key`.
pub const KEY: Row = Row {
    name: "tls-key",
    value: "FILE",
    repeats: true,
    help: "the private key of --tls-cert, in PEM",
    manual: "The private key of the `--tls-cert` with the same number, in PEM, without a passphrase: PKCS #8, \
        PKCS #1 or SEC 1. It is read before any right is given up, by a process that does nothing but \
        sign, and refused where other users may read or write it.",
    ..Row::EMPTY
};

/// `--tls-listen`.
pub const LISTEN: Row = Row {
    name: "tls-listen",
    value: "ADDR",
    repeats: true,
    help: "listen for clients who begin with TLS; as -l",
    manual: "Listen on <addr>, in the forms of `-l`, for clients who begin with a TLS handshake. The log \
        tells each with `(tls)` behind it. May be given several times.",
    ..Row::EMPTY
};

/// `--ca-file`.
pub const CA_FILE: Row = Row {
    name: "ca-file",
    value: "FILE",
    help: "trust the authorities in FILE, in PEM, instead of the system's",
    manual: "Trust the authorities whose certificates are in <file>, in PEM, instead of those of the \
        system.",
    ..Row::EMPTY
};
