//! A server without clients: its work is its own.

use sys::shared_memory::Layout;

use crate::error::Result;
use crate::serve::jobs::{self, Jobs};
use crate::serve::server::Server;

impl Server {
    /// next job, fork, reap: a child for each job, until SIGTERM, or until there is none left.
    ///
    /// # Errors
    /// As [`Server::serve`].
    pub fn run_jobs(mut self, jobs: impl Jobs) -> Result<()> {
        if self.options.check {
            return Ok(());
        }
        self.limit();
        self.titles = self.titles.counting("job");
        jobs::run(self.master(Layout::Packed)?, jobs)
    }
}
