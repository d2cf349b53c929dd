//! A delivery whose letter passes the filters on its way. The header waits here for their changes, which come at
//! the end, and is sent on then, to be put before the rest.

use std::cell::RefCell;

use crate::milter::connection::Changes;
use crate::milter::filters::Filters;
use crate::milter::header::{apply, fields, length, text};
use crate::protocol::lookup::{Delivered, Delivery, Refusal};
use crate::protocol::reply::Reply;

/// Longest header in bytes.
const MAX_HEADER: usize = 256 * 1024;

/// The letter that is filtered.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Its name in the log.
    pub id: String,
    /// The length of our own fields at its start, in bytes.
    pub trace: usize,
    /// The number of its recipients.
    pub recipients: usize,
}

/// The delivery of a letter that is filtered.
pub struct Filtered<'a> {
    filters: &'a RefCell<Filters>,
    delivery: Box<dyn Delivery + 'a>,
    letter: Letter,
    /// Our own fields and the header.
    header: Vec<u8>,
    in_body: bool,
}

impl<'a> Filtered<'a> {
    /// Has the letter pass these filters on its way to `delivery`.
    #[must_use]
    pub fn new(
        filters: &'a RefCell<Filters>,
        delivery: Box<dyn Delivery + 'a>,
        letter: Letter,
    ) -> Filtered<'a> {
        Filtered { filters, delivery, letter, header: Vec::new(), in_body: false }
    }

    /// Looks whether the header is complete; `is_all`: nothing follows.
    fn look(&mut self, is_all: bool) -> Result<(), Refusal> {
        let theirs = self.header.get(self.letter.trace..);
        let Some(end) = theirs.and_then(|theirs| length(theirs, is_all)) else {
            if self.header.len() > MAX_HEADER {
                let reply = Reply::new(552, "5.3.4", "The header is too large");
                return Err(Refusal { reply, reason: "header too large".into() });
            }
            return Ok(());
        };
        let rest = self.header.split_off(self.letter.trace + end);
        self.in_body = true;
        let mut filters = self.filters.borrow_mut();
        let theirs = self.header.get(self.letter.trace..).unwrap_or_default();
        for field in fields(theirs, false) {
            filters.field(&field.name, &field.value).map_err(refusal)?;
        }
        filters.end_of_header(&self.letter.id).map_err(refusal)?;
        drop(filters);
        let body = rest.strip_prefix(b"\n").unwrap_or(&rest);
        if !rest.is_empty() {
            self.delivery.write(b"\n")?;
        }
        self.body(body)
    }

    fn body(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let mut filters = self.filters.borrow_mut();
        if !text.is_empty() && filters.wants_body() {
            filters.body(&with_crlf(text)).map_err(refusal)?;
        }
        match filters.discards() {
            true => Ok(()),
            false => self.delivery.write(text),
        }
    }

    /// Has the filters asked about the whole letter, and makes their changes. Returns false for a letter that is
    /// thrown away.
    fn end(&mut self) -> Result<bool, Refusal> {
        if !self.in_body {
            self.look(true)?;
        }
        let mut filters = self.filters.borrow_mut();
        let changes = filters.end(&self.letter.id).map_err(refusal)?;
        if filters.discards() {
            return Ok(false);
        }
        drop(filters);
        let (ours, theirs) = self.header.split_at_checked(self.letter.trace).unwrap_or_default();
        let mut all = fields(ours, true);
        all.extend(fields(theirs, false));
        for Changes { edits, body, quarantine } in changes {
            edits.iter().for_each(|edit| apply(&mut all, edit));
            if let Some(body) = body {
                self.delivery.clear()?;
                self.delivery.write(&[b"\n", &without_cr(&body)[..]].concat())?;
            }
            if let Some(reason) = quarantine {
                self.delivery.quarantine(&reason)?;
            }
        }
        self.delivery.head(&text(&all))?;
        Ok(true)
    }
}

impl Delivery for Filtered<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.in_body {
            return self.body(bytes);
        }
        self.header.extend_from_slice(bytes);
        self.look(false)
    }

    fn head(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.delivery.head(bytes)
    }

    fn clear(&mut self) -> Result<(), Refusal> {
        self.delivery.clear()
    }

    fn quarantine(&mut self, reason: &str) -> Result<(), Refusal> {
        self.delivery.quarantine(reason)
    }

    fn finish(mut self: Box<Self>) -> Delivered {
        match self.end() {
            Ok(true) => self.delivery.finish(),
            Ok(false) => {
                Delivered { answers: vec![Ok(()); self.letter.recipients], ..Delivered::default() }
            }
            Err(refusal) => Delivered::to_none(self.letter.recipients, refusal),
        }
    }
}

fn refusal(reply: Reply) -> Refusal {
    Refusal { reply, reason: "filter".into() }
}

fn with_crlf(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    let parts = lines.flat_map(|line| match line.strip_suffix(b"\n") {
        Some(line) => [line, b"\r\n"],
        None => [line, b""],
    });
    parts.flatten().copied().collect()
}

/// Returns a new body as it is stored: with LF, and a last line that ends.
fn without_cr(body: &[u8]) -> Vec<u8> {
    let mut text: Vec<u8> = body.iter().copied().filter(|byte| *byte != b'\r').collect();
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text
}
