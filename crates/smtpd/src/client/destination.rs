//! Which recipients get the letter together: those of one domain, or all by the server of `-s`.

use super::options::{Options, Recipient, Server};

/// Recipients with one domain, or with one server.
#[derive(Debug)]
pub struct Recipients<'a> {
    /// The domain, `None` for the server of `-s`.
    pub domain: Option<&'a str>,
    /// The recipients.
    pub to: Vec<&'a Recipient>,
}

/// Puts the recipients together that go to the same place.
#[must_use]
pub fn by_destination(options: &Options) -> Vec<Recipients<'_>> {
    if matches!(options.server, Server::Given(_)) {
        return vec![Recipients { domain: None, to: options.to.iter().collect() }];
    }
    let mut found: Vec<Recipients<'_>> = Vec::new();
    for to in &options.to {
        let domain = to.address.rsplit_once('@').map_or("", |(_, domain)| domain);
        let is_it =
            |it: &&mut Recipients<'_>| it.domain.is_some_and(|it| it.eq_ignore_ascii_case(domain));
        match found.iter_mut().find(is_it) {
            Some(recipients) => recipients.to.push(to),
            None => found.push(Recipients { domain: Some(domain), to: vec![to] }),
        }
    }
    found
}
