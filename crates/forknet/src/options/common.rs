//! The options that every daemon has, and those that every program has.
//!
//! A new one is a row here and its use in [`crate::options::read`].

use crate::net::transport::Transport;
use crate::options::row::Preset::{Rule, Value};
use crate::options::row::Row;

const HELP: Row = Row {
    name: "help",
    short: "h",
    command_line_only: true,
    help: "print this help",
    manual: "Print a summary of the options and exit.",
    ..Row::EMPTY
};
const VERSION: Row = Row {
    name: "version",
    short: "V",
    command_line_only: true,
    help: "print the version",
    manual: "Print the version, and whether the program is linked statically, and exit.",
    ..Row::EMPTY
};

/// The rows of a client.
pub(crate) fn of_clients() -> Vec<Row> {
    vec![HELP, VERSION]
}

/// The rows of a daemon, in the order of `--help`.
pub(crate) fn of_daemons(transport: Transport) -> Vec<Row> {
    if transport == Transport::Jobs {
        return [JOB_LIMITS, REST, &[HELP, VERSION]].concat();
    }
    let is_datagram = transport == Transport::Datagram;
    let addresses = match transport {
        Transport::Stream => LISTEN,
        Transport::StreamAndDatagram => LISTEN_DATAGRAMS_TOO,
        Transport::Datagram | Transport::Jobs => LISTEN_DATAGRAMS,
    };
    let models = if is_datagram { &[][..] } else { &[MODEL, WORKERS] };
    let limits = if is_datagram { DATAGRAM_LIMITS } else { STREAM_LIMITS };
    [&[addresses][..], models, limits, REST, &[HELP, VERSION]].concat()
}

const LISTEN: Row = Row {
    name: "listen",
    short: "l",
    value: "ADDR",
    default: Value("*:{port}"),
    repeats: true,
    help: "{forms}; port 0 = any; repeatable",
    manual: "Listen on <addr>, one of `<host>:<port>`, `[<v6>]:<port>`, `*:<port>` for every \
        address of both families, or `unix:<path>`. A name with several addresses is served on \
        each; a link-local address names its interface, as in `[fe80::1%eth0]:{port}`. A stale \
        socket file is replaced, and one with a server behind it is not; the umask says who may \
        connect. `unix:@<name>` is a name of the abstract namespace, without a file. Port 0 is any \
        free one; the log tells which. May be given several times.",
    ..Row::EMPTY
};
const LISTEN_DATAGRAMS_TOO: Row = Row {
    manual: "Listen on <addr>, one of `<host>:<port>`, `[<v6>]:<port>`, `*:<port>` for every \
        address of both families, `unix:<path>`, or `unix-dgram:<path>` for UNIX-domain datagrams. \
        A name with several addresses is served on each; a link-local address names its interface, \
        as in `[fe80::1%eth0]:{port}`. A stale socket file is replaced, and one with a server \
        behind it is not; the umask says who may connect. `unix:@<name>` is a name of the abstract \
        namespace, without a file. Port 0 is any free one; the log tells which. May be given \
        several times.",
    ..LISTEN
};
const LISTEN_DATAGRAMS: Row = Row {
    manual: "Listen on <addr>, one of `<host>:<port>`, `[<v6>]:<port>`, or `*:<port>` for every \
        address of both families. A name with several addresses is served on each; a link-local \
        address names its interface, as in `[fe80::1%eth0]:{port}`. Port 0 is any free one; the \
        log tells which. May be given several times.",
    ..LISTEN
};

const MODEL: Row = Row {
    name: "model",
    short: "m",
    value: "MODEL",
    default: Value("fork"),
    choices: &["fork", "prefork", "thread", "iterative"],
    help: "fork, prefork, thread or iterative",
    manual: "How clients are served: `fork`, a process for each; `prefork`, processes forked in \
        advance that each serve one client after the other; `thread`, a thread for each, in one \
        process; `iterative`, one client after the other, in one process. {own} See forklore(7).",
    ..Row::EMPTY
};
const WORKERS: Row = Row {
    name: "workers",
    short: "n",
    value: "N",
    default: Value("8"),
    help: "prefork children",
    manual: "The processes of the prefork model; never more than `-c`.",
    ..Row::EMPTY
};

const STREAM_LIMITS: &[Row] = &[
    MAX_CLIENTS,
    MAX_PER_IP,
    Row {
        choices: &["busy", "queue"],
        help: "busy (say so) or queue (let wait): clients over the limit",
        manual: "What a client over the limit of `-c` meets with: `busy`, {own}; or `queue`, it \
            waits in the queue of the listener until there is a place.",
        ..OVER
    },
    Row {
        help: "connections an address may make in S seconds",
        manual: "Serve at most <n> connections that one address makes within <s> seconds, counted \
            from the first of them; those beyond are refused as by `--over busy`.",
        ..RATE
    },
    Row {
        name: "proxy-from",
        value: "CIDR",
        repeats: true,
        default: Rule("nobody"),
        help: "who must say PROXY (version 1 or 2) before the client speaks: networks, or unix",
        manual: "Take the address of a client from the PROXY protocol (version 1 or 2) where the connection \
            comes from a proxy such as haproxy(1) in this network: an address, `<address>/<bits>`, or \
            `unix` for all clients of UNIX-domain sockets. Such a connection must begin with a header, \
            within 10 seconds, and is refused otherwise; one from elsewhere that begins with one is refused \
            too. Limits, permissions, log and ps(1) then go by the address of the header, which is \
            never loopback. May be given several times. See forklore(7).",
        ..Row::EMPTY
    },
    Row {
        manual: "End a session whose client says nothing, or takes nothing, for <s> seconds. One \
            that says something, but less than 128 bytes a second, is cut off too.",
        ..TIMEOUT
    },
    Row {
        manual: "End a session that has lasted <s> seconds and one second more for each 128 bytes \
            of both sides, however busy it is: a client that dawdles does not keep its place for \
            ever.",
        ..DEADLINE
    },
    // The slides' LISTENQ of 5 costs a client of a burst a second each time its SYN is dropped.
    Row {
        manual: "The listen(2) queue of each listener: connections that wait to be accepted. The \
            kernel's {Va net.core.somaxconn} bounds it.",
        ..BACKLOG
    },
    Row {
        help: "serve standard input: a client, or a socket to wait on",
        manual: "Serve standard input, as a superserver hands it over: a connected client (inetd's \
            'nowait'), or a listening socket ('wait'); then the server ends when no client has \
            come for the time of `-t`.",
        ..INETD
    },
];
const DATAGRAM_LIMITS: &[Row] = &[
    Row { default: Value("1024"), ..MAX_CLIENTS },
    Row {
        default: Rule("no limit"),
        manual: "Serve at most <n> clients of one address at once, of IPv6 too: a class room may be behind one \
            IPv4 address, and has one IPv6 network. One more is refused as `--over` says; it never waits.",
        ..MAX_PER_IP
    },
    Row {
        choices: &["busy", "queue", "silent"],
        default: Value("silent"),
        help: "silent (no answer), busy (say so) or queue (let wait): clients over the limit",
        manual: "What a client over a limit meets with: `silent`, it gets no answer, so that it asks again by \
            itself and is served when there is a place; `busy`, {own}, which ends its attempt; or `queue`, over \
            the limit of `-c` its request waits until there is a place.",
        ..OVER
    },
    Row {
        help: "requests an address may make in S seconds",
        manual: "Serve at most <n> requests that one address makes within <s> seconds, counted \
            from the first of them; those beyond get no answer, or ERROR 0 under `--over busy`. A sender can \
            forge its address: this bounds what one address is sent, not what all are.",
        ..RATE
    },
    Row { manual: "Give a transfer up when nothing has gone forward for <s> seconds.", ..TIMEOUT },
    Row {
        manual: "End a transfer that has lasted <s> seconds and {own}, however busy it is: a \
            client that dawdles does not keep its place for ever.",
        ..DEADLINE
    },
    Row {
        manual: "The queue of listen(2), which a datagram socket does not have. Accepted because \
            the other daemons have it, and of no effect.",
        ..BACKLOG
    },
    Row {
        help: "serve the socket that is standard input",
        manual: "Serve the UDP socket that is standard input, as inetd(8) hands it over with \
            'wait'; the server ends when no request has come for the time of `-t`.",
        ..INETD
    },
];
const JOB_LIMITS: &[Row] = &[
    Row {
        default: Value("20"),
        help: "processes at once",
        manual: "Have at most <n> processes at once. {own}",
        ..MAX_CLIENTS
    },
    Row {
        help: "longest wait for another server, seconds",
        manual: "Give another server up that says nothing, or takes nothing, for <s> seconds. {own}",
        ..TIMEOUT
    },
    Row {
        default: Rule("an hour"),
        help: "longest work of a process, seconds",
        manual: "End a process that has worked for <s> seconds: what it has not done is tried again.",
        ..DEADLINE
    },
];

const MAX_CLIENTS: Row = Row {
    name: "max-clients",
    short: "c",
    value: "N",
    default: Value("256"),
    help: "clients at once",
    manual: "Serve at most <n> clients at once. {own}",
    ..Row::EMPTY
};
const MAX_PER_IP: Row = Row {
    name: "max-per-ip",
    value: "N",
    default: Value("64"),
    help: "clients at once from one address",
    manual: "Serve at most <n> clients of one address at once; of IPv6, of one network of 64 bits. \
        One more is refused as by `--over busy`, in any case.",
    ..Row::EMPTY
};
const OVER: Row = Row { name: "over", value: "HOW", default: Value("busy"), ..Row::EMPTY };
/// For a table of all daemons.
pub(crate) const OVER_OF_ALL: Row = Row {
    help: "clients over the limit: busy (say so), queue (let wait), for datagrams also silent",
    ..OVER
};
const RATE: Row = Row { name: "rate", value: "N/S", default: Rule("any number"), ..Row::EMPTY };
const TIMEOUT: Row = Row {
    name: "timeout",
    short: "t",
    value: "S",
    default: Value("{idle}"),
    help: "idle limit of a client, seconds",
    ..Row::EMPTY
};
const DEADLINE: Row = Row {
    name: "deadline",
    value: "S",
    default: Rule("4 times `-t`"),
    help: "longest session, seconds",
    ..Row::EMPTY
};
const BACKLOG: Row = Row {
    name: "backlog",
    short: "b",
    value: "N",
    default: Value("4096"),
    help: "queue of listen(2)",
    ..Row::EMPTY
};
const INETD: Row = Row { name: "inetd", short: "i", excludes: "daemon", ..Row::EMPTY };

const REST: &[Row] = &[
    Row {
        name: "daemon",
        short: "d",
        excludes: "inetd",
        help: "detach from the terminal",
        manual: "Detach from the terminal: fork, begin a session of its own, change to `/`. The \
            starting command ends when the server listens, with exit status 0, or when it could \
            not, with its error. From then on standard error is `/dev/null`, so give `--syslog` \
            too.",
        ..Row::EMPTY
    },
    Row {
        name: "pid-file",
        short: "p",
        value: "FILE",
        help: "write the process id to FILE, locked",
        manual: "Write the process ID to <file>, and lock it as long as the server lives: a second \
            server with the same <file> does not start, and says which process has it. Removed at \
            the end, however that comes. Where the user of `-u` could not do that, or `--chroot` \
            hides it, a small process that keeps the rights of the start does it: the caretaker, \
            which also removes the files of UNIX-domain sockets, and opens the file of \
            `--transcript` again. A file that another user may have put there is not taken: a \
            symbolic link, one that is neither root's nor that of the user who starts the server, \
            one with several links, or one that others than its owner may write to.",
        ..Row::EMPTY
    },
    Row {
        name: "user",
        short: "u",
        value: "USER[:GROUP]",
        help: "become USER after bind (default as root: {root})",
        manual: "Become <user> for good once the sockets are bound, before the first client: all \
            three user and group IDs, the list of groups, and all capabilities(7), which is \
            checked afterwards. Names are those of passwd(5) and group(5) themselves; numbers will \
            do. When root gives no `-u`, the server {becomes} {own}",
        ..Row::EMPTY
    },
    Row {
        name: "chroot",
        value: "DIR",
        help: "see nothing but DIR after bind; needs root",
        manual: "See nothing but <dir> once the sockets are bound, before the first client; only \
            root may do that. What is opened before is outside: the transcript, the pid file, the \
            file of `--config`, `/dev/log`, and the users that `-u` names. {own} For root this is \
            no jail, and the log says so: name a user with `-u`.",
        ..Row::EMPTY
    },
    Row {
        name: "grace",
        value: "S",
        default: Value("30"),
        help: "seconds for sessions to end after SIGTERM",
        manual: "After SIGTERM, let sessions go on for <s> seconds before they are ended.",
        ..Row::EMPTY
    },
    Row {
        name: "config",
        value: "FILE",
        command_line_only: true,
        help: "read options from FILE, one a line; the command line wins",
        manual: "Read options from <file> too, one a line: the long name without its dashes, and \
            after blanks the value, which ends with the line; a flag is its name alone. Empty \
            lines and those that begin with `#` are left out. What the command line gives wins \
            over <file>, and an option that may be given several times adds. An error names <file> \
            and the line. `--check`, `--config`, `--help` and `--version` are for the command line \
            only. The rules of `-p` for files of other users hold. It is read once, at the start, \
            before any right is given up and before `--chroot`: SIGHUP does not read it again.",
        ..Row::EMPTY
    },
    Row {
        name: "check",
        command_line_only: true,
        help: "read all that a start would read, say what is wrong, and end",
        manual: "Do not serve: read everything that a start reads, as the user of `-u` and below \
            `--chroot`, say on standard error what is wrong, and exit with status 0 when nothing \
            is, else 1, also for a wrong command line, and for what a start would only warn of. No \
            socket is bound, no file made and no process forked, so a server that runs goes on as \
            it was. Whether a port is free is not looked at.",
        ..Row::EMPTY
    },
    Row {
        name: "transcript",
        value: "FILE",
        help: "append every dialogue line to FILE",
        manual: "Append every line of every dialogue to <file>: who, which process, 'C' for the \
            client or 'S' for the server, and what. {own} The file is made with mode 0600; for one \
            that is there already the rules of `-p` hold, but it may belong to the user of `-u`, \
            too, or be a character device such as `/dev/null`. `/dev/stdout` and `/dev/stderr` are \
            what the server was started with, where that is neither the client of `-i` nor left by \
            `-d`. After SIGHUP, dialogues that begin are written to the file that has the name \
            then.",
        ..Row::EMPTY
    },
    Row {
        name: "syslog",
        help: "log to syslog(3) instead of standard error",
        manual: "Log to syslog(3) under the facility `{facility}` instead of standard error; under \
            `-i` too. Lines of more than 1024 bytes are cut. While no program listens at \
            `/dev/log` lines are lost, with a warning on standard error at the start; the \
            server waits for a stuck syslogd half a second, once.",
        ..Row::EMPTY
    },
    Row {
        name: "verbose",
        short: "v",
        repeats: true,
        help: "log more; twice, still more",
        manual: "Log more; given twice, still more.",
        ..Row::EMPTY
    },
    Row {
        name: "quiet",
        short: "q",
        repeats: true,
        help: "log warnings and errors only; twice, errors only",
        manual: "Log warnings and errors only; given twice, errors only.",
        ..Row::EMPTY
    },
];
