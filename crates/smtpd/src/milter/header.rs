//! The header of a letter as filters see it, and their changes to it.

use crate::milter::answer::Edit;

/// A field: its name, and what follows the colon, with LF where it is folded and without the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name.
    pub name: Vec<u8>,
    /// What follows the colon.
    pub value: Vec<u8>,
    /// It is one of ours, which filters do not see.
    is_ours: bool,
}

/// Returns the length of the header at the start of a text whose lines end in LF, without the blank line after it;
/// `None` where its end has not come yet. `is_all`: nothing follows.
#[must_use]
pub fn length(text: &[u8], is_all: bool) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let folds = matches!(line.first(), Some(b' ' | b'\t')) && at > 0;
        match end {
            None if !is_all => return None,
            _ if line.is_empty() || !(folds || is_field(line)) => return Some(at),
            None => return Some(text.len()),
            Some(end) => at += end + 1,
        }
    }
}

/// Returns whether a line begins a field (RFC 5322 §2.2; §4.5 for the white space before the colon).
fn is_field(line: &[u8]) -> bool {
    let colon = line.iter().position(|&byte| byte == b':');
    let name = colon.and_then(|at| line.get(..at)).unwrap_or_default().trim_ascii_end();
    !name.is_empty() && name.iter().all(|byte| matches!(byte, 33..=126))
}

/// Splits a header into its fields.
#[must_use]
pub fn fields(header: &[u8], is_ours: bool) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for line in header.split_inclusive(|&byte| byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match (line.first(), fields.last_mut()) {
            (Some(b' ' | b'\t'), Some(field)) => {
                field.value.push(b'\n');
                field.value.extend_from_slice(text);
            }
            _ => {
                let at = text.iter().position(|&byte| byte == b':').unwrap_or(text.len());
                let (name, value) = text.split_at_checked(at).unwrap_or_default();
                let value = value.strip_prefix(b":").unwrap_or(value).to_vec();
                fields.push(Field { name: name.to_vec(), value, is_ours });
            }
        }
    }
    fields
}

/// Returns the text of fields.
#[must_use]
pub fn text(fields: &[Field]) -> Vec<u8> {
    let parts = fields.iter().flat_map(|field| [&field.name[..], b":", &field.value, b"\n"]);
    parts.flatten().copied().collect()
}

/// Makes a change.
pub fn apply(fields: &mut Vec<Field>, edit: &Edit) {
    match edit {
        Edit::Add { name, value } => fields.push(new(name, value)),
        Edit::Insert { above, name, value } => {
            fields.insert((*above).min(fields.len()), new(name, value));
        }
        Edit::Change { number, name, value } => {
            let is_its = |field: &Field| {
                !field.is_ours && field.name.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes())
            };
            let all = fields.iter().enumerate().filter(|(_, field)| is_its(field));
            let at = all.map(|(at, _)| at).nth(number.saturating_sub(1));
            match at {
                Some(at) if value.is_empty() => drop(fields.remove(at)),
                Some(at) => {
                    if let Some(field) = fields.get_mut(at) {
                        *field = new(name, value);
                    }
                }
                None if value.is_empty() => {}
                None => fields.push(new(name, value)), // as sendmail does
            }
        }
    }
}

/// Returns a field, with the blank after the colon that filters leave out.
fn new(name: &str, value: &[u8]) -> Field {
    let blank: &[u8] = if matches!(value.first(), Some(b' ' | b'\t')) { b"" } else { b" " };
    let value = [blank, value].concat();
    Field { name: name.as_bytes().to_vec(), value, is_ours: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_ends_at_a_blank_line_or_at_one_that_is_no_field() {
        for (letter, header) in [
            ("A: b\n c\nD:e\n\nbody\n", "A: b\n c\nD:e\n"),
            ("A: b\nno field\n", "A: b\n"),
            ("no field\n", ""),
            ("\nbody\n", ""),
            (" indented\n", ""),
            ("A : b\n\n", "A : b\n"),
            ("A: b", "A: b"),
            ("A: b\n", "A: b\n"),
            ("", ""),
        ] {
            assert_eq!(length(letter.as_bytes(), true), Some(header.len()), "{letter:?}");
            for cut in 0..letter.len() {
                let early = length(&letter.as_bytes()[..cut], false);
                assert!(early.is_none_or(|it| it == header.len()), "{letter:?} at {cut}");
            }
        }
    }

    #[test]
    fn a_header_that_is_split_and_joined_is_the_same() {
        for header in ["", "A: b\n c\nD:e\n", "A : b\nA:\n", "A:b\n\tc\n\td\nE: \n"] {
            assert_eq!(text(&fields(header.as_bytes(), false)), header.as_bytes());
        }
    }

    #[test]
    fn changes_count_fields_of_one_name_and_never_touch_ours() {
        let mut all = fields(b"Received: by us\n", true);
        all.extend(fields(b"Received: by them\nX: 1\nx: 2\n f\n", false));
        let (name, value) = ("X".to_owned(), b"new".to_vec());
        apply(&mut all, &Edit::Change { number: 2, name: name.clone(), value: value.clone() });
        apply(&mut all, &Edit::Change { number: 1, name: name.clone(), value: vec![] });
        apply(&mut all, &Edit::Change { number: 1, name: "Received".into(), value: vec![] });
        apply(&mut all, &Edit::Change { number: 9, name: "Y".into(), value: vec![] });
        apply(&mut all, &Edit::Change { number: 9, name: "Y".into(), value: value.clone() });
        apply(&mut all, &Edit::Insert { above: 0, name: "Top".into(), value: b" t".to_vec() });
        apply(&mut all, &Edit::Insert { above: 99, name: "End".into(), value: b"a\n\tb".to_vec() });
        let expected = "Top: t\nReceived: by us\nX: new\nY: new\nEnd: a\n\tb\n";
        assert_eq!(String::from_utf8(text(&all)).unwrap(), expected);
    }
}
