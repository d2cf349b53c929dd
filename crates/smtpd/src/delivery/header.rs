//! How the header of a letter from this client is filtered.

use dsn::date;
use jiff::Zoned;

use crate::header::completion::Completion;
use crate::header::filter::HeaderFilter;
use crate::options::Config;
use crate::protocol::address::local_part;
use crate::protocol::envelope::{ClientAddress, Envelope};

/// Returns the filter for the header of a letter: one that a client of ours hands in loses its Bcc, and is completed under
/// `--submission`.
#[must_use]
pub fn header_filter(
    config: &Config,
    client: &ClientAddress,
    envelope: &Envelope,
    (id, now): (&str, &Zoned),
) -> HeaderFilter {
    let filter = HeaderFilter::new();
    let filter = if client.submits() { filter.without_bcc() } else { filter };
    if !config.is_submission {
        return filter;
    }
    let domain = config.first_domain();
    let from = match (&envelope.sender[..], &client.user) {
        ("", Some(user)) => format!("{}@{domain}", local_part(user.as_bytes())),
        (sender, _) => sender.to_owned(),
    };
    let id = format!("<{id}@{}>", config.hostname);
    filter.completed(Completion::new(date(now), id, from, domain))
}
