//! TLSA records: what DNS says of a server's certificate (RFC 6698 §2.1).

/// What the certificate, or the one of its authority, must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// 0 and 1 are of the public authorities, 2 the authority of the server's certificate, 3 that certificate itself.
    pub usage: u8,
    /// 0 the whole certificate, 1 its public key.
    pub selector: u8,
    /// 0 the bytes themselves, 1 their SHA-256, 2 their SHA-512.
    pub matching: u8,
    /// The bytes, or their digest.
    pub data: Vec<u8>,
}

impl Tlsa {
    /// Reads the record's data; `None` for what is too short.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Tlsa> {
        let (head, data) = bytes.split_first_chunk::<3>()?;
        let [usage, selector, matching] = *head;
        (!data.is_empty()).then(|| Tlsa { usage, selector, matching, data: data.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_three_numbers_and_bytes() {
        let tlsa = Tlsa::parse(&[3, 1, 1, 0xab, 0xcd]).unwrap();
        assert_eq!((tlsa.usage, tlsa.selector, tlsa.matching), (3, 1, 1));
        assert_eq!(tlsa.data, [0xab, 0xcd]);
        for short in [&[][..], &[3, 1], &[3, 1, 1]] {
            assert_eq!(Tlsa::parse(short), None);
        }
    }
}
