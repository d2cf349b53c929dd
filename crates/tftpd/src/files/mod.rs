//! Files below the root: read as they were when they were asked for, written so that they appear
//! whole.

pub mod atomic_file;
pub mod block_reader;
pub mod block_writer;
pub mod disk_space;
pub mod quota;
pub mod root;
pub mod size_limit;
pub mod source;
