//! The messages of SCRAM (RFC 5802 §7), taken apart and put together.

use crate::encoding::{base64, from_base64};
use crate::names::MAX_NAME;
use crate::password::{MAX_ROUNDS, MIN_ROUNDS, number};
use crate::secret::Secret;

/// Longest part of a nonce that one side chooses, in bytes.
const MAX_NONCE: usize = 128;
/// Longest salt in bytes, in base64.
const MAX_SALT: usize = 128;
/// Length of a proof and of a signature in bytes.
const PROOF: usize = 32;

/// What is wrong with a message.
pub(super) type Fault = &'static str;

/// What a client says of channel binding (RFC 5802 §7: `gs2-cbind-flag`).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flag<'a> {
    /// `n`: it has none.
    None,
    /// `y`: it has one, but thinks that the server has not.
    Unused,
    /// `p=NAME`: this message is bound by it.
    Bound(&'a [u8]),
}

/// `client-first-message`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    pub(super) flag: Flag<'a>,
    /// `gs2-header`, which the client repeats in its last message.
    pub(super) header: &'a [u8],
    /// The authorization identity; empty where there is none.
    pub(super) authzid: Vec<u8>,
    /// `client-first-message-bare`, which the proof is made over.
    pub(super) bare: &'a [u8],
    /// The user's name.
    pub(super) name: Vec<u8>,
    /// The client's part of the nonce.
    pub(super) nonce: &'a [u8],
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<ClientFirst<'a>, Fault> {
        let malformed = "SCRAM: the first message is malformed";
        let (flag, rest) = cut(message, b',').ok_or(malformed)?;
        let (authzid, bare) = cut(rest, b',').ok_or(malformed)?;
        let header = message.get(..message.len() - bare.len()).ok_or(malformed)?;
        let flag = match flag {
            b"n" => Flag::None,
            b"y" => Flag::Unused,
            _ => Flag::Bound(flag.strip_prefix(b"p=").ok_or(malformed)?),
        };
        let authzid = match authzid {
            b"" => Vec::new(),
            _ => authzid.strip_prefix(b"a=").and_then(unescaped).ok_or(malformed)?,
        };
        if bare.starts_with(b"m=") {
            return Err("SCRAM: a mandatory extension that is not known");
        }
        let (name, rest) = cut(bare, b',').ok_or(malformed)?;
        let name = name.strip_prefix(b"n=").and_then(unescaped).ok_or(malformed)?;
        let nonce = rest.split(|&byte| byte == b',').next().unwrap_or_default();
        let nonce = nonce.strip_prefix(b"r=").filter(|nonce| is_nonce(nonce)).ok_or(malformed)?;
        if name.is_empty() || name.len() > MAX_NAME {
            return Err("SCRAM: the name is empty or too long");
        }
        Ok(ClientFirst { flag, header, authzid, bare, name, nonce })
    }
}

/// `client-final-message`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    /// The header and the channel binding.
    pub(super) binding: Secret,
    /// The whole nonce.
    pub(super) nonce: &'a [u8],
    /// `client-final-message-without-proof`
    pub(super) without_proof: &'a [u8],
    pub(super) proof: [u8; PROOF],
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<ClientFinal<'a>, Fault> {
        let malformed = "SCRAM: the last message is malformed";
        let comma = message.iter().rposition(|&byte| byte == b',').ok_or(malformed)?;
        let (without_proof, proof) = message.split_at_checked(comma).ok_or(malformed)?;
        let proof = proof.strip_prefix(b",p=").and_then(key).ok_or(malformed)?;
        let mut fields = without_proof.split(|&byte| byte == b',');
        let mut next = |name: &[u8]| fields.next().and_then(|field| field.strip_prefix(name));
        let binding = next(b"c=").and_then(from_base64).ok_or(malformed)?;
        let nonce = next(b"r=").ok_or(malformed)?;
        Ok(ClientFinal { binding, nonce, without_proof, proof })
    }
}

/// `server-first-message`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerFirst<'a> {
    /// The whole nonce.
    pub(super) nonce: &'a [u8],
    pub(super) salt: Secret,
    pub(super) iterations: u32,
}

impl<'a> ServerFirst<'a> {
    /// Takes a salt of 1 to 96 bytes and 4096 to 1,000,000 iterations: fewer make the password easy to
    /// guess for a false server (RFC 7677 §4), more are there to keep the client busy.
    pub(super) fn parse(message: &'a [u8]) -> Result<ServerFirst<'a>, Fault> {
        let malformed = "SCRAM: the server's first message is malformed";
        let mut fields = message.split(|&byte| byte == b',');
        let mut next = |name: &[u8]| fields.next().and_then(|field| field.strip_prefix(name));
        let nonce = next(b"r=").ok_or(malformed)?;
        let salt = next(b"s=").filter(|salt| salt.len() <= MAX_SALT).and_then(from_base64);
        let salt = salt.filter(|salt| !salt.is_empty()).ok_or(malformed)?;
        let iterations = next(b"i=").and_then(number).ok_or(malformed)?;
        if !(MIN_ROUNDS..=MAX_ROUNDS).contains(&iterations) {
            return Err("SCRAM: the server's iteration count is out of bounds");
        }
        Ok(ServerFirst { nonce, salt, iterations })
    }
}

/// Returns `server-first-message`.
pub(crate) fn server_first(nonce: [&[u8]; 2], salt: &[u8], iterations: u32) -> Vec<u8> {
    let [client, server] = nonce;
    let rest = format!(",s={},i={iterations}", base64(salt));
    [b"r=", client, server, rest.as_bytes()].concat()
}

/// Returns `AuthMessage`, which proof and signature are made over (RFC 5802 §3).
pub(crate) fn auth_message(client_first_bare: &[u8], server_first: &[u8], rest: &[u8]) -> Vec<u8> {
    [client_first_bare, server_first, rest].join(&b',')
}

/// Reads a proof or a signature.
pub(super) fn key(text: &[u8]) -> Option<[u8; PROOF]> {
    from_base64(text)?.as_bytes().try_into().ok()
}

/// Writes a name: its commas and equal signs as `=2C` and `=3D` (RFC 5802 §5.1).
pub(super) fn escaped(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b',' => text.extend_from_slice(b"=2C"),
            b'=' => text.extend_from_slice(b"=3D"),
            _ => text.push(*byte),
        }
    }
    text
}

/// Reads a name; one with another `=`, that is no UTF-8 or holds a NUL is malformed (RFC 5802 §7).
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.contains('\0'))?;
    let mut parts = text.split('=');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (byte, rest) = match part.as_bytes().split_at_checked(2)? {
            (b"2C", rest) => (b',', rest),
            (b"3D", rest) => (b'=', rest),
            _ => return None,
        };
        name.push(byte);
        name.extend_from_slice(rest);
    }
    Some(name)
}

fn is_nonce(nonce: &[u8]) -> bool {
    (1..=MAX_NONCE).contains(&nonce.len()) && nonce.iter().all(u8::is_ascii_graphic)
}

/// The part before a mark, and what follows it.
fn cut(text: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == mark)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_message_is_taken_apart() {
        let message = ClientFirst::parse(b"p=tls-exporter,a=a=2Cb,n=a=2Cb=3D,r=x~y,ext=1").unwrap();
        assert_eq!(message.flag, Flag::Bound(b"tls-exporter"));
        assert_eq!(message.header, b"p=tls-exporter,a=a=2Cb,");
        assert_eq!(message.bare, b"n=a=2Cb=3D,r=x~y,ext=1");
        assert_eq!((&message.name[..], &message.authzid[..]), (&b"a,b="[..], &b"a,b"[..]));
        assert_eq!(message.nonce, b"x~y");
        assert_eq!(escaped(b"a,b="), b"a=2Cb=3D");
        assert_eq!(ClientFirst::parse(b"y,,n=a,r=b").unwrap().flag, Flag::Unused);
    }

    #[test]
    fn a_malformed_first_message_is_refused() {
        let long = format!("n,,n=a,r={}", "x".repeat(MAX_NONCE + 1));
        let name = format!("n,,n={},r=x", "a".repeat(MAX_NAME + 1));
        for odd in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=a",
            "n,,n=a,",
            "n,,n=a,r=",
            "n,,r=b,n=a",
            "x,,n=a,r=b",
            "n,b,n=a,r=b",
            "n,,m=x,n=a,r=b",
            "n,,n=a=2Xb,r=b",
            "n,,n=a=,r=b",
            "n,,n=,r=b",
            "n,,n=a,r=b c",
            "n,,n=a\0,r=b",
            "p,,n=a,r=b",
            &long,
            &name,
        ] {
            assert!(ClientFirst::parse(odd.as_bytes()).is_err(), "{odd}");
        }
        assert!(ClientFirst::parse(b"n,,n=\xff,r=b").is_err());
    }

    #[test]
    fn a_malformed_last_message_is_refused() {
        let proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert!(ClientFinal::parse(format!("c=biws,r=a,x=y,p={proof}").as_bytes()).is_ok());
        for odd in [
            String::new(),
            "c=biws,r=a".into(),
            "c=biws,r=a,p=AAAA".into(),
            format!("c=biw,r=a,p={proof}"),
            format!("r=a,c=biws,p={proof}"),
            format!("p={proof}"),
            format!("c=biws,r=a,p={proof},x=y"),
        ] {
            assert!(ClientFinal::parse(odd.as_bytes()).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_malformed_message_of_the_server_is_refused() {
        assert!(ServerFirst::parse(b"r=a,s=c2FsdA==,i=4096,x=y").is_ok());
        for odd in [
            "",
            "r=a",
            "r=a,s=,i=4096",
            "r=a,s=c2FsdA==,i=4095",
            "r=a,s=c2FsdA==,i=1000001",
            "r=a,s=c2FsdA==,i=04096",
            "r=a,s=c2FsdA==,i=+4096",
            "r=a,s=c2FsdA,i=4096",
            "e=other-error",
            "m=x,r=a,s=c2FsdA==,i=4096",
        ] {
            assert!(ServerFirst::parse(odd.as_bytes()).is_err(), "{odd}");
        }
    }
}
