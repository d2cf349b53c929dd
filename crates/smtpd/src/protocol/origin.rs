//! What the process that delivers a letter receives about the client and the envelope, beside names and text: for
//! the queue. It is read with the rights of root, so every byte of it is looked at.

use crate::protocol::address::Name;
use crate::protocol::envelope::{Envelope, Login, Recipient};
use crate::protocol::params::{Body, Notify};
use crate::protocol::question::{add_field, fields};

/// First byte of the record, which comes before the recipients.
pub const ORIGIN: u8 = b'o';

/// Where a letter comes from, and the parameters of its MAIL as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The login.
    pub login: Login,
    /// `BODY=`; empty without it.
    pub body: Vec<u8>,
    /// `SMTPUTF8` was given.
    pub is_utf8: bool,
    /// `RET=`; empty without it.
    pub ret: Vec<u8>,
    /// `ENVID=`; empty without it.
    pub envid: Vec<u8>,
}

/// The name of a RCPT, and its parameters as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedRecipient {
    /// By which a user is found, or where the letter goes.
    pub name: Name,
    /// `NOTIFY=`; empty without it.
    pub notify: Vec<u8>,
    /// `ORCPT=`; empty without it.
    pub orcpt: Vec<u8>,
}

impl Origin {
    /// Returns that of a letter with this envelope.
    #[must_use]
    pub fn new(login: &Login, envelope: &Envelope) -> Origin {
        let params = &envelope.params;
        let body = match params.body {
            None => "",
            Some(Body::SevenBit) => "7BIT",
            Some(Body::EightBitMime) => "8BITMIME",
        };
        Origin {
            login: login.clone(),
            body: body.into(),
            is_utf8: params.utf8,
            ret: params.ret.map(|ret| ret.keyword().into()).unwrap_or_default(),
            envid: params.envid.clone().unwrap_or_default().into_bytes(),
        }
    }

    /// Returns the record; `None` where a field is too long.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut record = vec![ORIGIN];
        let (Login { name, token }, is_utf8) = (&self.login, if self.is_utf8 { "1" } else { "" });
        for field in [name, token, &self.body, is_utf8.as_bytes(), &self.ret, &self.envid] {
            add_field(&mut record, field)?;
        }
        Some(record)
    }

    /// Reads a record without its first byte; `None` for one that is malformed.
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<Origin> {
        let all: [&[u8]; 6] = fields(record)?.try_into().ok()?;
        let [name, token, body, is_utf8, ret, envid] = all.map(<[u8]>::to_vec);
        let login = Login { name, token };
        Some(Origin { login, body, is_utf8: !is_utf8.is_empty(), ret, envid })
    }
}

/// Adds a recipient to a record; `None` where a field is too long.
#[must_use]
pub fn add_recipient(record: &mut Vec<u8>, recipient: &Recipient) -> Option<()> {
    let Recipient { name, params, .. } = recipient;
    let notify = params.notify.map(Notify::keywords).unwrap_or_default();
    let orcpt = params.orcpt.as_deref().unwrap_or_default();
    let all = [&name.local[..], &name.domain, notify.as_bytes(), orcpt.as_bytes()];
    all.into_iter().try_for_each(|field| add_field(record, field))
}

/// Reads the recipients in a record without its first byte; `None` for one that is malformed.
#[must_use]
pub fn decode_recipients(record: &[u8]) -> Option<Vec<NamedRecipient>> {
    let fields = fields(record)?;
    let all = fields.chunks(4).map(|four| match four {
        [local, domain, notify, orcpt] => Some(NamedRecipient {
            name: Name { local: local.to_vec(), domain: domain.to_vec() },
            notify: notify.to_vec(),
            orcpt: orcpt.to_vec(),
        }),
        _ => None,
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::params::{MailParams, RcptParams, Ret};

    #[test]
    fn an_origin_is_read_as_it_was_written() {
        let login = Login { name: b"levy".to_vec(), token: vec![7; 32] };
        let params = MailParams {
            body: Some(Body::EightBitMime),
            utf8: true,
            ret: Some(Ret::Headers),
            envid: Some("QQ+2B3".into()),
            ..MailParams::default()
        };
        for (login, params) in [(login, params), (Login::default(), MailParams::default())] {
            let envelope = Envelope { params, ..Envelope::default() };
            let origin = Origin::new(&login, &envelope);
            let record = origin.encode().unwrap();
            assert_eq!(Origin::decode(&record[1..]), Some(origin));
            for cut in 1..record.len() {
                assert_eq!(Origin::decode(&record[1..cut]), None);
            }
        }
    }

    #[test]
    fn recipients_are_read_with_their_parameters() {
        let name = |local: &str| Name { local: local.into(), domain: b"b.test".to_vec() };
        let notify = Some(Notify { success: true, failure: true, delay: false });
        let params = RcptParams { notify, orcpt: Some("rfc822;x@y.test".into()) };
        let mut record = Vec::new();
        for (local, params) in [("a", params), ("\"", RcptParams::default())] {
            let one = Recipient { address: String::new(), name: name(local), params };
            add_recipient(&mut record, &one).unwrap();
        }
        let first = NamedRecipient {
            name: name("a"),
            notify: b"SUCCESS,FAILURE".to_vec(),
            orcpt: b"rfc822;x@y.test".to_vec(),
        };
        let second = NamedRecipient { name: name("\""), ..NamedRecipient::default() };
        assert_eq!(decode_recipients(&record).unwrap(), [first, second]);
        assert!(decode_recipients(&record[..record.len() - 2]).is_none());
    }
}
