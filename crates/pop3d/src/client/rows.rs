//! The client's options and the words of its command line.

use forknet::{Preset, Row};

/// What `--help` says before the options.
pub(crate) const USAGE: &str = "Usage: pop3c [OPTION]... [ACCOUNT]...
       pop3c [OPTION]... HOST[:PORT]|ACCOUNT COMMAND
Reads mail by POP3 (RFC 1939). Without a command: fetches the mail of the
accounts in ~/.pop3crc that are named, or of all.

Commands:
    stat        how many messages there are, and how many octets
    list        number and size of each message
    uidl        number and unique id of each message
    get N       message N to standard output
    top N K     its header and K lines of its body
    dele N      removes message N
    fetch [TO]  stores each message not stored before, as --deliver TO

The password comes from the accounts file, --password-file, --password-command,
or is asked for on the terminal, or is the first line of standard input where
that is no terminal.";

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "rc",
        value: "FILE",
        default: Preset::Rule("`~/.pop3crc`"),
        command_line_only: true,
        help: "the accounts file",
        manual: "Read the accounts from <file>. It must belong to the user, and no other user may read or write it.",
        ..Row::EMPTY
    },
    Row {
        name: "user",
        short: "u",
        value: "USER",
        default: Preset::Rule("the login name"),
        help: "whose mail",
        manual: "Whose mail.",
        ..Row::EMPTY
    },
    Row {
        name: "password-file",
        value: "FILE",
        excludes: "password-command",
        help: "the password is the first line of FILE",
        manual: "The password is the first line of <file>. A warning says so when others may read \
            it.",
        ..Row::EMPTY
    },
    Row {
        name: "password-command",
        value: "COMMAND",
        excludes: "password-file",
        help: "the password is the first line that COMMAND prints",
        manual: "The password is the first line that <command> prints, which sh(1) runs, with the terminal as its standard input and five minutes to end.",
        ..Row::EMPTY
    },
    Row {
        name: "apop",
        value: "WHEN",
        default: Preset::Value("auto"),
        choices: &["auto", "always", "never"],
        help: "auto: where the server offers it; always; never",
        manual: "Use `APOP` where the server offers it (`auto`), `always`, or `never`. With \
            `always` there is no login without it.",
        ..Row::EMPTY
    },
    Row {
        name: "sasl",
        value: "MECH",
        help: "log in by this SASL mechanism; auto: the strongest of both sides",
        manual: "Log in by `AUTH` with the mechanism <mech>: `PLAIN`, `LOGIN`, `CRAM-MD5`, \
            `SCRAM-SHA-256` or `SCRAM-SHA-256-PLUS`, which needs TLS 1.3; `auto` takes the strongest that \
            the server offers. One that sends the password is used only under TLS or on this machine. \
            With SCRAM the server, too, proves that it knows the user.",
        ..Row::EMPTY
    },
    Row {
        name: "stls",
        excludes: "tls",
        help: "begin TLS by STLS, or give up",
        manual: "Begin TLS by `STLS` (RFC 2595) before anything else is sent. If the server does not offer it, \
            or its certificate is not trusted or for another name than <host>, that is the end.",
        ..Row::EMPTY
    },
    Row {
        name: "tls",
        excludes: "stls",
        help: "begin with TLS; port 995 unless told",
        manual: "Begin with a TLS handshake, at port 995 unless <port> is given; certificates as with \
            `--stls`.",
        ..Row::EMPTY
    },
    tls::rows::CA_FILE,
    Row {
        name: "timeout",
        short: "t",
        value: "S",
        default: Preset::Value("60"),
        help: "seconds the server may be silent",
        manual: "Wait at most <s> seconds for the connection, and for each word of the server. A \
            fraction is allowed.",
        ..Row::EMPTY
    },
    Row {
        name: "deliver",
        value: "TO",
        help: "fetch: DIR, mbox:FILE, mda:COMMAND, smtp:HOST or lmtp:HOST",
        manual: "Where `fetch` stores letters: the Maildir <dir> or `maildir:`<dir>, made if it is not there; `mbox:`<file>, locked by fcntl(2) and <file>`.lock`; `mda:`<command>, run by sh(1) with the letter as its standard input; `smtp:`<host>[`:`<port>] (port 25), `lmtp:`<host>[`:`<port>] (port 24), or `unix:`<path> in place of the host. `~/` is the home.",
        ..Row::EMPTY
    },
    Row {
        name: "mail-from",
        value: "ADDR",
        default: Preset::Rule("the empty one"),
        help: "the sender that smtp: and lmtp: are given",
        manual: "The address of `MAIL FROM` for `smtp:` and `lmtp:`. With the empty one, which is the default, no failure is reported.",
        ..Row::EMPTY
    },
    Row {
        name: "rcpt-to",
        value: "ADDR",
        default: Preset::Rule("the user"),
        help: "the recipient that smtp: and lmtp: are given",
        manual: "The address of `RCPT TO` for `smtp:` and `lmtp:`.",
        ..Row::EMPTY
    },
    Row {
        name: "delete",
        excludes: "keep",
        help: "fetch: remove from the server what is safely stored here",
        manual: "With `fetch`: remove from the server what is safely stored here. Of messages that \
            share one unique ID none is removed that was stored by an earlier run.",
        ..Row::EMPTY
    },
    Row {
        name: "keep",
        excludes: "delete",
        help: "fetch: leave all on the server (the default)",
        manual: "With `fetch`: leave everything on the server. This is the default.",
        ..Row::EMPTY
    },
    Row {
        name: "delete-after",
        value: "DAYS",
        excludes: "keep",
        help: "fetch: remove what was stored here DAYS days ago",
        manual: "With `fetch`: remove from the server what was stored here <days> days ago or longer.",
        ..Row::EMPTY
    },
    Row {
        name: "max-size",
        value: "BYTES",
        help: "fetch: leave larger messages",
        manual: "With `fetch`: leave messages that are larger than <bytes>, as `LIST` has their sizes.",
        ..Row::EMPTY
    },
    Row {
        name: "min-size",
        value: "BYTES",
        help: "fetch: leave smaller messages",
        manual: "With `fetch`: leave messages that are smaller than <bytes>.",
        ..Row::EMPTY
    },
    Row {
        name: "max-age",
        value: "DAYS",
        help: "fetch: leave messages with an older Date",
        manual: "With `fetch`: leave messages whose `Date:` is more than <days> days ago. The header is asked for with `TOP`; a message without a date that can be read, or from a server without `TOP`, counts as new.",
        ..Row::EMPTY
    },
    Row {
        name: "min-age",
        value: "DAYS",
        help: "fetch: leave messages with a later Date",
        manual: "With `fetch`: leave messages whose `Date:` is less than <days> days ago, and those that have none.",
        ..Row::EMPTY
    },
    Row {
        name: "max-letters",
        value: "N",
        help: "fetch: store at most N messages in this run",
        manual: "With `fetch`: store at most <n> messages of an account in this run; the next one goes on.",
        ..Row::EMPTY
    },
    Row {
        name: "ids",
        value: "DIR",
        help: "fetch: remember unique ids in DIR",
        manual: "With `fetch`: remember the unique IDs of what was stored in the folder <dir>, which is made if it is not there. See FILES for where they are without it.",
        ..Row::EMPTY
    },
    Row {
        name: "check",
        command_line_only: true,
        help: "fetch: say how many messages are new, and fetch none",
        manual: "With `fetch`: print how many messages are new and how many octets they have, and fetch none.",
        ..Row::EMPTY
    },
    Row {
        name: "quiet",
        short: "q",
        excludes: "verbose",
        help: "no summary, no progress; errors only",
        manual: "Print errors alone, as cron(8) wants it.",
        ..Row::EMPTY
    },
    Row {
        name: "verbose",
        short: "v",
        excludes: "quiet",
        help: "show the dialogue, passwords masked",
        manual: "Show the dialogue on standard error, passwords masked.",
        ..Row::EMPTY
    },
];
