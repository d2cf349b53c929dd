//! The rows of smtpd's own options, and what the manual page adds to common ones.

use forknet::{OwnOptions, Preset, Row};
use maild::rows;

use crate::options::{deliver, guards, milters, relay, terminal};

/// Each option's row, and what the manual page adds to common ones.
pub const OPTIONS: OwnOptions = OwnOptions {
    rows: &[
        Row {
            name: "hostname",
            value: "NAME",
            default: Preset::Rule("the machine's"),
            help: "our name",
            manual: "Our name in the greeting and in \"Received:\".",
            ..Row::EMPTY
        },
        Row {
            name: "domain",
            value: "D",
            default: Preset::Rule("the name of `--hostname`"),
            repeats: true,
            help: "a local domain; repeatable",
            manual: "A domain whose mail is for the users of the users file; in any case of \
                letters, and in UTF-8 or as DNS has it. May be given several times.",
            ..Row::EMPTY
        },
        Row {
            manual: "Who has a mailbox, in the format of forklore-users(5). It must be a regular file \
                with one link, no symbolic link, that belongs to root or to the user who starts the \
                server, that only its owner may write to, and, with passwords in it, that not every \
                user may read. Read again for each recipient and login, by the keeper's processes; which mechanisms are offered is \
                found out at the start and at SIGHUP. A letter is \
                stored with the rights of the user id and group id in it, never those of root. \
                `system` takes the accounts of passwd(5). It is needed beside `--checkpassword` and \
                `--auth-socket` too.",
            excludes: "",
            ..rows::USERS
        },
        Row {
            name: "aliases",
            value: "FILE",
            help: "names that lead elsewhere (aliases(5))",
            manual: "Names that lead to others, in the format of aliases(5); see ALIASES. It must belong to root or to the \
                user who starts the server, and only its owner may write to it. Read again for each \
                recipient: newaliases(1) is not needed.",
            ..Row::EMPTY
        },
        Row {
            name: "delimiter",
            value: "C",
            default: Preset::Value("+"),
            help: "between a user and a sub-address; none for none",
            manual: "The character between a user's name and a sub-address: letters to `levy+books` are \
                for levy, where no user and no alias has the whole name. `none` for no sub-addresses.",
            ..Row::EMPTY
        },
        rows::CHECKPASSWORD,
        Row { excludes: "checkpassword", ..rows::AUTH_SOCKET },
        rows::MAIL,
        rows::MAIL_USER,
        Row {
            name: "mda",
            value: "COMMAND",
            help: "the command that delivers; %u user, %h home, %f sender, %r recipient, %e extension",
            manual: "Deliver by a command in place of mailboxes, such as `/usr/bin/procmail -d %u`: an absolute path and \
                its arguments, split at blanks; no shell reads them. In a word `%u` is the user's name, `%h` \
                the home, `%f` the sender, `%r` the recipient's address, `%e` the sub-address, `%%` a percent sign; a letter for which \
                an address would be an option, because it begins with `-` and the word with it, is refused. The \
                command has the user's rights, the home as its folder, `USER`, `LOGNAME`, `HOME`, `SHELL`, `PATH`, `SENDER`, `RECIPIENT` and \
                `EXTENSION` in its environment, and the letter on its standard input, with a `Return-Path:` as its first \
                line and line ends of LF. Exit code 0 accepts the letter; 67 (`EX_NOUSER`) is answered 550 5.1.1, the other codes of \
                sysexits.h but 71, 74 and 75, and 100, are answered 550 5.3.0, and all others, a signal, and \
                no end within 100 seconds 451.",
            ..Row::EMPTY
        },
        deliver::ROW,
        rows::NAMES,
        rows::NAMES_DOMAIN,
        rows::PLAINTEXT,
        rows::CHANNEL_BINDING,
        rows::AUTH_DELAY,
        tls::rows::CERT,
        tls::rows::KEY,
        tls::rows::LISTEN,
        relay::QUEUE,
        relay::RELAY_FROM,
        relay::SUBMISSION,
        Row {
            name: "spool",
            value: "DIR",
            default: Preset::Value("/var/tmp"),
            help: "where letters over 256 KiB wait for their end",
            manual: "The folder for letters over 256 KiB while they are received; shorter ones stay in \
                memory. The files have no names and go with the process that has them. While clients send letters again because some of \
                their recipients could not have them, a file here says who has them.",
            ..Row::EMPTY
        },
        Row {
            name: "max-size",
            value: "BYTES",
            default: Preset::Value("52428800"), // 50 MiB; RFC 1870 §3
            help: "largest letter; 0 = no limit",
            manual: "The largest letter, counted with CRLF line ends and without dot-stuffing; 0 \
                is no limit. A larger one is refused with 552, at `MAIL` if the client tells its \
                size there.",
            ..Row::EMPTY
        },
        Row {
            name: "max-recipients",
            value: "N",
            default: Preset::Value("1000"), // RFC 5321 §4.5.3.1.8; an administrator may choose less
            help: "recipients of a letter",
            manual: "Recipients of one letter; those beyond get 452, and the client may send the \
                letter again to them. RFC 5321 wants at least 100; 16,000 is the most.",
            ..Row::EMPTY
        },
        guards::MAX_LETTERS,
        guards::GREET_PAUSE,
        guards::ACCESS,
        milters::MILTER,
        milters::ON_FAILURE,
        milters::QUARANTINE,
        Row {
            name: "min-free",
            value: "BYTES",
            default: Preset::Value("262144"),
            help: "refuse letters when the disk has less left",
            manual: "Refuse letters for now, with 452, when the disk of the mailbox would have \
                less left, or no inode.",
            ..Row::EMPTY
        },
        Row {
            name: "postmaster",
            value: "USER",
            help: "who is postmaster (default root, or the first user)",
            manual: "Who gets the mail for 'postmaster', when no user has that name. The default \
                is root, or the first user of the file where it has no root.",
            ..Row::EMPTY
        },
        Row {
            name: "accept-bare-lf",
            help: "take LF alone for a line end in letters",
            manual: "Take LF alone for a line end within a letter, for old clients. It is never \
                part of the end of a letter. Otherwise a letter with a bare LF is refused with \
                550, as one with a bare CR is in any case.",
            ..Row::EMPTY
        },
        Row {
            name: "strict",
            help: "take nothing beyond the syntax of RFC 5321",
            manual: "Refuse with 501 what RFC 5321 does not allow and real clients send: addresses \
                without angle brackets, a space behind `FROM:` and `TO:`, senders with dots at an end of the \
                local part or next to each other, with underscores or a final dot in the \
                domain, `HELO` without a name, and names in `HELO` and `EHLO` that are neither a domain nor an \
                address literal. Without it all of these are taken; a name that is no atom stands in \
                `Received:` as a quoted word, or as `unknown`.",
            ..Row::EMPTY
        },
        Row {
            name: "strict-space",
            help: "refuse a space behind FROM: and TO:",
            manual: "Refuse a space behind `FROM:` and `TO:`, which RFC 5321 does not allow and \
                many clients send.",
            ..Row::EMPTY
        },
        Row {
            name: "lmtp",
            help: "speak LMTP (RFC 2033)",
            manual: "Speak LMTP (RFC 2033) in place of SMTP, with a mail server on this machine or in its network: \
                `LHLO` takes the place of `HELO` and `EHLO`, and after a letter each recipient has a reply of its own, so \
                that one mailbox that is full does not make the letter come again to the others. `--listen` is \
                needed, an address with another port than 25, which RFC 2033 forbids, or `unix:`<path>.",
            ..Row::EMPTY
        },
        terminal::ROW,
        Row {
            name: "vrfy",
            value: "WHO",
            default: Preset::Value("loopback"),
            choices: &["all", "loopback", "none"],
            help: "clients that VRFY and EXPN answer: all, loopback, none",
            manual: "Whose `VRFY` and `EXPN` are answered, and who sees the new address of a user who has moved: `all`, \
                `loopback` for clients on this machine, `none`. The others get 252 and 502.",
            ..Row::EMPTY
        },
    ],
    notes: &[
        ("max-clients", "One more gets \"421 4.3.2\" and the reason."),
        ("over", "it gets \"421 4.3.2\" and that there are too many clients"),
        (
            "chroot",
            "The users file, the aliases, the Maildirs and the files of TLS are inside, and relative names among them count from \
                <dir>. The time zone is read before.",
        ),
        (
            "mail",
            " A Maildir that is not there is made, in a folder of its user's or, for its user, in one that \
                only root can change; nothing is made on the way to it: where the home or the folder \
                of mailboxes is not there, letters are refused for now. An mbox (`mbox:`) is made where its user may make files; elsewhere it must be there.",
        ),
        (
            "checkpassword",
            " The program decides about `AUTH` alone: who has a mailbox says `--users`.",
        ),
        (
            "auth-socket",
            " The server decides about `AUTH` alone: who has a mailbox says `--users`.",
        ),
        ("plaintext", " It is about `AUTH PLAIN` and `AUTH LOGIN`."),
        ("transcript", "What follows the mechanism of an `AUTH` is masked."),
        (
            "user",
            "It is the user of the processes that talk to clients, in an empty folder as their root. A \
                letter is stored by a process with the rights of its recipient, for good.",
        ),
    ],
};
