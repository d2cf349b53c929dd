//! What HELP tells of each command (RFC 5321 §4.1.1.8; slide: "HELP").

const PURPOSES: [(&str, &str); 19] = [
    ("HELO", "names the client, which begins the session"),
    ("EHLO", "names the client, which begins the session; lists what the server can do"),
    ("LHLO", "names the client, which begins a session of LMTP; lists what the server can do"),
    ("MAIL", "begins a letter from this sender"),
    ("RCPT", "adds a recipient to the letter; there may be several"),
    ("DATA", "sends the text of the letter, which a line with nothing but a dot ends"),
    ("BDAT", "sends a piece of the letter's text, of this size; LAST ends it"),
    ("SEND", "begins a message that is written to the terminals of its recipients"),
    ("SOML", "begins a message for terminals, or a letter where a recipient has none"),
    ("SAML", "begins a message for terminals that is a letter too"),
    ("STARTTLS", "encrypts the rest of the session"),
    ("AUTH", "logs a user in"),
    ("RSET", "drops the letter that was begun"),
    ("VRFY", "tells the full name of a user, by an address or a part of the name"),
    ("EXPN", "tells the members of a group"),
    ("NOOP", "does nothing"),
    ("HELP", "lists the commands, or tells how one is written"),
    ("QUIT", "ends the session"),
    ("TURN", "is not done here: who is client stays client"),
];

/// Returns what a command is for.
#[must_use]
pub(super) fn purpose(verb: &str) -> Option<&'static str> {
    PURPOSES.iter().find(|(known, _)| *known == verb).map(|(_, purpose)| *purpose)
}
