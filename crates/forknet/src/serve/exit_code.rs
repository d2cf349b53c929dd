//! The exit codes of processes that serve clients.

/// Exit code of a process whose session succeeded.
pub(crate) const EXIT_OK: i32 = 0;
/// Exit code of a process whose session failed, such as a client that was silent too long.
pub(crate) const EXIT_FAILED: i32 = 1;
/// Exit code of a process of the keeper's that has served a client to the end: nothing is asked about it any more.
pub(crate) const EXIT_SERVED: i32 = 3;
