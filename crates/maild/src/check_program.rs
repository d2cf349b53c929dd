//! `--checkpassword`: a program that knows the users, by the interface of checkpassword.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use accounts::checkpassword::{Report, Verdict, request, verdict};
use accounts::{Account, Names, Owner, Secret};
use forknet::{Ended, Error, Result, reason, run_program};
use nix::unistd::{getegid, geteuid, write};

use crate::credentials::Denied;

/// Longest time that the program may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The argument by which our own program is run as the user.
const REPORT: &str = "report-login";
/// Exit code of a temporary error.
const TEMPORARY: u8 = 111;
/// The mode bits that let other users write.
const OTHERS_WRITE_FLAGS: u32 = 0o022;
/// The mode bits of a file that can be run.
const EXECUTABLE_FLAGS: u32 = 0o111;

/// The program, with its arguments and what it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckProgram {
    path: PathBuf,
    arguments: Vec<CString>,
}

impl CheckProgram {
    /// Reads `PATH ARGUMENT ...`; adds this program, which is to be run as the user.
    pub(crate) fn parse(text: &str) -> std::result::Result<CheckProgram, String> {
        let ours = std::env::current_exe().map_err(|error| reason(&error))?;
        let mut arguments = Vec::new();
        for word in text.split_ascii_whitespace() {
            arguments.push(CString::new(word).map_err(|_| "a NUL")?);
        }
        let path = PathBuf::from(text.split_ascii_whitespace().next().unwrap_or_default());
        if !path.is_absolute() {
            return Err("not an absolute path".to_owned());
        }
        arguments.push(CString::new(ours.as_os_str().as_bytes()).map_err(|_| "a NUL")?);
        arguments.push(CString::new(REPORT).map_err(|_| "a NUL")?);
        Ok(CheckProgram { path, arguments })
    }

    /// Checks that the program is there and can be run.
    ///
    /// # Errors
    /// `checkpassword PATH: reason`.
    pub(crate) fn check(&self) -> Result<()> {
        let what = || format!("checkpassword {}", self.path.display());
        let metadata = std::fs::metadata(&self.path).map_err(Error::io(what()))?;
        let is_ours = [0, geteuid().as_raw()].contains(&metadata.uid());
        if !is_ours || metadata.permissions().mode() & OTHERS_WRITE_FLAGS != 0 {
            let why = "users other than root may change it";
            return Err(Error::Refused(format!("{}: {why}", what())));
        }
        let can_run = metadata.is_file() && metadata.permissions().mode() & EXECUTABLE_FLAGS != 0;
        if can_run { Ok(()) } else { Err(Error::Refused(format!("{}: cannot be run", what()))) }
    }

    /// Asks the program about a login.
    ///
    /// # Errors
    /// [`Denied::Rejected`]; [`Denied::NotChecked`] with the reason.
    pub(crate) fn log_in(
        &self,
        names: Names,
        name: &[u8],
        password: &Secret,
    ) -> std::result::Result<Account, (Denied, String)> {
        let not_checked = |why: String| (Denied::NotChecked, format!("checkpassword: {why}"));
        let rejected = || (Denied::Rejected, String::new());
        let name = names.canonical(name).ok_or_else(rejected)?;
        // A password with a NUL is never right.
        let request = request(&name, password, b"").map_err(|_| rejected())?;
        let ended = run_program(&self.arguments, request.as_bytes(), LIMIT);
        drop(request);
        let Ended { code, report } = ended.map_err(|error| not_checked(reason(&error)))?;
        let code = code.ok_or_else(|| not_checked("ended by a signal".to_owned()))?;
        match verdict(code) {
            Verdict::Accepted => {}
            Verdict::Rejected => return Err(rejected()),
            Verdict::Unavailable => return Err(not_checked(format!("exit code {code}"))),
        }
        let (record, uid, gid) =
            report.ok_or_else(|| not_checked("exit code 0 and no report".to_owned()))?;
        let report =
            Report::parse(&record).map_err(|error| (Denied::NotChecked, error.to_string()))?;
        if report.owner != (Owner { uid, gid }) {
            return Err(not_checked(format!("a report of uid {uid} about another user")));
        }
        let name =
            names.canonical(&report.name).ok_or_else(|| not_checked("no name".to_owned()))?;
        let (owner, home) = (Some(report.owner), report.home);
        Ok(Account { name, owner, gecos: Vec::new(), home, shell: Vec::new() })
    }
}

/// Whether this program is run as a user who has logged in by `--checkpassword`.
#[must_use]
pub fn is_report() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|first| first == REPORT) && arguments.next().is_none()
}

/// Reports over standard output the user that this process runs as.
#[must_use]
pub fn report() -> ExitCode {
    let variable = |name| std::env::var_os(name).unwrap_or_default();
    let report = Report {
        owner: Owner { uid: geteuid().as_raw(), gid: getegid().as_raw() },
        name: variable("USER").as_bytes().to_vec(),
        home: Path::new(&variable("HOME")).to_owned(),
    };
    match report.encode() {
        Ok(record) if write(std::io::stdout(), &record) == Ok(record.len()) => ExitCode::SUCCESS,
        _ => ExitCode::from(TEMPORARY),
    }
}
