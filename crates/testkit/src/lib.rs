//! For tests only: start a daemon, wait for its port, count zombies and descriptors; a scripted peer.
