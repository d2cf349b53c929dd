//! What a notification tells of one recipient (RFC 3464 §2.3).

use jiff::Zoned;

use crate::text::{Charset, address, said, unitext_decoded, unitext_encoded, value, xtext_decoded};

/// RFC 5322 §3.3.
const DATE: &str = "%a, %d %b %Y %H:%M:%S %z";

/// What has become of the letter (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It cannot be delivered, and is not tried again.
    Failed,
    /// It could not be delivered yet, and is tried again.
    Delayed,
    /// It is in the mailbox.
    Delivered,
    /// Another server has it, which sends no notifications.
    Relayed,
}

impl Action {
    fn keyword(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
        }
    }

    /// Returns the status code (RFC 3463) where a reply has none.
    fn default_status(self) -> &'static str {
        match self {
            Action::Failed => "5.0.0",
            Action::Delayed => "4.0.0",
            Action::Delivered | Action::Relayed => "2.0.0",
        }
    }

    /// Returns whether a status code of this class can be the reason. A letter that is too old has failed because of
    /// what was to last only for a time.
    fn takes(self, class: u8) -> bool {
        match self {
            Action::Failed => matches!(class, b'4' | b'5'),
            Action::Delayed => class == b'4',
            Action::Delivered | Action::Relayed => class == b'2',
        }
    }
}

/// A recipient in a notification.
#[derive(Debug, Clone)]
pub struct Recipient<'a> {
    /// The address without brackets.
    pub address: &'a [u8],
    /// `ORCPT=` as the client wrote it: a type and xtext (RFC 3461 §4.2). Empty without it.
    pub orcpt: &'a [u8],
    /// What has become of the letter.
    pub action: Action,
    /// The status code (RFC 3463) where the reply has none.
    pub default_status: Option<&'a str>,
    /// The server that has said it, as `NAME` or `NAME[ADDRESS]`; empty where it was no other server.
    pub remote: &'a [u8],
    /// The server's reply, or what was in its way; empty for none.
    pub reply: &'a [u8],
    /// When the last attempt was made.
    pub attempted: Option<Zoned>,
    /// How long it is tried again.
    pub retried_until: Option<Zoned>,
}

impl Recipient<'_> {
    /// Returns the fields, in lines that end in LF.
    pub(crate) fn fields(&self, charset: Charset) -> String {
        let mut fields = original(self.orcpt, charset).unwrap_or_default();
        let mut add = |name: &str, text: &str| fields.extend([name, ": ", value(text), "\n"]);
        add("Final-Recipient", &typed(self.address, charset));
        add("Action", self.action.keyword());
        add("Status", &self.status());
        if !self.remote.is_empty() {
            add("Remote-MTA", &format!("dns; {}", said(name(self.remote), charset)));
        }
        if !self.reply.is_empty() {
            // What is no reply of a server's has a type of our own (RFC 3464 §2.3.6, RFC 3461 §9.1).
            let is_reply = !self.remote.is_empty() && code(self.reply).is_some();
            let kind = if is_reply { "smtp" } else { "x-forklore" };
            add("Diagnostic-Code", &format!("{kind}; {}", said(self.reply, charset)));
        }
        if let Some(attempted) = &self.attempted {
            add("Last-Attempt-Date", &date(attempted));
        }
        if let Some(until) = self.retried_until.as_ref().filter(|_| self.action == Action::Delayed)
        {
            add("Will-Retry-Until", &date(until));
        }
        fields
    }

    /// Returns what a person reads of it, in lines that end in LF.
    pub(crate) fn paragraph(&self, charset: Charset) -> String {
        let mut text = format!("  <{}>\n", address(self.address, charset));
        let reply = said(self.reply, charset);
        match (reply.as_str(), said(self.remote, charset).as_str()) {
            ("", _) => {}
            (reply, remote) if !remote.is_empty() && code(self.reply).is_some() => {
                text.extend(["    ", value(&format!("{remote} said: {reply}")), "\n"]);
            }
            (reply, _) => text.extend(["    ", reply, "\n"]),
        }
        if self.action == Action::Failed && self.status().starts_with('4') {
            text.push_str("    It was tried again until now, and has become too old.\n");
        }
        text
    }

    /// Returns the code of the reply if it fits what has become of the letter, else the default, or that of the reply's
    /// first digit.
    fn status(&self) -> String {
        let of_reply = || {
            let rest =
                code(self.reply).map_or(self.reply, |_| self.reply.get(4..).unwrap_or_default());
            let word = rest.split(|&b| b == b' ').next().unwrap_or_default();
            let class = word.first().copied().filter(|&class| self.action.takes(class))?;
            let agrees = code(self.reply).is_none_or(|code| code == class);
            (agrees && is_status(word)).then(|| String::from_utf8_lossy(word).into_owned())
        };
        let of_digit = || {
            let class = code(self.reply).filter(|&class| self.action.takes(class))?;
            Some(format!("{}.0.0", char::from(class)))
        };
        let otherwise = || self.default_status.map(str::to_owned);
        of_reply()
            .or_else(otherwise)
            .or_else(of_digit)
            .unwrap_or_else(|| self.action.default_status().to_owned())
    }
}

/// Returns a server's name without its address; an address alone is one in brackets.
fn name(remote: &[u8]) -> &[u8] {
    let end = remote.iter().skip(1).position(|&b| b == b'[').map_or(remote.len(), |at| at + 1);
    remote.get(..end).unwrap_or(remote)
}

/// Returns a date as it stands in a header (RFC 5322 §3.3).
#[must_use]
pub fn date(zoned: &Zoned) -> String {
    zoned.strftime(DATE).to_string()
}

/// Returns the first digit of a reply code, for a reply that begins with one.
fn code(reply: &[u8]) -> Option<u8> {
    match reply {
        [class @ b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', rest @ ..] => {
            matches!(rest.first(), None | Some(b' ' | b'-')).then_some(*class)
        }
        _ => None,
    }
}

/// Returns whether a word is a status code (RFC 3463 §2).
fn is_status(word: &[u8]) -> bool {
    let parts: Vec<&[u8]> = word.split(|&b| b == b'.').collect();
    let is_number =
        |part: &&[u8]| (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    parts.len() == 3
        && parts.iter().all(is_number)
        && matches!(parts.first(), Some([b'2' | b'4' | b'5']))
}

/// Returns `Original-Recipient:` with its line end; `None` for what is no `type;address`.
fn original(orcpt: &[u8], charset: Charset) -> Option<String> {
    let at = orcpt.iter().position(|&b| b == b';')?;
    let (kind, xtext) = (orcpt.get(..at)?, orcpt.get(at + 1..)?);
    let is_kind = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    if kind.is_empty() || kind.len() > 40 || xtext.is_empty() || !kind.iter().all(is_kind) {
        return None;
    }
    let kind = String::from_utf8_lossy(kind);
    let decoded = xtext_decoded(xtext);
    // RFC 6533 §3: as it is where UTF-8 may stand, else with \x{…}.
    let utf8 = || {
        let text = unitext_decoded(&String::from_utf8_lossy(&decoded));
        let plain = address(text.as_bytes(), Charset::Utf8);
        if charset == Charset::Utf8 { plain } else { unitext_encoded(&plain) }
    };
    let shown = match kind.eq_ignore_ascii_case("utf-8") {
        true => utf8(),
        false => address(&decoded, charset),
    };
    Some(format!("Original-Recipient: {kind};{}\n", value(&shown)))
}

/// Returns an address with its type (RFC 3464 §2.1.2, RFC 6533 §3).
fn typed(bytes: &[u8], charset: Charset) -> String {
    let shown = address(bytes, Charset::Utf8);
    match (bytes.is_ascii(), charset) {
        (true, _) => format!("rfc822;{}", address(bytes, Charset::Ascii)),
        (false, Charset::Utf8) => format!("utf-8;{shown}"),
        (false, Charset::Ascii) => format!("utf-8;{}", unitext_encoded(&shown)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient<'a>(action: Action, remote: &'a [u8], reply: &'a [u8]) -> Recipient<'a> {
        Recipient {
            address: b"levy@red.test",
            orcpt: b"",
            action,
            default_status: None,
            remote,
            reply,
            attempted: None,
            retried_until: None,
        }
    }

    #[test]
    fn the_status_is_that_of_the_reply_if_it_fits_the_action() {
        use Action::{Delayed, Delivered, Failed, Relayed};
        for (action, reply, status) in [
            (Failed, "550 5.1.1 no such user", "5.1.1"),
            (Failed, "550-5.7.1 no\r\n550 5.7.1 never", "5.7.1"),
            (Failed, "5.1.2 no such domain", "5.1.2"),
            (Failed, "550 no", "5.0.0"),
            (Failed, "550", "5.0.0"),
            (Failed, "550 4.1.1 odd", "5.0.0"),
            (Failed, "451 4.3.0 later", "4.3.0"),
            (Failed, "421 busy", "4.0.0"),
            (Failed, "250 2.0.0 ok", "5.0.0"),
            (Failed, "550 5.1.1.1 x", "5.0.0"),
            (Failed, "550 5.1234.1 x", "5.0.0"),
            (Failed, "", "5.0.0"),
            (Failed, "5501 5.1.1", "5.0.0"),
            (Delayed, "451 4.3.0 later", "4.3.0"),
            (Delayed, "550 5.1.1 x", "4.0.0"),
            (Delayed, "connection refused", "4.0.0"),
            (Delivered, "250 2.1.5 ok", "2.1.5"),
            (Relayed, "250 ok", "2.0.0"),
        ] {
            assert_eq!(
                recipient(action, b"red.test", reply.as_bytes()).status(),
                status,
                "{reply}"
            );
        }
        for (reply, status) in
            [("time out", "4.4.7"), ("421 busy", "4.4.7"), ("451 4.3.0 x", "4.3.0")]
        {
            let default_status = Some("4.4.7");
            let expired = Recipient { default_status, ..recipient(Failed, b"", reply.as_bytes()) };
            assert_eq!(expired.status(), status);
        }
    }

    #[test]
    fn a_servers_reply_and_a_reason_of_our_own_have_types_of_their_own() {
        let theirs = recipient(Action::Failed, b"red.test", b"550 5.1.1 no").fields(Charset::Ascii);
        assert!(
            theirs.ends_with("Remote-MTA: dns; red.test\nDiagnostic-Code: smtp; 550 5.1.1 no\n")
        );
        let ours = recipient(Action::Failed, b"", b"5.1.2 no such domain").fields(Charset::Ascii);
        assert!(
            ours.ends_with("Status: 5.1.2\nDiagnostic-Code: x-forklore; 5.1.2 no such domain\n")
        );
        let bracketed = recipient(Action::Failed, b"mx.red.test[192.0.2.7]", b"550 no");
        assert!(bracketed.fields(Charset::Ascii).contains("\nRemote-MTA: dns; mx.red.test\n"));
        assert!(
            bracketed.paragraph(Charset::Ascii).contains("mx.red.test[192.0.2.7] said: 550 no")
        );
        assert_eq!(name(b"[192.0.2.7][192.0.2.7]"), b"[192.0.2.7]");
        let cut = recipient(Action::Delayed, b"red.test", b"the connection was closed");
        assert!(cut.fields(Charset::Ascii).contains("Diagnostic-Code: x-forklore; the connection"));
        assert!(cut.paragraph(Charset::Ascii).ends_with(">\n    the connection was closed\n"));
        let old =
            recipient(Action::Failed, b"red.test", b"450 4.2.1 busy").paragraph(Charset::Ascii);
        assert!(old.ends_with("\n    It was tried again until now, and has become too old.\n"));
    }

    #[test]
    fn the_recipient_that_the_author_wrote_to_is_decoded_and_makes_one_line() {
        for (orcpt, ascii, utf8) in [
            ("rfc822;L+2Bx@c.test", "rfc822;L+x@c.test", "rfc822;L+x@c.test"),
            ("x400;+0D+0AStatus:+202.0.0", "x400;??Status: 2.0.0", "x400;??Status: 2.0.0"),
            ("utf-8;\\x{fc}@c.test", "utf-8;\\x{FC}@c.test", "utf-8;\u{fc}@c.test"),
            ("utf-8;\u{fc}@c.test", "utf-8;\\x{FC}@c.test", "utf-8;\u{fc}@c.test"),
            ("UTF-8;\\x{a}X: y", "UTF-8;?X:\\x{20}y", "UTF-8;?X: y"),
        ] {
            for (charset, value) in [(Charset::Ascii, ascii), (Charset::Utf8, utf8)] {
                let line = original(orcpt.as_bytes(), charset).unwrap();
                assert_eq!(line, format!("Original-Recipient: {value}\n"));
            }
        }
        for none in ["", "levy", ";levy", "rfc822;", "a b;c", "a\n;c"] {
            assert_eq!(original(none.as_bytes(), Charset::Utf8), None);
        }
    }
}
