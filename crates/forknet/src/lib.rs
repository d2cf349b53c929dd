//! Sockets and processes: listen, accept, fork, reap.
