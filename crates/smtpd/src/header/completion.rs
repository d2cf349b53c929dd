//! Completes the header of a letter that a mail program hands in (RFC 6409 §8): a letter without `Date:`,
//! `Message-ID:` or `From:` is refused by some servers and sorted wrongly by others.

use crate::protocol::address::is_atom_with_dots;

/// What is added to a header, and what was seen of it.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The domain of names that have none.
    domain: String,
    /// `Date`, `Message-ID` and `From`, with their values; none of a field that was seen.
    fields: [Option<(&'static str, String)>; 3],
}

impl Completion {
    /// Begins, with the values of the fields and the domain of names that have none.
    #[must_use]
    pub fn new(date: String, message_id: String, from: String, domain: &str) -> Completion {
        let fields = [("Date", date), ("Message-ID", message_id), ("From", from)];
        Completion { domain: domain.to_owned(), fields: fields.map(Some) }
    }

    /// Notes a field; returns whether its value is to be [`Completion::completed`].
    pub(super) fn sees(&mut self, name: &[u8]) -> bool {
        for field in &mut self.fields {
            if field.as_ref().is_some_and(|(own, _)| name.eq_ignore_ascii_case(own.as_bytes())) {
                *field = None;
            }
        }
        name.eq_ignore_ascii_case(b"From")
    }

    /// Returns the lines of the fields that were not seen.
    pub(super) fn missing(&self) -> Vec<u8> {
        let line = |(name, value): &(&str, String)| format!("{name}: {value}\n");
        self.fields.iter().flatten().map(line).collect::<String>().into_bytes()
    }

    /// Returns a whole field `From:` with a domain after its address, where that has none and is the only one.
    pub(super) fn completed(&self, field: &[u8]) -> Vec<u8> {
        let Some(at) = self.end_of_bare_name(field) else { return field.to_vec() };
        let (before, after) = field.split_at_checked(at).unwrap_or((field, &[]));
        [before, b"@", self.domain.as_bytes(), after].concat()
    }

    fn end_of_bare_name(&self, field: &[u8]) -> Option<usize> {
        if field.iter().any(|byte| b"@,;\"(".contains(byte)) {
            return None;
        }
        let colon = field.iter().position(|&byte| byte == b':')? + 1;
        let (start, end) = match field.iter().position(|&byte| byte == b'<') {
            Some(open) => (open + 1, field.iter().rposition(|&byte| byte == b'>')?),
            None => {
                let value = field.get(colon..)?;
                (
                    colon + (value.len() - value.trim_ascii_start().len()),
                    field.trim_ascii_end().len(),
                )
            }
        };
        is_atom_with_dots(field.get(start..end)?).then_some(end)
    }

    #[cfg(test)]
    pub(super) fn sample() -> Completion {
        let (date, id, from) = ("today", "<7@red.test>", "levy@red.test");
        Completion::new(date.into(), id.into(), from.into(), "red.test")
    }
}
