//! The name that the rules transform.

/// A name, and the part of it that is the client's own folder.
#[derive(Default)]
pub(super) struct MappedName {
    pub(super) bytes: Vec<u8>,
    /// End of the client's address in the name, if a rule has inserted it.
    pub(super) client_end: Option<usize>,
}

impl MappedName {
    /// Returns whether `..` follows the client's address, which could lead to another client's
    /// folder.
    pub(super) fn leaves_client_folder(&self) -> bool {
        let after = self.client_end.and_then(|end| self.bytes.get(end..)).unwrap_or_default();
        after.split(|&byte| byte == b'/').skip(1).any(|part| part == b"..")
    }
}
