//! Files below the root: served with the size they had when requested, and written so that they
//! appear complete.

pub mod atomic_file;
pub mod block_reader;
pub mod block_writer;
pub mod disk_space;
pub mod quota;
pub mod root;
pub mod roots;
pub mod size_limit;
pub mod source;
pub mod temp_name;
mod walk;
