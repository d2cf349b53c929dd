//! The forms of an address with which the administrator's rules are compared: who is refused does not come in by quotes,
//! by another spelling of the domain, or by a sub-address.

use crate::options::Config;
use crate::protocol::address::{self, Mailbox, Path, Tolerance};
use dns::to_ascii;

/// Returns the forms of a sender without its brackets: as the client wrote it, and in its plain form.
#[must_use]
pub fn of_sender(sender: &str) -> Vec<String> {
    let mut forms = vec![sender.to_owned()];
    if let Ok((Path::Mailbox(mailbox), _)) =
        address::path(format!("<{sender}>").as_bytes(), Tolerance::SENDER)
    {
        add(&mut forms, plain(&mailbox.local, &mailbox.domain));
    }
    forms
}

/// Returns the forms of a recipient: as [`of_sender`], in our first domain where the domain is another name of this host, and
/// each without its sub-address.
pub(super) fn of_recipient(config: &Config, path: &Path) -> Vec<String> {
    let (local, domain, text) = match path {
        Path::Null => return vec![String::new()],
        Path::Name(name) => (name, &b""[..], None),
        Path::Mailbox(Mailbox { local, domain, text }) => (local, &domain[..], Some(text)),
    };
    let is_our_other =
        domain.is_empty() || domain.starts_with(b"[") || domain.eq_ignore_ascii_case(b"localhost");
    let own = is_our_other.then(|| config.first_domain().as_bytes());
    let at = local.iter().position(|byte| Some(*byte) == config.delimiter).filter(|at| *at > 0);
    let short = at.and_then(|at| local.get(..at));
    let mut forms: Vec<String> = text.cloned().into_iter().collect();
    for domain in own.into_iter().chain((!domain.is_empty()).then_some(domain)) {
        add(&mut forms, plain(local, domain));
        if let Some(short) = short {
            add(&mut forms, plain(short, domain));
        }
    }
    forms
}

/// Returns an address with quotes only where they are needed, and its domain as DNS has it.
fn plain(local: &[u8], domain: &[u8]) -> String {
    let domain = to_ascii(domain.strip_suffix(b".").unwrap_or(domain));
    format!("{}@{}", address::local_part_utf8(local), String::from_utf8_lossy(&domain))
}

fn add(forms: &mut Vec<String>, form: String) {
    if !forms.contains(&form) {
        forms.push(form);
    }
}
