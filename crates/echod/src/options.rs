//! The daemon's own options.

use forknet::{Model, OwnOptions, Preset, Reaper, Result, Row, Values};

/// Each option's row, and what the manual page adds to common ones.
pub const OPTIONS: OwnOptions = OwnOptions {
    rows: &[
        Row {
            name: "udp",
            help: "serve datagrams too, on the same addresses and ports",
            manual: "Serve datagrams too: a UDP socket beside each TCP listener, on the same \
                address and port. Beside `unix:<path>` there is none; say `unix-dgram:<path>` for \
                one. Sockets that a superserver passes are served as they are, with or without \
                this option.\n\nOne process, a child that is none of the clients of `-c`, answers \
                all datagrams in turn, each from the address that was asked. It is replaced when \
                it dies, and ends at once when the server stops or is killed. There is no answer \
                to what was sent to a broadcast or multicast address, to what comes from a port \
                below 1024 or from one that {Nm} itself serves, because two services would answer \
                each other without end, and to a UNIX-domain socket that is bound to no name. With \
                `-v` each of them is logged.",
            ..Row::EMPTY
        },
        Row {
            name: "reap",
            value: "HOW",
            default: Preset::Value("waitpid"),
            choices: &["waitpid", "wait", "none"],
            help: "waitpid, wait or none: the slides' three reapers",
            manual: "Which of the slides' three reapers collects the children that have ended: \
                `waitpid` loops until none is left; `wait` takes one for each SIGCHLD, and since \
                signals are not queued, some zombies stay; `none` has no handler, and every child \
                stays a zombie as long as the server lives. For the fork model.",
            ..Row::EMPTY
        },
    ],
    notes: &[
        (
            "max-clients",
            "One more is let in and at once let go, without a word: the protocol has none.",
        ),
        ("over", "it is let in and let go without a byte, for the protocol has no word for it"),
    ],
};

/// Reads `--reap`. Prefork needs `waitpid`, because the parent replaces workers that end.
///
/// # Errors
/// [`forknet::Error::Usage`]: another word, or one that does not go with the model.
pub fn reaper(values: &Values, model: Model) -> Result<Reaper> {
    match values.choice("reap")? {
        "waitpid" => Ok(Reaper::Waitpid),
        how if model == Model::Prefork => {
            Err(values.wrong("reap", how, "not with --model prefork"))
        }
        "wait" => Ok(Reaper::Wait),
        _ => Ok(Reaper::None),
    }
}
