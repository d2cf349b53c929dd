//! The designs of a server.

use std::str::FromStr;

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

impl FromStr for Model {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Model, &'static str> {
        match text {
            "fork" => Ok(Model::Fork),
            "prefork" => Ok(Model::Prefork),
            "thread" => Ok(Model::Thread),
            "iterative" => Ok(Model::Iterative),
            _ => Err("not fork, prefork, thread or iterative"),
        }
    }
}
