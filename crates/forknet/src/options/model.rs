//! The designs of a server.

/// The design of a server for streams (`--model`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// A process for each client, forked when it comes.
    #[default]
    Fork,
    /// Processes forked in advance, each of which accepts one client after the other.
    Prefork,
    /// A thread for each client.
    Thread,
    /// One process, one client after the other.
    Iterative,
}

impl Model {
    /// By one of the words of the row.
    pub(crate) fn named(word: &str) -> Model {
        match word {
            "prefork" => Model::Prefork,
            "thread" => Model::Thread,
            "iterative" => Model::Iterative,
            _ => Model::Fork,
        }
    }
}
