//! The rows of smtpc's options.

use forknet::{Preset, Row};

/// The program's name.
pub const NAME: &str = "smtpc";

/// What `--help` has before the options.
pub const USAGE: &str = "Usage: smtpc [-s HOST[:PORT]] [-f FROM] [OPTION]... TO...
Sends the letter on standard input to the addresses TO: by the server of -s, or
else to the hosts that take the mail of each domain (MX). With --queue it goes
into the queue. Called as sendmail, smtpc takes that program's options.

The letter goes as it is; no header field is added. A name without a domain
gets the name of --helo as its domain. Exit status: 0 when the letter was taken
for every recipient; else as sysexits(3) has it: 75 may be tried again, 67 no
such user, 68 no such host, 69 refused, 77 login refused, 64 wrong usage, 78
wrong configuration.";

/// The options.
pub const OPTIONS: &[Row] = &[
    Row {
        name: "server",
        short: "s",
        value: "HOST[:PORT]",
        help: "the server; port 25 unless told (default: by MX)",
        manual: "The server; its port is 25 unless one is given. Without this option the name server is asked \
            for the hosts that take the mail of each recipient's domain (MX, RFC 5321, 5.1): they are tried in their \
            order, equal ones in an order of chance, each by all its addresses, up to ten. A domain without an MX \
            takes its mail itself.",
        ..Row::EMPTY
    },
    Row {
        name: "resolver",
        value: "ADDR[:PORT]",
        default: Preset::Rule("the system's"),
        help: "the name server that is asked for MX",
        manual: "The name server that is asked, an IP address with or without a port, without `-s`. The default is the \
            system's, of resolv.conf(5).",
        ..Row::EMPTY
    },
    Row {
        name: "port",
        value: "N",
        default: Preset::Value("25"),
        help: "the port of the hosts that MX names",
        manual: "The port of the hosts that were found by MX. Another one than 25 is for trials.",
        ..Row::EMPTY
    },
    Row {
        name: "from",
        short: "f",
        value: "FROM",
        help: "the sender (default USER@HELO); '' is none",
        manual: "The sender, in the envelope; an empty one or `<>` is none, as for reports. The \
            default is <user>@<helo>: the name of the user who calls, and that of `--helo`.",
        ..Row::EMPTY
    },
    Row {
        name: "helo",
        value: "NAME",
        default: Preset::Rule("the machine's"),
        help: "our name",
        manual: "Our name, a domain or an address literal.",
        ..Row::EMPTY
    },
    Row {
        name: "hostname",
        value: "NAME",
        help: "the same as --helo",
        manual: "The same as `--helo`.",
        ..Row::EMPTY
    },
    Row {
        name: "starttls",
        excludes: "tls",
        help: "begin TLS by STARTTLS, or give up",
        manual: "Begin TLS by `STARTTLS` (RFC 3207). If the server does not offer it, or its certificate is \
            not trusted or for another name than that of `-s`, or of the host that was found by MX, nothing is sent. \
            Without this option, hosts found by MX are spoken to under TLS where they offer it, with any certificate, \
            and in the clear where the handshake fails; where DNS has secure TLSA records of the host (DANE, RFC 7672; \
            the name server says that it has checked their signatures), only under TLS, with a certificate that \
            they name.",
        ..Row::EMPTY
    },
    Row {
        name: "tls",
        excludes: "starttls",
        help: "begin with TLS; port 465 unless told",
        manual: "Begin with a TLS handshake, at port 465 unless one is given; certificates as with \
            `--starttls`.",
        ..Row::EMPTY
    },
    tls::rows::CA_FILE,
    Row {
        name: "user",
        short: "u",
        value: "USER",
        help: "log in as USER before the letter is sent",
        manual: "Log in as <user> before the letter is sent. If that fails, nothing is sent.",
        ..Row::EMPTY
    },
    Row {
        name: "password-file",
        value: "FILE",
        help: "the password of -u is the first line of FILE",
        manual: "The password of `-u` is the first line of <file>; without it the terminal is asked. A \
            warning says so when others may read the file.",
        ..Row::EMPTY
    },
    Row {
        name: "sasl",
        value: "MECH",
        default: Preset::Value("auto"),
        help: "the SASL mechanism of -u; auto: the strongest of both sides",
        manual: "The mechanism of `-u`: `PLAIN`, `LOGIN`, `CRAM-MD5`, `SCRAM-SHA-256` or \
            `SCRAM-SHA-256-PLUS`, which needs TLS 1.3; `auto` takes the strongest that the server offers. \
            One that sends the password is used only under TLS or on this machine.",
        ..Row::EMPTY
    },
    Row {
        name: "queue",
        value: "DIR",
        help: "put the letter into this queue",
        manual: "Put the letter into the queue <dir> of smtpq(8), which must be the caller's own; root puts it in as the \
            queue's owner. It is on the disk there when {Nm} ends with 0. A line in the file of `--config` is for \
            sendmail(1) alone.",
        ..Row::EMPTY
    },
    Row {
        name: "config",
        value: "FILE",
        command_line_only: true,
        help: "read options from FILE",
        manual: "Read options from <file>, one a line, as on the command line without the dashes. The default is \
            ~/.config/forklore/smtpc.conf, or else /etc/forklore/smtpc.conf. The command line wins; with `-s`, \
            `--resolver` or `--port` on it nothing in the file about a server and its account counts.",
        ..Row::EMPTY
    },
    Row {
        name: "timeout",
        short: "t",
        value: "S",
        help: "limit of every wait, seconds (default: as RFC 5321)",
        manual: "The limit of every wait, in seconds; a fraction is allowed. The default is as RFC \
            5321 has it: 5 minutes for the greeting and the envelope, 2 for \
            `DATA`, 3 for each block of the letter, 10 for the answer to its end; half a minute for the connection to one \
            address.",
        ..Row::EMPTY
    },
    Row {
        name: "verbose",
        short: "v",
        help: "show the dialogue on standard error",
        manual: "Show the dialogue on standard error; a letter of more than 4096 bytes is only \
            mentioned.",
        ..Row::EMPTY
    },
];
