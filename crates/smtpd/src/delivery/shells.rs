//! Whether a user may have commands run: shells(5).

use std::io::ErrorKind;

/// The list of shells of users who may log in.
const SHELLS: &str = "/etc/shells";
/// The shells where there is no such file (getusershell(3)).
const DEFAULTS: [&[u8]; 2] = [b"/bin/sh", b"/bin/csh"];

/// Returns whether a user with this shell may name commands and files in `~/.forward`. One who has mail or files here
/// and no shell, such as with nologin(8), must not get one by that; without a shell in passwd(5) it is /bin/sh.
#[must_use]
pub fn may_have_commands(shell: &[u8]) -> bool {
    if shell.is_empty() {
        return true;
    }
    match std::fs::read(SHELLS) {
        Ok(text) => is_listed(&text, shell),
        Err(error) if error.kind() == ErrorKind::NotFound => DEFAULTS.contains(&shell),
        Err(error) => {
            log::warn!("{SHELLS}: {}", forknet::reason(&error));
            false
        }
    }
}

fn is_listed(text: &[u8], shell: &[u8]) -> bool {
    text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).any(|line| line == shell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_that_is_not_listed_is_none() {
        let text = b"# shells\n/bin/sh\n /bin/bash \n\n";
        assert!(is_listed(text, b"/bin/sh") && is_listed(text, b"/bin/bash"));
        assert!(!is_listed(text, b"/usr/sbin/nologin") && !is_listed(text, b"/bin/s"));
        assert!(may_have_commands(b""));
        assert!(!may_have_commands(b"/bin/false") && !may_have_commands(b"/usr/sbin/nologin"));
    }
}
