//! The rows of the options that pop3d and smtpd have in common. A daemon puts them into its own table, with
//! other words where it needs them: `Row { manual: "…", ..rows::MAIL }`.

use accounts::UsersFile;
use forknet::{Preset, Row};
use mailstore::MailPattern;

/// `--users`.
pub const USERS: Row = Row {
    name: "users",
    value: "FILE",
    excludes: "checkpassword",
    default: Preset::Value(UsersFile::DEFAULT),
    help: "users file, shaped like passwd(5); or system: passwd(5) itself",
    manual: "The users and their passwords, in the format of forklore-users(5). It must be \
        a regular file with one link, no symbolic link, that belongs to root or to the \
        user who starts the server, that only its owner may write to, and, with passwords \
        in it, that not every user may read. Read again at each login; which mechanisms are offered is found out at the start and at SIGHUP. A session has the \
        rights of the user id and group id in it, never those of root. `system` takes the \
        accounts of passwd(5) and shadow(5), which only root can read.",
    ..Row::EMPTY
};

/// `--checkpassword`.
pub const CHECKPASSWORD: Row = Row {
    name: "checkpassword",
    value: "PROGRAM",
    excludes: "auth-socket",
    help: "a program of checkpassword's interface that knows the users",
    manual: "Ask a program about passwords, by the interface of checkpassword: it is started for each login, with \
        its own arguments behind its absolute path, if there are any, reads name, password and a timestamp \
        from descriptor 3, each ended by a NUL, and runs what is behind its arguments as the user, with `USER` and \
        `HOME` set; that is this program again, which reports the user that it runs as. Exit code 0 accepts, 1 refuses, \
        any other is a temporary error, as is an answer that takes longer than 30 seconds. A user id 0 is refused.{own}",
    ..Row::EMPTY
};

/// `--auth-socket`.
pub const AUTH_SOCKET: Row = Row {
    name: "auth-socket",
    value: "PATH",
    excludes: "users",
    help: "the socket of a server of Dovecot's auth protocol that knows the users",
    manual: "Ask a server of Dovecot's auth protocol, version 1, over its UNIX-domain socket: so users come from \
        PAM, LDAP or SQL. Mechanisms of `AUTH` that send no password are passed on.{own}",
    ..Row::EMPTY
};

/// `--mail`.
pub const MAIL: Row = Row {
    name: "mail",
    value: "PATTERN",
    default: Preset::Value(MailPattern::DEFAULT),
    help: "where mail lies; ~ home, %u name",
    manual: "Where a user's Maildir is: '~' at the start is the home folder of the users \
        file, '%u' the user's name, '%%' a percent sign. `maildir:` before it changes nothing.{own}",
    ..Row::EMPTY
};

/// `--mail-user`.
pub const MAIL_USER: Row = Row {
    name: "mail-user",
    value: "U[:G]",
    help: "whose mailboxes are those of users without a user id",
    manual: "The user whose mailboxes are those of users that the accounts give no user id, never \
        root. Without it such users have none on a server of root's.",
    ..Row::EMPTY
};

/// `--names`.
pub const NAMES: Row = Row {
    name: "names",
    value: "HOW",
    default: Preset::Value("lower"),
    choices: &["lower", "as-is"],
    help: "how names are compared: lower or as-is",
    manual: "How names are compared: `lower` takes capitals as small letters, because \
        telephones capitalise, `as-is` does not.",
    ..Row::EMPTY
};

/// `--names-domain`.
pub const NAMES_DOMAIN: Row = Row {
    name: "names-domain",
    value: "HOW",
    default: Preset::Value("keep"),
    choices: &["cut", "keep"],
    help: "what becomes of the domain in a name: cut or keep",
    manual: "What becomes of `@` and a domain in a name: `cut` takes them away, for mail \
        programs that send the whole address, `keep` keeps them as a part of the name.",
    ..Row::EMPTY
};

/// `--plaintext`.
pub const PLAINTEXT: Row = Row {
    name: "plaintext",
    value: "WHO",
    default: Preset::Value("loopback"),
    choices: &["never", "loopback", "always"],
    help: "who may send a password in the clear: never, loopback or always",
    manual: "Which clients may send a password in the clear: `never` none, `loopback` those on this \
        machine, `always` every client.{own}",
    ..Row::EMPTY
};

/// `--channel-binding`.
pub const CHANNEL_BINDING: Row = Row {
    name: "channel-binding",
    help: "offer SCRAM-SHA-256-PLUS under TLS 1.3",
    manual: "Offer `SCRAM-SHA-256-PLUS`, a login that is bound to its connection of TLS 1.3, where a user could log in \
        by it. Without this option it is not offered: clients that take the strongest mechanism and cannot bind \
        it, as those with GNU SASL, would not log in at all.",
    ..Row::EMPTY
};

/// `--auth-delay`.
pub const AUTH_DELAY: Row = Row {
    name: "auth-delay",
    value: "S",
    default: Preset::Value("1"),
    help: "seconds from a failed login to its reply",
    manual: "Send the reply to a failed login <s> seconds after the command, from 0 to 60, \
        however long the check took. After ten failures within a minute from one address (of IPv6: from \
        one network of 64 bits) its logins are not checked, and get a temporary error after up to ten \
        seconds. After ten under one name a login of that name is checked after up to ten seconds, \
        and not at all from an address that has failed itself. Clients on this machine, and those of a proxy that \
        tells no address, count by the name alone.",
    ..Row::EMPTY
};

/// `--hash`.
pub const HASH: Row = Row {
    name: "hash",
    command_line_only: true,
    help: "read a password, print the field for the users file, and end",
    manual: "Read a password, print the field for the users file, and end. On a terminal \
        the password is asked for twice; else it is the first line of standard input.",
    ..Row::EMPTY
};

/// `--scheme`.
pub const SCHEME: Row = Row {
    name: "scheme",
    value: "SCHEME",
    default: Preset::Value("sha512"),
    choices: &["argon2id", "sha512", "yescrypt", "scram", "plain"],
    command_line_only: true,
    help: "what --hash writes: argon2id, sha512, yescrypt, scram or plain",
    manual: "What `--hash` writes: `sha512`, SHA-512 crypt with 50,000 rounds; `argon2id` and `yescrypt`, \
        which take 19 and 16 MiB for each login; `scram`, the keys for `AUTH SCRAM-SHA-256`, by which \
        passwords work too; `plain`, the password itself, which `APOP` and `AUTH CRAM-MD5` need.",
    ..Row::EMPTY
};
