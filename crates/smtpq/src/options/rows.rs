//! The rows of the runner's own options.

use forknet::{OwnOptions, Preset, Row};

/// Each option's row, and what the manual page adds to common ones.
pub const OPTIONS: OwnOptions = OwnOptions {
    rows: &[
        Row {
            name: "queue",
            value: "DIR",
            default: Preset::Required,
            help: "the folder of the queue",
            manual: "The folder of the queue, as smtpd(8) and smtpc(1) fill it. It belongs to the user of `-u`, \
                without that to the one who starts {Nm}; in a folder that only root can change it is made.",
            ..Row::EMPTY
        },
        Row {
            name: "relayhost",
            value: "HOST[:PORT]",
            help: "send everything to HOST, and not by MX",
            manual: "Send all letters to <host>, a name or an address, whose MX is not asked for, and not to \
                the hosts of their recipients' domains. Without <port> it is that of `--port`. Where the name server \
                says that it has checked the signatures of its address, its TLSA records at that port decide on \
                TLS and its certificate (DANE, RFC 7672).",
            ..Row::EMPTY
        },
        Row {
            name: "relay-user",
            value: "USER",
            help: "log in at the relay host as USER",
            manual: "Log in at the relay host as <user>, by AUTH, with the password of `--relay-password-file`: in                 the clear to a host on this machine alone.",
            ..Row::EMPTY
        },
        Row {
            name: "relay-password-file",
            value: "FILE",
            help: "the file with the password of --relay-user",
            manual: "The file whose first line is the password of `--relay-user`. It is read before any right is                 given up, and again after SIGHUP.",
            ..Row::EMPTY
        },
        Row {
            name: "resolver",
            value: "ADDR[:PORT]",
            default: Preset::Rule("the servers of /etc/resolv.conf"),
            help: "the name server that is asked",
            manual: "Ask the name server at the address <addr>, and not those of /etc/resolv.conf. Without \
                <port> it is 53.",
            ..Row::EMPTY
        },
        Row {
            name: "port",
            value: "N",
            default: Preset::Value("25"),
            help: "the port of other servers",
            manual: "Connect to port <n> of other servers.",
            ..Row::EMPTY
        },
        Row {
            name: "local",
            value: "ADDR[:PORT]",
            default: Preset::Rule("127.0.0.1, for notifications alone"),
            help: "the server of mail that is for this host",
            manual: "Send letters whose best host we are ourselves (`--hostname`) to the server at <addr>, which has the \
                mailboxes of their domain. Without <port> it is that of `--port`. Without this option 127.0.0.1 \
                gets notifications to our own users, and other such letters come back to their authors.",
            ..Row::EMPTY
        },
        Row {
            name: "hostname",
            value: "NAME",
            default: Preset::Rule("the machine's name"),
            help: "our name in EHLO, and among the MX",
            manual: "Our name, in EHLO and in notifications. Where it is among the hosts of a domain's MX, that one \
                and those with the same preference or a higher number are left out.",
            ..Row::EMPTY
        },
        Row {
            name: "no-chunking",
            help: "send letters by DATA, and never by BDAT",
            manual: "Send letters by `DATA`, with a final dot, also to servers that offer `BDAT` (CHUNKING, RFC 3030).",
            ..Row::EMPTY
        },
        Row {
            name: "require-tls",
            help: "send over TLS alone, and check the certificate",
            manual: "Send no letter without TLS, and check that the certificate is one of the host's name. Without \
                this option TLS is used where the other server offers it, whatever its certificate.",
            ..Row::EMPTY
        },
        tls::rows::CA_FILE,
        Row {
            name: "retry",
            value: "LIST",
            default: Preset::Value("1800,3600,7200,14400"),
            help: "seconds until each further attempt, with commas",
            manual: "The times in seconds between an attempt that failed for now and the next one: the first of \
                <list> after the first attempt, and so on; the last one holds for every later attempt.",
            ..Row::EMPTY
        },
        Row {
            name: "max-age",
            value: "S",
            default: Preset::Value("432000"),
            help: "seconds until a letter is returned",
            manual: "Return a letter to its author <s> seconds after it came, when an attempt fails for now \
                once more.",
            ..Row::EMPTY
        },
        Row {
            name: "warn-after",
            value: "S",
            default: Preset::Rule("never"),
            help: "seconds until the author receives a warning",
            manual: "Warn the author, once, of a letter that is not delivered <s> seconds after it came, unless the \
                letter says otherwise by NOTIFY (RFC 3461). Without this option those who ask for it by NOTIFY=DELAY \
                are warned, after four hours.",
            ..Row::EMPTY
        },
        Row {
            name: "double-bounce",
            value: "ADDR",
            default: Preset::Rule("postmaster at our name"),
            help: "who receives notifications that failed",
            manual: "Tell <addr> of a letter without a sender that cannot be delivered: a notification, mostly. Of one \
                to <addr> itself the log tells alone.",
            ..Row::EMPTY
        },
        Row {
            name: "max-per-destination",
            value: "N",
            default: Preset::Value("5"),
            help: "connections at once to one destination",
            manual: "Have at most <n> processes, each with one connection, for one destination at once: a domain, \
                or the relay host.",
            ..Row::EMPTY
        },
        Row {
            name: "max-letters",
            value: "N",
            default: Preset::Value("100"),
            help: "letters over one connection",
            manual: "Send at most <n> letters over one connection.",
            ..Row::EMPTY
        },
        Row {
            name: "once",
            command_line_only: true,
            help: "send what is due now, and end",
            manual: "Try each letter that is due once, wait for no other, and end, with exit status 0 whatever has become of them: \
                what is left waits for another time.",
            ..Row::EMPTY
        },
        Row {
            name: "flush",
            command_line_only: true,
            help: "try all letters now",
            manual: "Have the runner of this queue try all letters now, whenever they are due, and end. Where none runs, \
                or with `--once`, do that, and end as with `--once`.",
            ..Row::EMPTY
        },
        Row {
            name: "list",
            command_line_only: true,
            help: "list the letters, as mailq does",
            manual: "List the letters: their names, sizes in bytes, when they came, sender, recipients, and the last \
                reply for each recipient; and end. `*` stands behind the name of one that is being sent, `!` \
                behind one that is held.",
            ..Row::EMPTY
        },
        Row {
            name: "hold",
            value: "ID",
            repeats: true,
            command_line_only: true,
            help: "do not send this letter for now",
            manual: "Do not send the letter with this name, or any with `ALL`, until it is released; and end. One that \
                is being sent is not called back.",
            ..Row::EMPTY
        },
        Row {
            name: "release",
            value: "ID",
            repeats: true,
            command_line_only: true,
            help: "send a letter that was held",
            manual: "Undo `--hold` for the letter with this name, or all with `ALL`; and end.",
            ..Row::EMPTY
        },
        Row {
            name: "delete",
            value: "ID",
            repeats: true,
            command_line_only: true,
            help: "remove this letter",
            manual: "Remove the letter with this name, or all with `ALL`, without a word to its author; and end. One \
                that is being sent is removed, and may arrive nevertheless.",
            ..Row::EMPTY
        },
    ],
    notes: &[("chroot", "The folder of `--queue` is below it, and so must be /etc/resolv.conf.")],
};
