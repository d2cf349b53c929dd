//! All options of one program, and the texts about them with the words of its service put in.

use crate::net::transport::Transport;
use crate::options::common;
use crate::options::row::{OwnOptions, Preset, Row};
use crate::options::service::{RootPolicy, Service};

/// What stands in a text for the words of the program's own.
const OWN: &str = "{own}";

/// A program and its options.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// What `--help` says before the options.
    pub(crate) usage: String,
    /// Its own options.
    pub(crate) own: &'static [Row],
    /// Those of every daemon, or of every client.
    pub(crate) common: Vec<Row>,
    pub(crate) is_daemon: bool,
    /// What replaces `{port}` and its like.
    pub(crate) words: Vec<(&'static str, String)>,
    /// What replaces `{own}`, by the option's name.
    pub(crate) notes: &'static [(&'static str, &'static str)],
}

impl Program {
    /// A daemon.
    pub(crate) fn daemon(service: &Service, own: &OwnOptions) -> Program {
        Program {
            name: service.name,
            usage: format!("Usage: {} [OPTION]...\n{}", service.name, service.about),
            own: own.rows,
            common: common::of_daemons(service.transport),
            is_daemon: true,
            words: words(service),
            notes: own.notes,
        }
    }

    /// A client.
    pub(crate) fn client(name: &'static str, usage: &str, own: &'static [Row]) -> Program {
        Program {
            name,
            usage: usage.to_owned(),
            own,
            common: common::of_clients(),
            is_daemon: false,
            words: Vec::new(),
            notes: &[],
        }
    }

    /// Every daemon, for a table of what they have in common.
    pub(crate) fn every_daemon(&self) -> Program {
        let words = [
            ("port", "PORT"),
            ("idle", "the protocol's"),
            ("root", "see the page"),
            ("forms", Transport::StreamAndDatagram.forms()),
        ];
        let words = words.map(|(name, text)| (name, text.to_owned())).to_vec();
        let common = common::of_daemons(Transport::Stream).into_iter().map(|row| match row.name {
            "over" => common::OVER_OF_ALL,
            _ => row,
        });
        Program { own: &[], common: common.collect(), words, notes: &[], ..self.clone() }
    }

    /// All rows, in the order of `--help`.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.own.iter().chain(&self.common)
    }

    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows().find(|row| row.name == name)
    }

    /// The value that an option has when it is not given.
    pub(crate) fn preset(&self, name: &str) -> Option<String> {
        let row = self.row(name)?;
        match row.default {
            Preset::Value(value) => Some(self.filled(row, value)),
            Preset::Unset | Preset::Rule(_) | Preset::Required => None,
        }
    }

    /// A text of a row with everything in braces replaced.
    pub(crate) fn filled(&self, row: &Row, text: &str) -> String {
        let note = self.notes.iter().find(|(name, _)| *name == row.name);
        let mut text = text.replace(OWN, note.map_or("", |(_, note)| note));
        for (name, word) in &self.words {
            text = text.replace(&format!("{{{name}}}"), word);
        }
        text
    }

    /// The line of `--help`.
    pub(crate) fn help(&self, row: &Row) -> String {
        let help = self.filled(row, row.help);
        match row.default {
            Preset::Value(value) => format!("{help} (default {})", self.filled(row, value)),
            Preset::Rule(rule) => format!("{help} (default: {})", rule.replace('`', "")),
            Preset::Unset | Preset::Required => help,
        }
    }

    /// The default in a table of Markdown.
    pub(crate) fn default(&self, row: &Row) -> String {
        match row.default {
            Preset::Value(value) => format!("`{}`", self.filled(row, value)),
            Preset::Rule(rule) => rule.to_owned(),
            Preset::Unset => String::new(),
            Preset::Required => "must be given".to_owned(),
        }
    }
}

/// What a service's own words are in the texts of the common options.
fn words(service: &Service) -> Vec<(&'static str, String)> {
    let (root, whom) = match service.root {
        RootPolicy::Nobody => ("nobody", "becomes `nobody`."),
        RootPolicy::Never => ("refuse", "will refuse to serve; <user> is never root."),
    };
    vec![
        ("port", service.port.to_string()),
        ("idle", service.idle.as_secs_f64().to_string()),
        ("forms", service.transport.forms().to_owned()),
        ("root", root.to_owned()),
        ("becomes", whom.to_owned()),
        ("facility", service.facility.name().to_owned()),
    ]
}
