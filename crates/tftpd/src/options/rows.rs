//! The rows of tftpd's own options, and what the manual page adds to common ones.

use forknet::{OwnOptions, Preset, Row};

/// The row of `--retries`, which tftpc has too.
pub const RETRIES: Row = Row {
    name: "retries",
    value: "N",
    default: Preset::Value("20"),
    help: "send a packet again at most N times",
    manual: "Send a packet again at most <n> times, up to 1000.",
    ..Row::EMPTY
};

/// Each option's row, and what the manual page adds to common ones.
pub const OPTIONS: OwnOptions = OwnOptions {
    rows: &[
        Row {
            name: "root",
            value: "DIR",
            default: Preset::Value("/srv/tftp"), // the folder of Debian's TFTP servers
            repeats: true,
            help: "the folder that is served, or ADDR=DIR for one address; repeatable",
            manual: "The folder whose files are served. It is opened once, at the start: another \
                one that gets its name later is not seen. Given several times, a file is looked for in \
                each, in this order, and the first one that is there is served; an upload goes to the \
                first that has the file, or else the first that has its folder. `ADDR=DIR` is for the \
                requests that were sent to this address of the server; where no such folder is for the \
                address that was asked, it is for the client with this address. `NET/BITS=DIR` is for \
                the clients of a network. A request is answered from the folders for it alone before \
                those for all.",
            ..Row::EMPTY
        },
        Row {
            name: "create",
            help: "clients may write new files",
            manual: "Clients may write files that do not exist.",
            ..Row::EMPTY
        },
        Row {
            name: "overwrite",
            help: "clients may replace files that exist",
            manual: "Clients may replace files that exist and that the server's user may write.",
            ..Row::EMPTY
        },
        Row {
            name: "on-exist",
            value: "HOW",
            default: Preset::Value("refuse"),
            choices: &["refuse", "replace", "number", "date"],
            help: "an upload whose name is taken: refuse, replace, number or date",
            manual: "What becomes of an upload whose name is taken: `refuse`, ERROR 6; `replace`, as with \
                `--overwrite`; `number`, it is stored as <name>`.1`, <name>`.2` and so on; `date`, as \
                <name>`.20261130T161500Z`, the time in UTC when it was complete. With the last two no file that is \
                there is changed; they need `--create`, and the log tells the name.",
            ..Row::EMPTY
        },
        Row {
            name: "mkdir",
            help: "make the folders of uploads",
            manual: "Make the folders in the name of an upload that are missing, with `--create`, for at most 64 in the \
                name. They stay if the upload fails; `--quota` bounds them too.",
            ..Row::EMPTY
        },
        Row {
            name: "read-only",
            help: "refuse all writing, in spite of other options",
            manual: "Refuse all writing, whatever `--create` and `--overwrite` say.",
            ..Row::EMPTY
        },
        Row {
            name: "max-size",
            value: "BYTES",
            help: "the longest file that may be written",
            manual: "The longest file that may be written; a longer one ends with ERROR 3. There \
                is no limit unless one is given.",
            ..Row::EMPTY
        },
        Row {
            name: "quota",
            value: "BYTES",
            help: "what all files below the root may have together",
            manual: "What all files below the root may have together, those of hidden folders too; \
                an upload for which that does not suffice ends with ERROR 3, at the latest when it \
                is complete. A file counts as 512 bytes at least and a folder as 512, holes count \
                nothing, and a file that is replaced counts no more. Below 128 folders one in the other there is \
                no room. All of them are counted for each upload, so give \
                the root no folders with many other files. Of several roots each has this quota. There is no \
                quota unless one is given.",
            ..Row::EMPTY
        },
        Row {
            name: "max-blksize",
            value: "N",
            default: Preset::Value("65464"),
            help: "blocks of at most N bytes",
            manual: "Grant blocks of at most <n> bytes, from 8 to 65464: what fits the network \
                without fragments is 1468 on Ethernet.",
            ..Row::EMPTY
        },
        Row {
            name: "max-windowsize",
            value: "N",
            default: Preset::Value("64"),
            help: "windows of at most N blocks",
            manual: "Grant windows of at most <n> blocks, from 1 to 65535. A window has at most 16 \
                MiB, 32767 blocks, and when a client writes, what the socket's receive buffer \
                holds.",
            ..Row::EMPTY
        },
        Row {
            name: "mtu-blksize",
            help: "blocks that need no fragments on the route to the client",
            manual: "Grant no block whose packet is longer than the MTU of the route to the client, as the \
                kernel knows it: 1468 bytes on Ethernet, 1448 over IPv6. For clients, such as boot ROMs, \
                that ask for more and cannot put fragments together.",
            ..Row::EMPTY
        },
        Row {
            name: "no-option",
            value: "NAME",
            repeats: true,
            help: "never grant the option NAME (RFC 2347); repeatable",
            manual: "Never grant the option <name>, as if it were unknown: `blksize`, `blksize2`, `tsize`, `timeout`, \
                `utimeout`, `windowsize` or `rollover`, for clients that ask for one and do not get along with it. \
                May be given several times.",
            ..Row::EMPTY
        },
        Row {
            name: "umask",
            value: "MODE",
            default: Preset::Rule("that of the starter"),
            help: "permissions that new files do not get, octal",
            manual: "The permissions that uploaded files do not get, in octal, as of umask(2): `027` makes files of \
                mode 0640. A file that is replaced keeps its mode.",
            ..Row::EMPTY
        },
        Row {
            name: "quiet-missing",
            help: "send no ERROR for a file that is not there",
            manual: "Send no ERROR for a file that is not there, so that of several servers which get a request only \
                the one that has the file answers. The log names it nevertheless.",
            ..Row::EMPTY
        },
        Row {
            name: "transfer-log",
            value: "FILE",
            help: "append a line for each transfer to FILE",
            manual: "Append a line to <file> for each transfer, see {Sx TRANSFER LOG}, besides the line in the \
                log. The rules of `--transcript` for files of other users hold; it is opened again on \
                SIGHUP.",
            ..Row::EMPTY
        },
        Row {
            name: "report",
            value: "FILE",
            command_line_only: true,
            help: "print who got what by the log FILE, and serve nothing",
            manual: "Sum up a log and serve nothing: <file> is one of `--transfer-log`, or tftpd's own log as \
                it came to standard error, to syslog or to a journal; `-` is standard input. A row of the \
                table is a client and a file: how often it came whole, the bytes and the seconds of all \
                tries, and how many of them failed or were refused.",
            ..Row::EMPTY
        },
        Row {
            name: "map",
            value: "FILE",
            help: "rules that turn the names asked for into files' names",
            manual: "Turn the names that clients ask for into names of files by the rules in \
                <file>, see {Sx MAP FILE}. It must be a regular file with one link, no symbolic \
                link, that belongs to root or to the server's user and that only its owner may \
                write to. Read at the start and again on SIGHUP; with `--chroot` it is inside, \
                like the folder of `--root`. The names that come of it are resolved below the root \
                as all others are.",
            ..Row::EMPTY
        },
        Row {
            name: "try",
            value: "NAME",
            command_line_only: true,
            help: "say what --map makes of NAME, rule by rule, and serve nothing",
            manual: "Say what the rules of `--map` make of <name>, rule by rule, to read and to write it, and serve \
                nothing. The exit status is 0, or 1 where the name to read is refused.",
            ..Row::EMPTY
        },
        Row {
            name: "from",
            value: "ADDR",
            default: Preset::Value("127.0.0.1"),
            command_line_only: true,
            help: "the client's address for --try",
            manual: "The address of the client for `--try`.",
            ..Row::EMPTY
        },
        Row {
            name: "port-range",
            value: "A:B",
            help: "transfers have ports from A to B only",
            manual: "Transfers have ports from <a> to <b> and no others, for a firewall that lets \
                these pass: as many at once as there are ports, for each address that the server \
                answers from. A process that only stays for a lost ACK gives its port up. One more \
                client gets no answer, or under `--over busy` ERROR 0, \"No process or port for the transfer\".",
            excludes: "single-port",
            ..Row::EMPTY
        },
        Row {
            name: "single-port",
            help: "one process and one port for all transfers",
            manual: "Serve all transfers over the service's port and in one process, told apart by \
                their clients' addresses and ports: for a container or a NAT that lets one port \
                through. A process is forked only to put a complete upload safely on the disk, for \
                as long as that takes. Windows have at most 256 KiB. A client that asks for \
                something else from the same port gives up what it had begun; packets of no \
                transfer meet with silence. Under `--over queue` a request waits at most 10 seconds, and 1024 do. \
                After SIGTERM the port is held until the last transfer has ended.",
            excludes: "port-range",
            ..Row::EMPTY
        },
        Row {
            manual: "Send a packet again at most <n> times, up to 1000, and the first one twice, \
                as long as the client has not proved its address by an answer.",
            ..RETRIES
        },
    ],
    notes: &[
        (
            "max-clients",
            "With `--single-port` the default is 4096. A process that only stays for a lost ACK does not count, and \
                one whose client has not answered yet gives way to a new client, the oldest first: requests \
                with forged addresses keep no client out.",
        ),
        ("over", "it gets ERROR 0, \"Too many transfers, try again later\""),
        ("deadline", "four seconds more for each block"),
        ("chroot", "The folder of `--root` is inside."),
        ("transcript", "A line is a packet, in words."),
    ],
};
