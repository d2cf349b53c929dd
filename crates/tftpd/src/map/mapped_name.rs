//! A name on its way through the rules.

/// A name, and the part of it that belongs to the client.
#[derive(Default)]
pub(super) struct MappedName {
    pub(super) bytes: Vec<u8>,
    /// Where the client's address in it ends, if a rule has put it there.
    pub(super) client_end: Option<usize>,
}

impl MappedName {
    /// True where `..` follows the client's address: it would lead to the folder of another client.
    pub(super) fn leaves_client_folder(&self) -> bool {
        let after = self.client_end.and_then(|end| self.bytes.get(end..)).unwrap_or_default();
        after.split(|&byte| byte == b'/').skip(1).any(|part| part == b"..")
    }
}
