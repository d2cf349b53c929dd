//! The reply to a letter that some of its recipients have and others not. SMTP has one for all: its code is that for the
//! others, and its text says who they are, so that the sender who reads it knows.

use crate::delivery::letter::Received;
use crate::protocol::envelope::Envelope;
use crate::protocol::reply::Reply;
use crate::session::log_fields::address;

/// Longest address in the reply, whose line may have 512 octets (RFC 5321 §4.5.3.1.5).
const MAX_ADDRESS: usize = 256;

/// Returns the reply: this one, and if some have the letter, who has not.
pub(super) fn partial_reply(envelope: &Envelope, received: &Received, reply: &Reply) -> Reply {
    let answers = envelope.recipients.iter().zip(&received.delivered.answers);
    let failed = answers.filter(|(_, answer)| answer.is_err()).map(|(recipient, _)| recipient);
    let failed: Vec<String> = failed.map(|recipient| address(&recipient.address)).collect();
    let others = received.delivered.answers.len() - failed.len();
    let (Some(first), true) = (failed.first(), others > 0) else { return reply.clone() };
    let who = match failed.len() {
        1 if first.len() <= MAX_ADDRESS => first.clone(),
        1 => "one recipient".to_owned(),
        more if first.len() <= MAX_ADDRESS => format!("{first} and {} more", more - 1),
        more => format!("{more} recipients"),
    };
    let then = if reply.code() < 500 { ", try again later" } else { "" };
    let text = format!("Not delivered to {who}{then}; the others have it");
    reply.with_text(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::address;
    use crate::protocol::envelope::Recipient;
    use crate::protocol::lookup::{Delivered, Refusal};
    use crate::protocol::params::RcptParams;
    use std::time::Duration;

    fn said(recipients: &[(&str, u16)]) -> String {
        let mut envelope = Envelope::default();
        let mut answers = Vec::new();
        for (address, code) in recipients {
            let name = address::without_brackets(address.as_bytes()).unwrap().name().unwrap();
            let params = RcptParams::default();
            envelope.add(Recipient { address: (*address).into(), name, params });
            let reply = Reply::new(*code, if *code < 500 { "4.3.0" } else { "5.3.0" }, "No");
            answers.push(match code {
                250 => Ok(()),
                _ => Err(Refusal { reply, reason: String::new() }),
            });
        }
        let delivered = Delivered { answers, ..Delivered::default() };
        let received = Received { octets: 1, delivered, took: Duration::ZERO };
        let reply = received.for_all().unwrap_err().reply.clone();
        partial_reply(&envelope, &received, &reply).lines().collect()
    }

    #[test]
    fn the_reply_says_who_has_not_got_the_letter_if_others_have() {
        assert_eq!(said(&[("a@b.test", 451)]), "451 4.3.0 No");
        assert_eq!(
            said(&[("a@b.test", 250), ("c@d.test", 451)]),
            "451 4.3.0 Not delivered to <c@d.test>, try again later; the others have it"
        );
        assert_eq!(
            said(&[("a@b.test", 550), ("c@d.test", 250), ("e@f.test", 451)]),
            "451 4.3.0 Not delivered to <a@b.test> and 1 more, try again later; the others have it"
        );
        assert_eq!(
            said(&[("a@b.test", 250), ("c@d.test", 550)]),
            "550 5.3.0 Not delivered to <c@d.test>; the others have it"
        );
        let long = format!("{}@b.test", "x".repeat(300));
        assert_eq!(
            said(&[("a@b.test", 250), (&long, 451)]),
            "451 4.3.0 Not delivered to one recipient, try again later; the others have it"
        );
    }
}
