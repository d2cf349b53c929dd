//! The words of a command line, as getopts reads them by the rows.

use std::ffi::OsString;

use getopts::{Matches, Options, ParsingStyle};

use crate::error::{Error, Result};
use crate::options::program::Program;
use crate::options::row::Row;
use crate::options::usage;

/// Reads the words.
///
/// # Errors
/// [`Error::Usage`] for a wrong one; [`Error::Answer`] for `--help` and `--version`.
pub(super) fn matches(program: &Program, args: Vec<OsString>) -> Result<Matches> {
    let mut options = Options::new();
    for row in program.rows() {
        row.declare(&mut options, &program.help(row));
    }
    options.parsing_style(ParsingStyle::FloatingFrees);
    if let Some(odd) = args.iter().find(|arg| arg.to_str().is_none()) {
        return Err(Error::Usage(format!("{odd:?}: not UTF-8")));
    }
    let args = with_values(program, args);
    let matches = options.parse(args).map_err(|fail| Error::Usage(usage::complaint(&fail)))?;
    if matches.opt_present("help") {
        return Err(Error::Answer(usage::help(&options, &program.usage)));
    }
    if matches.opt_present("version") {
        return Err(Error::Answer(version(program.name)));
    }
    Ok(matches)
}

/// Joins options whose value may be left out with the value after them, because getopts takes `--name=VALUE` alone.
/// What begins with a dash is no value.
fn with_values(program: &Program, args: Vec<OsString>) -> Vec<OsString> {
    let is_optional = |arg: &OsString| {
        let name = arg.to_str().and_then(|arg| arg.strip_prefix("--"));
        name.and_then(|name| program.row(name)).is_some_and(Row::is_optional)
    };
    let mut joined: Vec<OsString> = Vec::with_capacity(args.len());
    for arg in args {
        match joined.last_mut() {
            Some(last) if is_optional(last) && !arg.as_encoded_bytes().starts_with(b"-") => {
                last.push("=");
                last.push(arg);
            }
            _ => joined.push(arg),
        }
    }
    joined
}

/// `echod (forklore) 0.1.0, static`, or `dynamic`: how the program is linked.
fn version(name: &str) -> String {
    let linked = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    format!("{name} (forklore) {}, {linked}", env!("CARGO_PKG_VERSION"))
}
