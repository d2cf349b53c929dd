//! Answers about the command line: its help, and its faults.

use getopts::{Fail, Options};

/// The text of `--help`. getopts leaves a blank after a name that fills its column.
pub(crate) fn help(options: &Options, usage: &str) -> String {
    let text = options.usage(usage);
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// `--frob: no such option`, and the like.
pub(crate) fn complaint(fail: &Fail) -> String {
    let (name, why) = match fail {
        Fail::UnrecognizedOption(name) => (name, UNKNOWN),
        Fail::ArgumentMissing(name) => (name, NO_VALUE),
        Fail::UnexpectedArgument(name) => (name, IS_FLAG),
        Fail::OptionDuplicated(name) => (name, TWICE),
        Fail::OptionMissing(name) => (name, REQUIRED),
    };
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    format!("{dashes}{}: {why}", name.escape_debug())
}

pub(crate) const UNKNOWN: &str = "no such option";
pub(crate) const NO_VALUE: &str = "its argument is missing";
pub(crate) const IS_FLAG: &str = "takes no argument";
pub(crate) const TWICE: &str = "given more than once";
pub(crate) const REQUIRED: &str = "must be given";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_as_it_was_written() {
        let mut options = Options::new();
        options.optflag("d", "daemon", "").optopt("t", "timeout", "", "S");
        for (args, said) in [
            (&["--frob"][..], "--frob: no such option"),
            (&["-dx"], "-x: no such option"),
            (&["-t"], "-t: its argument is missing"),
            (&["--timeout"], "--timeout: its argument is missing"),
            (&["--daemon=now"], "--daemon: takes no argument"),
            (&["-d", "--daemon"], "--daemon: given more than once"),
            (&["--a\x1bb"], "--a\\u{1b}b: no such option"),
        ] {
            assert_eq!(complaint(&options.parse(args).unwrap_err()), said);
        }
    }

    #[test]
    fn no_line_of_the_help_ends_in_blanks() {
        let mut options = Options::new();
        options.optflag("h", "help", "").optflag("", "accept-bare-lf", "text");
        assert!(options.usage("x").contains("--accept-bare-lf \n"));
        assert!(help(&options, "x").contains("--accept-bare-lf\n"));
    }
}
